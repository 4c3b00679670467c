"""Experts that lack a tensor which the others beside them have, by the file's own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from modelscope_cli.analysis.memory.weights.held import Held, Stored

# Of one list of experts: each tensor's name below an expert, and which experts have it.
_Experts = dict[str, set[int]]


def found(held: Sequence[Held]) -> Iterator[str]:
    """The file names of tensors that are missing; the classes of transformers 5 merge experts."""
    for path, tensors in _lists(_merged(held)).items():
        there = set().union(*tensors.values())
        for end, numbers in tensors.items():
            for number in sorted(set(range(max(there) + 1)) - numbers):
                yield f"{path}.{number}.{end}"


def _merged(held: Iterable[Held]) -> Iterator[Stored]:
    """Rows of which several tensors, with other numbers, go into one parameter."""
    for each in held:
        if any(stored.times > each.times for stored in each.stored):
            yield from each.stored


def _lists(rows: Iterable[Stored]) -> dict[str, _Experts]:
    """By the path of a list of experts."""
    lists: dict[str, _Experts] = {}
    for row in rows:
        for point in product(*row.grid):
            path, number, end = _parted(row.name(point))
            if path:
                lists.setdefault(path, {}).setdefault(end, set()).add(number)
    return lists


def _parted(name: str) -> tuple[str, int, str]:
    """`….experts`, 3, `w1.weight`: at the last number of a name."""
    parts = name.split(".")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at].isdecimal():
            return ".".join(parts[:at]), int(parts[at]), ".".join(parts[at + 1 :])
    return "", 0, ""
