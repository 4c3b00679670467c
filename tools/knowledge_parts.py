"""Models within a model that its configuration chooses."""

from __future__ import annotations

import copy
from typing import Any

from tools import knowledge_build as building


class Parts:
    """The models within a model whose class follows from a configuration within its own."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.package = type(model).__module__.rpartition(".")[0]
        self.levels = building.config_paths(model.config)
        self.paths = {id(config): path for path, config in self.levels.items()}

    def of(self, module: Any) -> str | None:
        """`role:path of its configuration`; None for what the class always has."""
        if module is self.model or type(module).__module__.startswith(self.package + "."):
            return None
        path = self.paths.get(id(module.config)) or self._path_of_type(module.config)
        role = _role(module)
        if not path or role is None or _is_altered(self.package, module):
            return None
        return f"{role}:{path}"

    def _path_of_type(self, config: Any) -> str | None:
        """Where the configuration was copied: the only one of its type."""
        alike = [path for path, level in self.levels.items() if type(level) is type(config)]
        return alike[0] if len(alike) == 1 else None


# Their modules are those of one of a thousand architectures.
_NEVER_ALONE = ("TimmBackbone", "TimmWrapperModel")
_altered: dict[tuple[str, str], bool] = {}


def _is_altered(package: str, module: Any) -> bool:
    """Whether the models of a package change what is in that model: its norms become frozen."""
    key = package, type(module).__name__
    if type(module).__name__ in _NEVER_ALONE:
        return True
    if key not in _altered:
        alone = building.build(type(module), copy.deepcopy(module.config))
        own, known = _spelled(module), _spelled(alone)
        _altered[key] = any(known.get(name) != code for name, code in own.items())
    return _altered[key]


def _spelled(model: Any) -> dict[str, str]:
    """Parameters and persistent buffers, each with its kind."""
    buffers = dict(model.named_buffers())
    return {name: "b" if name in buffers else "" for name in model.state_dict()}


def _role(module: Any) -> str | None:
    name, kind = type(module).__name__, module.config.model_type
    mappings = building.auto_mappings()
    return next(
        (role for role, tag in building.ROLES.items() if name in mappings[tag].get(kind, ())), None
    )
