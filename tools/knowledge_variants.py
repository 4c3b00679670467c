"""Other configurations of a class: what its default does not build, a sibling's file may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools import knowledge_build as building


def variants(model_type: str, model: Any) -> Iterator[tuple[str, Any]]:
    """Configurations that differ from the default in one key; what it is, and the configuration."""
    for path, level in building.config_paths(model.config).items():
        for key, value in level.to_dict().items():
            if isinstance(value, bool):
                yield from _changed(model_type, path, key, not value)


def _changed(model_type: str, path: str, key: str, value: Any) -> Iterator[tuple[str, Any]]:
    try:
        config = building.default_config(model_type)
        level = building.config_paths(config)[path]
        setattr(level, key, value)
    except Exception:
        return
    yield f"{path}.{key}={value!r}".removeprefix("."), config
