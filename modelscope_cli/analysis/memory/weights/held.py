"""What of a checkpoint the model class holds: file tensors as parameters of the module tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import NamedTuple, Protocol

from modelscope_cli.analysis.fold import HOLE, Grid, range_text
from modelscope_cli.analysis.roles import BUFFER, QUANTIZATION, TRAINING, RowFact
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Shape, TensorTable, Unknown
from modelscope_cli.knowledge.modules import Parameter, Renamed
from modelscope_cli.schemes.base import Logical

UNTOLD = "untold"  # the kind of a parameter whose class is not known

# Why a tensor of the file is not loaded.
BEYOND = "beyond the layers of the configuration: no class loads it"
NO_SUCH = "its class has no such parameter"
_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
_MOST_DIGITS = 12


class ModelClass(Protocol):
    """What is asked of a class: see `knowledge.modules`."""

    def parameter(self, name: str) -> Parameter | None:
        """How it has the parameter of that name; None where it has none."""
        ...

    def rename(self, file_name: str) -> Renamed:
        """The name in its module tree."""
        ...


class Stored(NamedTuple):
    """Tensors of the file that are alike: `template` has `{}` for the numbers of `grid`.

    `shape` is the logical one of each; `elements` counts the weights of each.
    """

    template: str
    grid: Grid
    shape: Shape
    elements: int
    dtype: str
    fact: RowFact

    @property
    def times(self) -> int:
        """How many tensors."""
        return prod(map(len, self.grid))

    def name(self, point: Sequence[int]) -> str:
        """One tensor's name, by its numbers."""
        name = self.template
        for number in point if self.grid else ():
            name = name.replace(HOLE, str(number), 1)
        return name

    def first(self) -> str:
        """The name that has the least number at every place."""
        return self.name([axis[0] for axis in self.grid])

    def names(self) -> Iterator[str]:
        """Every tensor's name."""
        return map(self.name, product(*self.grid))

    def shown(self) -> str:
        """The names as one, with ranges."""
        name = self.template
        for axis in self.grid:
            name = name.replace(HOLE, range_text(axis), 1)
        return name


class Held(NamedTuple):
    """Parameters, or persistent buffers, of one template that are alike.

    `name` is the first one's in the module tree, `template` has `*` for its numbers. `axes` are
    the numbers that differ, `places` which of the name's numbers those are. `elements` and
    `outputs` (the out of [out, in]) are sums over all `times`. `stored` are the file's tensors
    behind it, `merged` several for each.
    """

    name: str
    template: str
    axes: Grid
    places: tuple[int, ...]
    kind: str
    dtype: str | None
    elements: int
    outputs: int
    stored: tuple[Stored, ...]
    merged: bool = False

    @property
    def times(self) -> int:
        """How many parameters."""
        return prod(map(len, self.axes))

    @property
    def module(self) -> str:
        """The template of the module that has it."""
        return self.template.rpartition(".")[0]

    @property
    def first_module(self) -> str:
        """The name of the first module that has it."""
        return self.name.rpartition(".")[0]

    @property
    def is_buffer(self) -> bool:
        """Whether it is a buffer and no parameter."""
        return self.kind == BUFFER

    @property
    def is_matrix(self) -> bool:
        """Whether it is the weight of something that could be a linear layer."""
        return self.outputs > 0 and self.template.endswith("weight")

    @property
    def is_as_in_file(self) -> bool:
        """Whether each is one tensor of the file: no part of a larger one, nothing put together."""
        one = self.stored[0]
        return not self.merged and self.elements == one.elements * one.times

    def names(self) -> Iterator[str]:
        """Every parameter's name."""
        return (filled(self.name, self.places, point) for point in product(*self.axes))

    def shown(self) -> str:
        """The names as one, with ranges."""
        return filled(self.name, self.places, [range_text(axis) for axis in self.axes])


class Dropped(NamedTuple):
    """Tensors of the file that the class does not load, and why."""

    name: str
    times: int
    bytes: int
    reason: str
    certain: bool


class Hidden(NamedTuple):
    """Packed tensors of the file that cannot be seen through, and why; `bytes` as stored."""

    name: str
    bytes: int
    reason: str


class Holding(NamedTuple):
    """All that is held, in the file's order, what is not, and what cannot be told."""

    held: list[Held]
    dropped: list[Dropped]
    hidden: list[Hidden]


def template_of(name: str) -> str:
    """A name of the module tree with `*` for its numbers."""
    return _NUMBER.sub("*", name)


def numbers(name: str) -> tuple[int, ...]:
    """The numbers between a name's dots."""
    return tuple(int(text) for text in _NUMBER.findall(name) if len(text) <= _MOST_DIGITS)


def filled(name: str, places: Sequence[int], point: Sequence[int | str]) -> str:
    """A name with other numbers at some places."""
    if not places:
        return name
    new = dict(zip(places, point, strict=True))
    text, end = [], 0
    for place, match in enumerate(_NUMBER.finditer(name)):
        if place in new:
            text += [name[end : match.start()], str(new[place])]
            end = match.end()
    return "".join([*text, name[end:]])


def hold(
    rows: Sequence[RowFact],
    table: TensorTable,
    model_class: ModelClass | None,
    counts: Mapping[str, int],
) -> Holding:
    """The parameters that `rows` of `table` become.

    `counts` says how many entries the class builds under a module (`{"model.layers": 61}`): what
    the file has beyond them is not loaded. Without a class every tensor is taken as it is named.
    """
    found = _Collector(model_class, counts)
    for each in stored(rows, table):
        found.add(each)
    return Holding(list(found.held.values()), found.dropped, found.hidden)


def stored(rows: Sequence[RowFact], table: TensorTable) -> Iterator[Stored]:
    """The rows that are weights or buffers: no quantization state, no trainer's moments."""
    for fact in rows:
        if fact.role != QUANTIZATION and not fact.row.template.startswith(TRAINING):
            yield _stored(fact, table)


def _stored(fact: RowFact, table: TensorTable) -> Stored:
    first, grid = fact.row.indices[0], fact.row.grid
    template = fact.row.template if grid else table.names[first]
    if fact.members:
        template = _weight_name(template, fact.members[0][0])
    logical = fact.logical if isinstance(fact.logical, Logical) else None
    shape = table.shapes[first] if logical is None else logical.shape
    return Stored(template, grid, shape, prod(shape), table.dtypes[first], fact)


def _weight_name(packed: str, suffix: str) -> str:
    """What a packed tensor is of: `x.qweight` of `x.weight`, `experts.up_blocks` of its stem."""
    if suffix in ("", ".weight"):
        return packed
    return packed.removesuffix(suffix) + (".weight" if suffix.startswith(".") else "")


class _Collector:
    """Adds up file rows under the parameters they go into."""

    def __init__(self, model_class: ModelClass | None, counts: Mapping[str, int]) -> None:
        self.model_class = model_class
        self.counts = counts
        self.held: dict[tuple[str, Grid], Held] = {}
        self.dropped: list[Dropped] = []
        self.hidden: list[Hidden] = []

    def add(self, stored: Stored) -> None:
        inside = self._within(stored)
        beyond = stored.times - (inside.times if inside else 0)
        if beyond:
            self._drop(_without(stored, inside), beyond, BEYOND, certain=True)
        if inside is None:
            return
        if isinstance(stored.fact.logical, Unknown):
            reason = stored.fact.logical.reason
            self.hidden.append(Hidden(inside.shown(), _bytes(inside, inside.times), reason))
            return
        self._add(inside)

    def _add(self, stored: Stored) -> None:
        name = stored.first()
        if self.model_class is None:
            self._put(stored, name, self._untold(stored), _varying(stored.grid), (0, 1))
            return
        name, targets, _ = self.model_class.rename(name)
        parameters = [(target, self.model_class.parameter(target)) for target in targets]
        known = [(target, found) for target, found in parameters if found is not None]
        if not known:
            # A buffer that is none of its class's persistent ones is never read.
            self._drop(stored, stored.times, NO_SUCH, certain=stored.fact.role == BUFFER)
            return
        axes = self._axes(stored, name)
        for at, (target, parameter) in enumerate(known):
            self._put(stored, target, parameter, axes, (at, len(known)))

    def _put(
        self,
        stored: Stored,
        name: str,
        parameter: Parameter,
        varying: _Varying,
        chunk: tuple[int, int],
    ) -> None:
        """Add a row to its parameter: the first, second … `chunk` of so many of each tensor."""
        axes = varying.axes
        elements = _share(stored.elements * stored.times, *chunk)
        outputs = _share(_outputs(stored, parameter.kind), *chunk)
        # Layers whose shapes differ are rows with no number between them: their names tell.
        key = filled(name, varying.places, ("*",) * len(varying.places)), axes
        before = self.held.get(key)
        if before is None:
            merged = stored.times > prod(map(len, axes))
            self.held[key] = Held(
                name, template_of(name), *varying, *parameter, elements, outputs, (stored,), merged
            )
            return
        self.held[key] = before._replace(
            elements=before.elements + elements,
            outputs=before.outputs + outputs,
            stored=(*before.stored, stored),
            merged=True,
        )

    def _untold(self, stored: Stored) -> Parameter:
        """Of no known class: what name and dtype tell."""
        is_float = DTYPES[stored.dtype].kind == "float" or stored.fact.logical is not None
        kind = BUFFER if stored.fact.role == BUFFER else UNTOLD
        return Parameter(kind, None if is_float else stored.dtype)

    def _axes(self, stored: Stored, name: str) -> _Varying:
        """The numbers that tell parameters apart: those of merged experts do not."""
        point = [axis[0] for axis in stored.grid]
        numbers = _NUMBER.findall(name)
        kept: dict[int, tuple[int, ...]] = {}
        for at, axis in enumerate(stored.grid):
            if len(axis) > 1:
                other = self._renamed(stored.name([*point[:at], axis[1], *point[at + 1 :]]))
                place = _first_difference(numbers, _NUMBER.findall(other))
                if place is not None:
                    kept[place] = axis
        return _Varying(tuple(kept.values()), tuple(kept))

    def _within(self, stored: Stored) -> Stored | None:
        """The row without the layers that the class does not build; None where it has no others."""
        if self.model_class is None or not self.counts:
            return stored
        if not self._is_beyond(stored, [axis[-1] for axis in stored.grid]):
            return stored
        point = [axis[0] for axis in stored.grid]
        grid = tuple(
            tuple(
                n for n in axis if not self._is_beyond(stored, [*point[:at], n, *point[at + 1 :]])
            )
            for at, axis in enumerate(stored.grid)
        )
        return stored._replace(grid=grid) if grid and all(grid) else None

    def _renamed(self, name: str) -> str:
        return name if self.model_class is None else self.model_class.rename(name).name

    def _is_beyond(self, stored: Stored, point: Sequence[int]) -> bool:
        return is_beyond(self._renamed(stored.name(point)), self.counts)

    def _drop(self, stored: Stored, count: int, reason: str, *, certain: bool) -> None:
        size = _bytes(stored, count)
        self.dropped.append(Dropped(stored.shown(), count, size, reason, certain))


def _bytes(stored: Stored, count: int) -> int:
    """Bytes in the file of so many of a row's tensors."""
    return stored.fact.bytes * count // len(stored.fact.row.indices)


def _without(stored: Stored, inside: Stored | None) -> Stored:
    """A row without the numbers that are loaded."""
    if inside is None:
        return stored
    pairs = zip(stored.grid, inside.grid, strict=True)
    grid = tuple(tuple(n for n in axis if n not in kept) or axis for axis, kept in pairs)
    return stored._replace(grid=grid)


def is_beyond(name: str, counts: Mapping[str, int]) -> bool:
    """Whether a name of the module tree is in a layer that the class does not build."""
    return any(number_after(name, path) >= count for path, count in counts.items())


def number_after(name: str, path: str) -> int:
    """The number that follows a module's path (`*` for any number) in a name; -1 elsewhere."""
    parts, places = name.split("."), path.split(".")
    if len(parts) <= len(places) or not _follows(parts, places):
        return -1
    number = parts[len(places)]
    return int(number) if number.isdecimal() and len(number) <= _MOST_DIGITS else -1


def _follows(parts: Sequence[str], places: Sequence[str]) -> bool:
    pairs = zip(parts, places, strict=False)
    return all(part == place or (place == "*" and part.isdecimal()) for part, place in pairs)


def _first_difference(one: Sequence[str], other: Sequence[str]) -> int | None:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), None)


class _Varying(NamedTuple):
    """The numbers that tell parameters apart, and which of a name's numbers each is."""

    axes: Grid
    places: tuple[int, ...]


def _varying(grid: Grid) -> _Varying:
    """Of a name as it is in the file."""
    kept = {place: axis for place, axis in enumerate(grid) if len(axis) > 1}
    return _Varying(tuple(kept.values()), tuple(kept))


def _outputs(stored: Stored, kind: str) -> int:
    """Output features of all the row's tensors; transformers' Conv1D has them last."""
    if len(stored.shape) != 2:
        return 0
    return stored.shape[1 if kind == "conv1d" else 0] * stored.times


def _share(total: int, at: int, pieces: int) -> int:
    """The `at`-th of `pieces` near equal shares."""
    return total * (at + 1) // pieces - total * at // pieces
