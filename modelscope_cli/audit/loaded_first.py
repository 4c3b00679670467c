"""Which weight files the libraries would load, by the names in each folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.formats import weight_sets
from modelscope_cli.formats.weight_sets import WeightSet
from modelscope_cli.sources.tree import FILE, Entry


class Placed(NamedTuple):
    """A set of weight files in a folder; `is_first`: nothing else there is loaded before it."""

    folder: str
    weights: WeightSet
    is_first: bool

    def path(self, name: str) -> str:
        """A file's path in the model."""
        return f"{self.folder}/{name}".lstrip("/")


def sets(entries: Sequence[Entry]) -> Iterator[Placed]:
    """Every set of weight files."""
    by_folder: dict[str, list[str]] = {}
    for each in entries:
        if each.kind == FILE:
            folder, _, name = each.path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
    for folder, names in by_folder.items():
        first, others = weight_sets.choose(weight_sets.find(names), None)
        yield from (Placed(folder, each, True) for each in first)
        yield from (Placed(folder, each, False) for each in others)


def files(entries: Sequence[Entry]) -> set[str]:
    """Paths of the files that would be loaded."""
    firsts = (each for each in sets(entries) if each.is_first)
    return {each.path(name) for each in firsts for name in each.weights.files}
