"""Configurations as flat keys: looked up, and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError, did_you_mean

FILE = "file"
DEFAULT = "default"
_MISSING = object()


class Change(NamedTuple):
    """One key that differs; `status` is added (only in b), removed (only in a) or changed."""

    key: str
    a: Any
    b: Any
    status: str


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`("rope_scaling.factor", 8.0)` for every leaf; an empty object is a leaf, a list too."""
    for key, value in config.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from flat(value, path)
        else:
            yield path, value


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; a list is indexed by number.

    Raises UsageError, with near keys, where nothing is there.

    A key that itself holds dots is found too: the longest key that fits wins.
    """
    found = _at(config, path)
    if found is _MISSING:
        known = [key for key, _ in flat(config)]
        known += list(config)
        raise UsageError(f"no key {path!r} in this configuration", did_you_mean(path, known))
    return found


def _at(value: Any, path: str) -> Any:
    if not path:
        return value
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        if head.isdecimal() and int(head) < len(value):
            return _at(value[int(head)], rest)
        return _MISSING
    if not isinstance(value, Mapping):
        return _MISSING
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        key = ".".join(parts[:end])
        if key in value:
            found = _at(value[key], ".".join(parts[end:]))
            if found is not _MISSING:
                return found
    return _MISSING


def origins(config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """For each flat key, whether the file itself says it or a default filled it in."""
    said = dict(flat(own))
    return {key: FILE if key in said else DEFAULT for key, _ in flat(config)}


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Every leaf that is not the same in both, in a's order, then what only b has."""
    left, right = dict(flat(a)), dict(flat(b))
    changes = [
        Change(key, value, right.get(key), "removed" if key not in right else "changed")
        for key, value in left.items()
        if key not in right or not _same(value, right[key])
    ]
    added = [Change(key, None, value, "added") for key, value in right.items() if key not in left]
    return changes + added


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 and true are not the same, 1 and 1.0 are."""
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
