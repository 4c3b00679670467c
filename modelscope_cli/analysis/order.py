"""The natural order of names: layer 2 before layer 10."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")
_WIDTH = 10  # digits; a longer run sorts after all shorter ones


class _Padded(dict[str, str]):
    """Each dotted part with its numbers zero-padded: a name has few distinct parts."""

    def __missing__(self, part: str) -> str:
        padded = _DIGITS.sub(lambda digits: _number_key(digits[1]), part)
        self[part] = padded
        return padded


def _number_key(digits: str) -> str:
    significant = digits.lstrip("0") or "0"
    if len(significant) > _WIDTH:
        return f"{'9' * _WIDTH}~{len(significant):05d}{significant}"
    return significant.rjust(_WIDTH, "0")


def natural_keys(names: Sequence[str]) -> list[str]:
    """A sort key for each name. Parts between dots compare one by one, numbers as numbers."""
    padded = _Padded()
    # U+0000 sorts before every other character: `a.b` comes before `a-b.c`.
    return ["\0".join([padded[part] for part in name.split(".")]) for name in names]


def natural_order(names: Sequence[str]) -> list[int]:
    """The indices of `names` in natural order; equal names keep theirs."""
    keys = natural_keys(names)
    return sorted(range(len(names)), key=keys.__getitem__)
