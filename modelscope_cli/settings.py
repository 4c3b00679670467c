"""Settings from a TOML file: found, checked, and kept out of the models being looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError, did_you_mean

OWN_FILE = "mscope.toml"
SHARED_FILE = "pyproject.toml"
_TABLE_MARK = b"tool.mscope"
_MAX_BYTES = 1_000_000


class Settings(NamedTuple):
    """The table of one settings file; `path` is None where there is none."""

    path: str | None
    table: Mapping[str, Any]
    ignored: tuple[str, ...] = ()  # files not read because they lie in the model looked at

    def for_command(self, command: str) -> dict[str, Any]:
        """The values that concern a command: top-level ones, then its own table's."""
        own = self.table.get(command)
        common = {k: v for k, v in self.table.items() if not isinstance(v, Mapping)}
        return {**common, **(own if isinstance(own, Mapping) else {})}


def find(start: str, model_folder: str | None) -> Settings:
    """The nearest `mscope.toml`, else `pyproject.toml` with `[tool.mscope]`, from `start` upward.

    A file inside `model_folder` is never used: a model must not configure who inspects it.
    """
    ignored: list[str] = []
    for folder in _upward(os.path.abspath(start)):
        for path in (os.path.join(folder, OWN_FILE), os.path.join(folder, SHARED_FILE)):
            table = _table(path) if os.path.isfile(path) else None
            if table is None:
                continue
            if model_folder is not None and _inside(folder, model_folder):
                ignored.append(path)
            else:
                return Settings(path, table, tuple(ignored))
    return Settings(None, {}, tuple(ignored))


def read(path: str) -> Settings:
    """The settings of a file that the user named. Raises UsageError."""
    if not os.path.isfile(path):
        raise UsageError(f"--config {path}: there is no such file")
    return Settings(path, _table(path) or {})


def check_keys(settings: Settings, known: Iterable[str]) -> None:
    """Raises UsageError for a key that no command knows, with the nearest that one does."""
    names = sorted(known)
    for key in settings.table:
        if key not in names:
            hint = did_you_mean(key, names)
            raise UsageError(f"{settings.path}: unknown setting {key!r}", hint)


def _upward(folder: str) -> Iterable[str]:
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _inside(folder: str, model_folder: str) -> bool:
    inner, outer = os.path.realpath(folder), os.path.realpath(model_folder)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


def _table(path: str) -> dict[str, Any] | None:
    """The settings table of a file; None for a pyproject.toml that has none."""
    with open(path, "rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    shared = os.path.basename(path) == SHARED_FILE
    if shared and _TABLE_MARK not in raw:
        return None
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES:,} bytes: not a settings file")
    parsed = _parsed(path, raw)
    if not shared:
        return parsed
    table = parsed.get("tool", {}).get("mscope")
    return table if isinstance(table, dict) else None


def _parsed(path: str, raw: bytes) -> dict[str, Any]:
    import tomllib  # 3 ms, only where a settings file is there

    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    return {
        key.replace("-", "_") if not isinstance(v, dict) else key: v for key, v in table.items()
    }
