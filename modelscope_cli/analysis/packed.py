"""Seeing through packing: which tensors are packed weights, their state, and what they stand for.

Works on folded rows: 14,848 experts of one shape are one question, not 14,848.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.fold import Folded, regrouped
from modelscope_cli.analysis.opaque import Left, Surroundings, method_of
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import TensorTable, Unknown
from modelscope_cli.schemes import FAMILIES, Family
from modelscope_cli.schemes.base import Logical, Member

Values = Mapping[tuple[str | None, str], bytes]
_Place = tuple[str | None, str]  # component and template
_GGML = {name for name, dtype in DTYPES.items() if dtype.kind == "packed"}


Members = tuple[tuple[str, Member], ...]


class Seen(NamedTuple):
    """A folded row with what packing makes of it.

    `logical` is what a packed weight stands for (Unknown where its tensors contradict each
    other or are not all there), None for any other tensor; `members` are its tensors by suffix,
    the packed one first. `is_state` marks scales, zeros and maps.
    """

    row: Folded
    scheme: str | None = None
    logical: Logical | Unknown | None = None
    members: Members = ()
    is_state: bool = False


class _Packed(NamedTuple):
    """Rows of packed weights, and the rows of their state by suffix, under one family."""

    family: Family
    rows: list[Folded]
    state: dict[str, list[Folded]]


def see(
    rows: Sequence[Folded], table: TensorTable, values: Values, declared: Mapping[str, Any]
) -> list[Seen]:
    """Recognise packed weights among the rows of a table, all alike in dtype and shape.

    `values` are the bytes of metadata tensors that were read, `declared` the quantization
    configuration (`{}` where there is none). A row whose tensors turn out to differ is split.
    """
    by_place: dict[_Place, list[Folded]] = {}
    for row in rows:
        by_place.setdefault((table.components[row.indices[0]], row.template), []).append(row)
    weights: dict[int, list[Seen]] = {}  # by the row's first tensor
    state: set[int] = set()
    methods: set[str] = set()
    suffixes: dict[str, None] = {}
    reader = _Reader(table, values, declared)
    for found in _families_met(by_place, table, declared):
        state.update(row.indices[0] for rows in found.state.values() for row in rows)
        methods.update(found.family.methods)
        suffixes.update(dict.fromkeys(found.state))
        for row in found.rows:
            before = weights.get(row.indices[0])
            if before is None or not all(isinstance(seen.logical, Logical) for seen in before):
                weights[row.indices[0]] = _better(before, reader.weights(row, found))
    seen = [
        each
        for row in rows
        for each in weights.get(row.indices[0]) or [_plain(row, table, row.indices[0] in state)]
    ]
    return _judged(seen, weights, table, Surroundings(by_place, declared, methods, suffixes))


def _judged(
    rows: list[Seen], met: Mapping[int, list[Seen]], table: TensorTable, around: Surroundings
) -> list[Seen]:
    """The rows, where those that no family took are looked at for what is packed all the same."""
    torn = {part.row.indices[0] for parts in met.values() for part in parts}
    open_ = [at for at, seen in enumerate(rows) if seen.logical is None and not seen.is_state]
    left = [_left(rows[at].row, table, rows[at].row.indices[0] in torn) for at in open_]
    hidden = [around.hidden(row) for row in left]
    packed = [row.place for row, reason in zip(left, hidden, strict=True) if reason]
    strays = around.strays(left, packed)
    for at, row, reason, stray in zip(open_, left, hidden, strays, strict=True):
        if reason is not None:
            member = (("", Member(row.dtype, row.shape)),)
            rows[at] = rows[at]._replace(scheme=around.method, logical=reason, members=member)
        elif stray:
            rows[at] = rows[at]._replace(is_state=True)
    return rows


def _left(row: Folded, table: TensorTable, torn: bool) -> Left:
    first = row.indices[0]
    place = table.components[first], row.template
    return Left(place, table.dtypes[first], table.shapes[first], torn)


def _better(before: list[Seen] | None, after: list[Seen]) -> list[Seen]:
    """Of two families' readings of a row, the one that understood it; else the first."""
    if before is None or all(isinstance(seen.logical, Logical) for seen in after):
        return after
    return before


def _plain(row: Folded, table: TensorTable, is_state: bool) -> Seen:
    """A row that no family packs: plain, state of a packed one, or of a ggml block type."""
    dtype = table.dtypes[row.indices[0]]
    if dtype not in _GGML:
        return Seen(row, is_state=is_state)
    block = DTYPES[dtype]
    shape = table.shapes[row.indices[0]]
    logical = Logical(dtype.lower(), shape, block.bits, block.block_elements)
    return Seen(row, logical.scheme, logical, (("", Member(dtype, shape)),))


def _families_met(
    by_place: Mapping[_Place, list[Folded]], table: TensorTable, declared: Mapping[str, Any]
) -> Iterator[_Packed]:
    """Each family with each base name under which its packed weight and its marker are there."""
    method = str(declared.get("quant_method", "")).lower()
    for family in sorted(FAMILIES, key=lambda family: method not in family.methods):
        for component, base in dict.fromkeys(_bases(family, by_place)):
            state = {
                suffix: by_place[component, base + suffix]
                for suffix in family.state
                if (component, base + suffix) in by_place
            }
            packed = by_place.get((component, base + family.packed), [])
            packed = [row for row in packed if _fits(family, table.dtypes[row.indices[0]])]
            if packed and any(marker in state for marker in family.marker):
                yield _Packed(family, packed, state)


def _bases(family: Family, by_place: Mapping[_Place, object]) -> Iterator[_Place]:
    for component, template in by_place:
        for marker in family.marker:
            if template.endswith(marker):
                yield component, template.removesuffix(marker)


def _fits(family: Family, dtype: str) -> bool:
    return not family.dtypes or dtype in family.dtypes


class _Reader:
    """Asks a family's module about weights, once for those that are alike."""

    def __init__(self, table: TensorTable, values: Values, declared: Mapping[str, Any]) -> None:
        self.table = table
        self.values = values
        self.declared = declared
        self._rows_of_names: dict[_Place, int] | None = None
        self._known: dict[object, Logical | Unknown] = {}

    def weights(self, row: Folded, found: _Packed) -> list[Seen]:
        """What each tensor of a packed row stands for; the row is split where they differ."""
        alike = self._alike(row, found)
        if alike is not None:
            return [self._seen(row, self._ask(found.family, alike), _known(alike))]
        by_answer: dict[tuple[Logical | Unknown | None, Members], list[int]] = {}
        for index in row.indices:
            members = self._members(index, found)
            answer = self._answer(found.family, members)
            by_answer.setdefault(answer, []).append(index)
        if len(by_answer) == 1:
            return [self._seen(row, *answer) for answer in by_answer]
        return [
            self._seen(part, *answer)
            for answer, indices in by_answer.items()
            for part in regrouped(row.template, indices, self.table.names)
        ]

    def _answer(
        self, family: Family, members: dict[str, Member]
    ) -> tuple[Logical | Unknown | None, Members]:
        """One weight by itself: without its family's marker it is none of the family's."""
        if not any(marker in members for marker in family.marker):
            return None, ()
        return self._ask(family, members), _known(members)

    def _seen(self, row: Folded, answer: Logical | Unknown | None, members: Members) -> Seen:
        """What is not understood has the scheme that is declared, if any."""
        if answer is None:
            return Seen(row)
        scheme = answer.scheme if isinstance(answer, Logical) else method_of(self.declared)
        return Seen(row, scheme, answer, members)

    def _alike(self, row: Folded, found: _Packed) -> dict[str, Member] | None:
        """The members of every weight of the row at once, where its state folds just like it."""
        members = {found.family.packed: self._member(row.indices[0])}
        for suffix, rows in found.state.items():
            if suffix in found.family.values or len(rows) != 1 or rows[0].grid != row.grid:
                return None
            members[suffix] = self._member(rows[0].indices[0])
        return members

    def _members(self, index: int, found: _Packed) -> dict[str, Member]:
        """The members of one weight, looked up by name."""
        places = self._places()
        component, name = self.table.components[index], self.table.names[index]
        base = name.removesuffix(found.family.packed)
        members = {found.family.packed: self._member(index)}
        for suffix in found.state:
            if (row := places.get((component, base + suffix))) is not None:
                members[suffix] = self._member(row)
        return members

    def _places(self) -> dict[_Place, int]:
        if self._rows_of_names is None:
            keys = zip(self.table.components, self.table.names, strict=True)
            self._rows_of_names = {key: index for index, key in enumerate(keys)}
        return self._rows_of_names

    def _member(self, index: int) -> Member:
        table = self.table
        value = self.values.get((table.components[index], table.names[index]))
        return Member(table.dtypes[index], table.shapes[index], value)

    def _ask(self, family: Family, members: dict[str, Member]) -> Logical | Unknown:
        key = (family.name, tuple(sorted(members.items())))
        if key not in self._known:
            self._known[key] = family.load().see_through(members, self.declared)
        return self._known[key]


def _known(members: Mapping[str, Member]) -> Members:
    """Members without their values, which may differ where nothing else does."""
    return tuple((suffix, member._replace(value=None)) for suffix, member in members.items())
