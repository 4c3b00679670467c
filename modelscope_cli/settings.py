"""Settings from a TOML file: found, checked, and kept out of the models being looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError, did_you_mean

OWN_FILE = "mscope.toml"
SHARED_FILE = "pyproject.toml"
_TABLE_MARK = b"tool.mscope"
_MAX_BYTES = 1_000_000
_MOST_LINKS = 40  # as many as Linux follows


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


def find(models: Sequence[str]) -> Settings:
    """The nearest `mscope.toml`, else `pyproject.toml` with `[tool.mscope]`, going upward.

    A file inside one of the folders `models`, or in an HF cache, is never used, nor a link to
    one: a model must not configure who inspects it.
    """
    ignored: list[str] = []
    try:
        start = os.getcwd()
    except FileNotFoundError:  # the current folder was removed
        return Settings(None, {})
    for folder in upward(start):
        for path in (os.path.join(folder, OWN_FILE), os.path.join(folder, SHARED_FILE)):
            if not os.path.isfile(path):
                continue
            if is_foreign(path, models):
                ignored += [path] if would_be_used(path) else []
            elif (table := _table(path)) is not None:
                return Settings(path, table, tuple(ignored))
    return Settings(None, {}, tuple(ignored))


def lying_in(folders: Iterable[str], known: Iterable[str]) -> list[str]:
    """Files directly in the models looked at that would be settings elsewhere.

    `known` are those that were met on the way up.
    """
    seen = {os.path.realpath(path) for path in known}
    found = []
    for folder in folders:
        for path in (os.path.join(folder, OWN_FILE), os.path.join(folder, SHARED_FILE)):
            real = os.path.realpath(path)
            if real not in seen and would_be_used(path):
                found.append(path)
                seen.add(real)
    return found


def read(path: str) -> Settings:
    """The settings of a file that the user named. Raises UsageError."""
    _require_file(path, "--config")
    return Settings(path, _table(path) or {})


def document(path: str, flag: str = "") -> dict[str, Any]:
    """A whole TOML file as it is written, keys and all. Raises UsageError."""
    _require_file(path, flag)
    return _parsed(path, _bounded(path))


def _require_file(path: str, flag: str) -> None:
    if not os.path.isfile(path):
        what = "it is no file" if os.path.exists(path) else "there is no such file"
        what = "it is a folder" if os.path.isdir(path) else what
        raise UsageError(f"{flag} {path}: {what}".lstrip())


def check_keys(settings: Settings, commands: Mapping[str, Iterable[str]]) -> None:
    """Raises UsageError for a key that no command knows, with the nearest that one does.

    `commands` are the options of each command.
    """
    common = {option for options in commands.values() for option in options}
    for key, value in settings.table.items():
        if not isinstance(value, Mapping):
            if key in commands:
                raise UsageError(f"{settings.path}: {key} is a command: its settings are a table")
            _require_known(settings.path, key, common)
        elif key in commands:
            for inner in value:
                _require_known(settings.path, inner, commands[key], f" of {key}")
        else:
            hint = did_you_mean(key, [*commands, *common])
            raise UsageError(f"{settings.path}: there is no command {key!r}", hint)


def _require_known(path: str | None, key: str, known: Iterable[str], whose: str = "") -> None:
    if key not in known:
        hint = did_you_mean(key, sorted(known))
        raise UsageError(f"{path}: unknown setting{whose} {key!r}", hint)


def upward(folder: str) -> Iterable[str]:
    """A folder and all above it."""
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def inside(folder: str, outer: Iterable[str]) -> bool:
    """Whether `folder` is one of the folders `outer` or below one, links resolved."""
    inner = os.path.join(os.path.realpath(folder), "")
    return any(inner.startswith(os.path.join(os.path.realpath(each), "")) for each in outer)


def is_foreign(path: str, models: Sequence[str]) -> bool:
    """Whether a file, or one that its links lead over, lies in a model or a repo of an HF cache."""
    places = [os.path.dirname(each) for each in _hops(os.path.abspath(path))]
    return any(
        _of_a_cached_repo(each) or _of_a_cached_repo(os.path.realpath(each)) or inside(each, models)
        for each in places
    )


def _hops(path: str) -> Iterator[str]:
    """A path, and where each link on the way from it leads."""
    for _ in range(_MOST_LINKS):
        yield path
        if not os.path.islink(path):
            return
        path = os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(path)), _link(path)))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # gone meanwhile
        return path


def would_be_used(path: str) -> bool:
    """Whether a file in a model looks like settings; it is not parsed."""
    if not os.path.isfile(path):
        return False
    if os.path.basename(path) == OWN_FILE:
        return True
    try:
        with open(path, "rb") as stream:
            return _TABLE_MARK in stream.read(_MAX_BYTES)
    except OSError:
        return False


def _of_a_cached_repo(folder: str) -> bool:
    return any(part.startswith("models--") for part in folder.split(os.sep))


def _table(path: str) -> dict[str, Any] | None:
    """The settings table of a file; None for a pyproject.toml that has none."""
    shared = os.path.basename(path) == SHARED_FILE
    raw = _start(path)
    if shared and _TABLE_MARK not in raw:
        return None
    parsed = _parsed(path, _bounded(path, raw))
    if not shared:
        return _underscored(parsed)
    tool = parsed.get("tool")
    table = tool.get("mscope") if isinstance(tool, dict) else None
    return _underscored(table) if isinstance(table, dict) else None


def _start(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _bounded(path: str, raw: bytes | None = None) -> bytes:
    """The bytes of a settings file. Raises UsageError where there are too many."""
    raw = _start(path) if raw is None else raw
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES:,} bytes: not a settings file")
    return raw


def _parsed(path: str, raw: bytes) -> dict[str, Any]:
    import tomllib  # 3 ms, only where a settings file is there

    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: not valid TOML: nested too deep") from error


def _underscored(table: Mapping[str, Any]) -> dict[str, Any]:
    """Options may be spelled as on the command line: `cache-dir`."""
    return {
        key.replace("-", "_"): _underscored(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }
