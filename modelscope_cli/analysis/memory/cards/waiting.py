"""The parts of a model that a planner has not placed yet."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.analysis.memory.cards.tree import Part


class Waiting:
    """The parts still to place, the next one last, and the largest layer among them.

    That size is looked up again only when none of the layers that had it is left, or a part was
    split: accelerate does so, and the room it reserves depends on it.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts: list[Part] = []
        self.names: dict[str, Part] = {}
        self.largest: float = 0
        self._left = 0  # layers of that size, as of the last look
        self._seen = 0  # so many parts have waited since then
        self._tops: list[tuple[float, int]] = []  # largest layer up to here, and how often
        self._own: set[str] = set()
        self._taken: set[float | None] = set()  # layers of parts that only seem to wait
        for part in reversed(list(parts)):
            self.push(part)
        self.look()
        self._own = self._count_own_tensors()

    def _count_own_tensors(self) -> set[str]:
        """The model's own tensors count as layers, at this first look and never again."""
        tensors = [part for part in self.parts if part.layer is None]
        size = max((part.size for part in tensors), default=-1)
        if size < self.largest:
            return set()
        names = {part.name for part in tensors if part.size == size}
        self._left = len(names) + (self._left if size == self.largest else 0)
        self.largest = size
        return names

    def __bool__(self) -> bool:
        return bool(self.names)

    def push(self, part: Part) -> None:
        """Let a part be the next."""
        self.parts.append(part)
        self.names[part.name] = part
        self._tops.append(self._top_with(part))

    def _top_with(self, part: Part) -> tuple[float, int]:
        largest, count = self._tops[-1] if self._tops else (0, 0)
        if part.layer is None or part.layer < largest:
            return largest, count
        return part.layer, count + 1 if part.layer == largest else 1

    def pop(self) -> Part:
        """The next part, which then waits no more."""
        part = self._popped()
        while self.names.get(part.name) is not part:  # it was taken
            part = self._popped()
        del self.names[part.name]
        if len(self.parts) < self._seen:
            self._left -= part.layer == self.largest or part.name in self._own
        self._seen = min(self._seen, len(self.parts))
        if not self._left:
            self.look()
        return part

    def _popped(self) -> Part:
        self._tops.pop()
        return self.parts.pop()

    def look(self) -> None:
        """Find the largest layer of what waits."""
        if self._tops and self._tops[-1][0] in self._taken:
            self._rebuild([part for part in self.parts if self.names.get(part.name) is part])
        self.largest, self._left = self._tops[-1] if self._tops else (0, 0)
        self._seen = len(self.parts)
        self._own = set()

    def _rebuild(self, parts: Iterable[Part]) -> None:
        self.parts, self.names, self._tops, self._taken = [], {}, [], set()
        for part in parts:
            self.push(part)

    def take(self, part: Part) -> None:
        """Let a part wait no more, wherever it is; its layer counts until the next look."""
        del self.names[part.name]
        self._taken.add(part.layer)

    def split(self, part: Part) -> None:
        """Put the pieces of a part in its place, wherever it is, and look."""
        waiting = [other for other in self.parts if self.names.get(other.name) is other]
        at = waiting.index(part)
        waiting[at : at + 1] = reversed(list(part.pieces()))
        self._rebuild(waiting)
        self.look()
