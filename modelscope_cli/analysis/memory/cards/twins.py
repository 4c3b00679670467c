"""Tied tensors: which of them are inside a module, and which of their twins are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LONGEST = 500  # characters
_DEEPEST = 32


class Twins:
    """Groups of names of one tensor.

    That a tensor is inside a module is looked for anywhere in its name, as accelerate does: the
    module `decoder` is found in `text_decoder.embed.weight` too.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self.groups = [sorted(group) for group in groups if all(map(_can_be, group))]
        self._of: dict[str, dict[int, None]] = {}  # groups by each run of parts of their names
        self._endings: set[str] = set()  # of parts, for what begins in the middle of one
        for number, group in enumerate(self.groups):
            for name in group:
                self._add(name.split("."), number)

    def _add(self, parts: list[str], number: int) -> None:
        for start, part in enumerate(parts):
            self._endings.update(part[at:] for at in range(1, len(part)))
            for run in _runs(parts[start:]):
                self._of.setdefault(run, {})[number] = None

    def elsewhere(self, name: str) -> list[str]:
        """The names outside a module that are tied to one inside it."""
        if not self.groups:
            return []
        inside = f"{name}."
        odd = name.partition(".")[0] in self._endings
        found: list[str] = []
        for number in range(len(self.groups)) if odd else self._of.get(name, ()):
            outside = [tied for tied in self.groups[number] if inside not in f"{tied}."]
            if len(outside) < len(self.groups[number]):
                found += outside
        return found


def _can_be(name: str) -> bool:
    """Whether a module tree may have that name: the time taken grows with the square of one."""
    return len(name) <= _LONGEST and name.count(".") < _DEEPEST


def _runs(parts: list[str]) -> Iterator[str]:
    """Of a, b and c: `a`, `a.b` and `a.b.c`."""
    run = ""
    for part in parts:
        run = f"{run}.{part}" if run else part
        yield run
