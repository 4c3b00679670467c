"""Values of a policy file, each checked where it stands: sizes, counts, lists, names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli.errors import UsageError, did_you_mean

_NUMBER = re.compile(r"([0-9][0-9_,]{0,20})(\.[0-9]{1,6})?\s*([A-Za-z]*)")
_BYTES = {"": 1, "b": 1} | {
    f"{letter}{i}b": (1024 if i else 1000) ** power
    for power, letter in enumerate("kmgtp", 1)
    for i in ("i", "")
}
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def size(place: str, value: Any) -> int:
    """Bytes: `536870912`, `"20GiB"`, `"1.5 GB"`. Raises UsageError."""
    return _scaled(place, value, _BYTES, 'a size in bytes, such as "20GiB"')


def count(place: str, value: Any) -> int:
    """A number of parameters: `8000000000`, `"8B"`, `"70.6M"`. Raises UsageError."""
    return _scaled(place, value, _COUNTS, 'a count, such as "8B" or 8_000_000_000')


def _scaled(place: str, value: Any, units: Mapping[str, int], wanted: str) -> int:
    if type(value) is int and value >= 0:
        return value
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = units.get(found[3].lower()) if found else None
    if found is None or unit is None:
        raise UsageError(f"{place} takes {wanted}, not {value!r}")
    part = (found[2] or ".")[1:]
    whole = int(re.sub("[_,]", "", found[1]) + part)
    return whole * unit // int(10 ** len(part))


def flag(place: str, value: Any) -> bool:
    """True or false. Raises UsageError."""
    if not isinstance(value, bool):
        raise UsageError(f"{place} takes true or false, not {value!r}")
    return value


def text(place: str, value: Any) -> str:
    """A string that is not empty. Raises UsageError."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{place} takes a string, not {value!r}")
    return value


def number_or_text(place: str, value: Any) -> str:
    """A string or a whole number, as a string: `bits = 4`, `context = "32k"`."""
    return str(value) if type(value) is int else text(place, value)


def texts(place: str, value: Any) -> tuple[str, ...]:
    """A list of strings, or one string; none at all would allow nothing. Raises UsageError."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(i, str) for i in items):
        raise UsageError(f"{place} takes a list of strings that is not empty, not {value!r}")
    return tuple(items)


def one_of(place: str, value: Any, names: Sequence[str]) -> str:
    """One of the words. Raises UsageError with near ones."""
    if value not in names:
        near = did_you_mean(str(value), names)
        raise UsageError(f"{place} takes {', '.join(names)}, not {value!r}", near)
    return str(value)


def table(place: str, value: Any) -> Mapping[str, Any]:
    """A table. Raises UsageError."""
    if not isinstance(value, dict):
        raise UsageError(f"{place} is a table, not {value!r}")
    return value


def known(place: str, found: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The table with its keys as they are spelled here (`fail-on` is `fail_on`).

    Raises UsageError for a key that is not one of `keys`, naming the nearest.
    """
    spelled = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in keys:
            shown = [each.replace("_", "-") for each in keys]
            near = did_you_mean(key, shown) or f"there are {', '.join(shown)}"
            raise UsageError(f"{place}: unknown key {key!r}", near)
        if name in spelled:
            raise UsageError(f"{place}: {key!r} is there twice, spelled in two ways")
        spelled[name] = value
    return spelled
