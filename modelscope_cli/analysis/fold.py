"""Repeated layers as one row: `model.layers.{0..31}.mlp.up_proj.weight  x32`.

Tensors fold together when their names differ only in numbers between dots and everything
shown of them is equal. The set of numbers behind a row is always exactly what its name says:
where several numbers in a name do not form a full grid, they are split into grids.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

HOLE = "{}"
_NUMBER_PART = re.compile(r"\.(?:0|[1-9][0-9]{0,8})(?=\.)")
_JOINT = ".\n."  # every name then stands between dots, so that one plain pattern finds all
_MOST_NUMBERS = 16  # in a name: a pattern of 30,000 groups takes seconds
_MIN_STEPPED = 3  # terms from which `{0..30..3}` is easier to read than a list

Grid = tuple[tuple[int, ...], ...]


class Folded(NamedTuple):
    """One row: its name with ranges, and the indices of the tensors it stands for.

    `template` is the name with `{}` for its numbers, `grid` the numbers at each of them.
    """

    name: str
    indices: list[int]
    template: str
    grid: Grid


def templates(names: Sequence[str]) -> list[str]:
    """Each name with `{}` for the numbers between its dots.

    One substitution over all the names is five times faster than one for each.
    """
    text = f".{_JOINT.join(names)}."
    if HOLE in text or text.count("\n") != len(names) - 1:
        return [_template(name) for name in names]
    return _NUMBER_PART.sub(".{}", text)[1:-1].split(_JOINT) if names else []


def _template(name: str) -> str:
    if HOLE in name:
        return name.replace(HOLE, "{ }")  # never folded: its braces would be taken for ours
    return _NUMBER_PART.sub(".{}", f".{name}.")[1:-1]


def fold(
    names: Sequence[str], name_templates: Sequence[str], likeness: Sequence[Hashable]
) -> list[Folded]:
    """Group names of one template where `likeness` is equal too; in the order of first tensors."""
    groups: dict[tuple[str, Hashable], list[int]] = defaultdict(list)
    for index, key in enumerate(zip(name_templates, likeness, strict=True)):
        groups[key].append(index)
    rows = [
        row
        for (template, _), indices in groups.items()
        for row in regrouped(template, indices, names)
    ]
    return sorted(rows, key=lambda row: row.indices[0])


def regrouped(template: str, indices: list[int], names: Sequence[str]) -> list[Folded]:
    """The rows of tensors of one template: a single one where their numbers form a full grid."""
    members = [names[index] for index in indices]
    points = _points(template, members)
    if points is None:
        return [Folded(names[index], [index], template, ()) for index in indices]
    axes = tuple(_ascending(set(axis)) for axis in zip(*points, strict=True))
    if prod(map(len, axes)) == len(points) == len(set(members)):
        return [_row(template, axes, indices)]
    by_point: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, point in zip(indices, points, strict=True):
        by_point[tuple(map(int, point))].append(index)
    return [
        _row(template, grid, sorted(i for point in product(*grid) for i in by_point[point]))
        for grid in _grids(set(by_point))
    ]


def _points(template: str, members: list[str]) -> list[tuple[str, ...]] | None:
    """The numbers of each name as text; None for a template without numbers, with too many or
    with a newline (an attack, not a model: shown unfolded).
    """
    holes = template.count(HOLE)
    if not 0 < holes <= _MOST_NUMBERS or "\n" in template:
        return None
    pattern = re.escape(template).replace(re.escape(HOLE), "([0-9]+)")
    found = re.findall(f"^{pattern}$", "\n".join(members), re.MULTILINE)
    return found if holes > 1 else [(number,) for number in found]


def _ascending(numbers: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted(map(int, numbers)))


def _row(template: str, grid: Grid, indices: list[int]) -> Folded:
    name = template
    for axis in grid:
        name = name.replace(HOLE, range_text(axis), 1)
    return Folded(name, indices, template, grid)


def _grids(points: set[tuple[int, ...]]) -> list[Grid]:
    """Split points into full grids: those with the same rest are taken together."""
    axes = tuple(tuple(sorted(set(axis))) for axis in zip(*points, strict=True))
    if prod(map(len, axes)) == len(points):
        return [axes]
    tails: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for first, *rest in points:
        tails[first].add(tuple(rest))
    by_rest: dict[frozenset[tuple[int, ...]], list[int]] = defaultdict(list)
    for first in sorted(tails):
        by_rest[frozenset(tails[first])].append(first)
    return [
        (tuple(firsts), *grid) for rest, firsts in by_rest.items() for grid in _grids(set(rest))
    ]


def range_text(numbers: Sequence[int]) -> str:
    """Ascending numbers as a shell would expand them: `{0..31}`, `{0,2,5..9}`, `{5..59..6}`."""
    if len(numbers) == 1:
        return str(numbers[0])
    return f"{{{','.join(_runs(numbers))}}}"


def _runs(numbers: Sequence[int]) -> list[str]:
    runs = []
    start = 0
    while start < len(numbers):
        end = _run_end(numbers, start)
        step = numbers[start + 1] - numbers[start] if end > start else 1
        if end - start + 1 < _MIN_STEPPED:
            end = start
        stepped = f"..{step}" if step > 1 else ""
        first, last = numbers[start], numbers[end]
        runs.append(f"{first}..{last}{stepped}" if end > start else str(first))
        start = end + 1
    return runs


def _run_end(numbers: Sequence[int], start: int) -> int:
    """The last index of the evenly spaced run that begins at `start`."""
    if start + 1 >= len(numbers):
        return start
    step = numbers[start + 1] - numbers[start]
    end = start + 1
    while end + 1 < len(numbers) and numbers[end + 1] - numbers[end] == step:
        end += 1
    return end
