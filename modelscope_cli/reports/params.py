"""What `mscope params` shows: tensors one by one, folded, or summed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from modelscope_cli.analysis import params as analysis
from modelscope_cli.analysis.roles import TRAINING, RowFact
from modelscope_cli.facts import ModelFacts, Note, Unknown
from modelscope_cli.report import Cell, Column, Fields, Report, Section, Table
from modelscope_cli.reports.objects import with_unknowns
from modelscope_cli.schemes.base import Logical
from modelscope_cli.titles import title
from modelscope_cli.units import counted, short_count

RECORD_KEYS = (
    "name", "dtype", "shape", "elements", "bytes", "file", "offset", "role", "scheme",
    "logical_shape", "logical_elements", "component",
)  # fmt: skip


def without_tensors(facts: ModelFacts, unknown: Unknown) -> Report:
    """A configuration alone: every count is null, with the reason."""
    keys = ("tensors", "parameters", "active_parameters", "stored_elements", "bytes")
    totals = {**dict.fromkeys(keys), "unknown": dict.fromkeys(keys, unknown.reason)}
    held: dict[str, Any] = {
        "parameters": None, "bytes": None, "tied": [], "basis": "estimate",
        "unknown": {"parameters": unknown.reason, "bytes": unknown.reason},
    }  # fmt: skip
    pairs: list[tuple[str, Cell, str]] = [
        ("parameters", unknown, "count"),
        ("reason", unknown.reason, "text"),
    ]
    return Report(
        "params",
        facts.ref,
        title(facts),
        lambda folded: [Fields(pairs)],
        lambda: {"totals": totals, "tensors": [], "loaded": held},
        RECORD_KEYS,
        list,
        (*facts.notes, Note(f"parameters are unknown: {unknown.reason}")),
    )


def of_choices(facts: ModelFacts, unknown: Unknown) -> Report:
    """Whole models to choose from, none of them read: a row a file, with its size and type."""
    nothing = without_tensors(facts, unknown)
    columns = [
        Column("file", "file", "word"),
        Column("type", "type", "word"),
        Column("bytes", "bytes", "bytes", rank=2),
        Column("size", "size", "size"),
    ]
    rows: list[list[Cell]] = [
        [each.file, each.type or Unknown("its name does not say"), each.bytes, each.bytes]
        for each in facts.choices
    ]
    records = [
        {"file": each.file, "type": each.type, "bytes": each.bytes} for each in facts.choices
    ]
    return nothing._replace(
        sections=lambda folded: [Table(columns, rows)],
        document=lambda: {
            **nothing.document(),
            "choices": [each._asdict() for each in facts.choices],
        },
        record_keys=("file", "type", "bytes"),
        records=lambda: records,
    )


def of_tensors(facts: ModelFacts, examined: analysis.Params, fold: bool | None) -> Report:
    """The tensors one by one; `fold` as in `Report`."""
    listing = _Listing(facts, examined)
    return Report(
        "params",
        facts.ref,
        title(facts),
        listing.sections,
        listing.document,
        RECORD_KEYS,
        listing.records,
        (*facts.notes, *listing.notes()),
        fold,
    )


class _Listing:
    """The listing as sections, as a document and as records."""

    def __init__(self, facts: ModelFacts, examined: analysis.Params) -> None:
        self.facts = facts
        self.params = examined
        self.table = examined.table
        self.many_files = len(facts.files) > 1
        self.of_parts = any(self.table.components)
        # A ggml type's name says all of it: no columns for the same again.
        packed = [] if facts.ref.format == "gguf" else [r for r in examined.rows if r.logical]
        self.any_packed = bool(packed)
        self.reshaped = any(self._stands_for_another_shape(row) for row in packed)

    def _stands_for_another_shape(self, row: RowFact) -> bool:
        stored = self.table.shapes[row.row.indices[0]]
        return not isinstance(row.logical, Logical) or row.logical.shape != stored

    def sections(self, folded: bool) -> list[Section]:
        rows = self._folded_rows() if folded else self._rows()
        columns = [
            *([Column("component", "component", "word")] if self.of_parts else []),
            Column("name", "name", "name"),
            *([Column("count", "count", "times")] if folded else []),
            Column("dtype", "dtype", "word"),
            Column("shape", "shape", "shape"),
            *self._packed_columns(),
            Column("elements", "elements", "count", rank=1),
            Column("bytes", "bytes", "bytes", rank=2),
            Column("size", "size", "size"),
            Column("role", "role", "word", rank=4),
            *([Column("file", "file", "word", rank=3)] if self.many_files else []),
        ]
        return [Table(columns, rows, total=self._total(columns)), Fields(self._summary())]

    def _packed_columns(self) -> list[Column]:
        scheme = [Column("scheme", "scheme", "word", rank=3)] if self.any_packed else []
        return scheme + ([Column("logical_shape", "stands for", "shape")] if self.reshaped else [])

    def _packed_cells(self, scheme: str | None, logical: Logical | Unknown | None) -> list[Cell]:
        shape = logical.shape if isinstance(logical, Logical) else logical
        cells: list[Cell] = [scheme] if self.any_packed else []
        return cells + ([shape] if self.reshaped else [])

    def _rows(self) -> list[list[Cell]]:
        return [
            [
                *([row.fact.component or ""] if self.of_parts else []),
                row.fact.name,
                row.fact.dtype,
                row.fact.shape,
                *self._packed_cells(row.scheme, row.logical),
                row.fact.elements,
                row.fact.bytes,
                row.fact.bytes,
                row.role,
                *([row.fact.file] if self.many_files else []),
            ]
            for row in self.params.listed()
        ]

    def _folded_rows(self) -> list[list[Cell]]:
        return [self._folded_row(fact) for fact in self.params.folded()]

    def _folded_row(self, fact: RowFact) -> list[Cell]:
        first, table = fact.row.indices[0], self.table
        return [
            *([table.components[first] or ""] if self.of_parts else []),
            fact.row.name,
            len(fact.row.indices),
            table.dtypes[first],
            table.shapes[first],
            *self._packed_cells(fact.scheme, fact.logical),
            fact.elements,
            fact.bytes,
            fact.bytes,
            fact.role,
            *([self._files(fact.row.indices)] if self.many_files else []),
        ]

    def _files(self, indices: Sequence[int]) -> str:
        files = {self.table.files[index] for index in indices}
        return f"{len(files)} files" if len(files) > 1 else files.pop() or ""

    def _total(self, columns: Sequence[Column]) -> list[Cell]:
        totals = self.params.totals
        cells: dict[str, Cell] = {
            "name": f"total of {counted(totals.tensors, 'tensor')}",
            "elements": totals.stored_elements,
            "bytes": totals.bytes,
            "size": totals.bytes,
        }
        return [cells.get(column.key) for column in columns]

    def _summary(self) -> list[tuple[str, Cell, str]]:
        totals, held = self.params.totals, self.params.loaded
        text = _parameters(totals.parameters)
        if self.reshaped and isinstance(totals.parameters, int):
            text += f"; counting packed elements gives {short_count(totals.stored_elements, 4)}"
        pairs: list[tuple[str, Cell, str]] = [("parameters", text, "text")]
        if totals.active_parameters != totals.parameters:
            active = _parameters(totals.active_parameters)
            pairs.append(("active a token", active, "text"))
        if isinstance(held.parameters, int) and held.parameters != totals.parameters:
            text = f"{_parameters(held.parameters)} once tied weights count once ({held.basis})"
            pairs.append(("loaded", text, "text"))
        return pairs

    def notes(self) -> Iterator[Note]:
        totals, held = self.params.totals, self.params.loaded
        if self.params.choice.top is not None:
            yield Note(f"--top {self.params.choice.top} limits the rows, not the totals")
        names = (row.row.template for row in self.params.rows for _ in row.row.indices)
        if training := sum(name.startswith(TRAINING) for name in names):
            yield Note(
                f"{counted(training, 'tensor')} of a trainer's state: no parameters of the model"
            )
        same, tied = held.tied[: held.in_file], held.tied[held.in_file :]
        if same:
            (source, target), *more = same
            others = f" (and {counted(len(more), 'more name')})" if more else ""
            yield Note(
                f"{target} is the same tensor as {source}{others}: stored once, listed under each"
            )
        elif totals.bytes < sum(row.bytes for row in self.params.rows):
            yield Note("tensors share storages: the total counts each byte once")
        if tied and isinstance(held.parameters, int):
            (source, target), *more = tied
            others = f" and {len(more)} more" if more else ""
            yield Note(
                f"{target} is tied to {source}{others}: stored twice, loaded once; were the values "
                f"not equal, transformers would load {held.apart:,} parameters"
            )

    def document(self) -> Mapping[str, Any]:
        return {
            "totals": totals_object(self.params.totals),
            "tensors": self.records(),
            "loaded": _loaded_object(self.params),
        }

    def records(self) -> Iterator[Mapping[str, Any]]:
        return map(_record, self.params.listed())


def _parameters(count: int | Unknown) -> str:
    if isinstance(count, Unknown):
        return f"unknown: {count.reason}"
    return f"{count:,} ({short_count(count)})" if count >= 1000 else str(count)


def _record(row: analysis.Row) -> dict[str, Any]:
    fact, logical = row.fact, row.logical
    seen: tuple[Any, Any] = (logical, logical)  # Unknown twice, or None twice
    if isinstance(logical, Logical):
        seen = logical.shape, prod(logical.shape)
    record = {
        "name": fact.name,
        "dtype": fact.dtype,
        "shape": fact.shape,
        "elements": fact.elements,
        "bytes": fact.bytes,
        "file": fact.file,
        "offset": fact.offset,
        "role": row.role,
        "scheme": row.scheme,
        "logical_shape": seen[0],
        "logical_elements": seen[1],
        "component": fact.component,
    }
    return with_unknowns(record) if isinstance(logical, Unknown) else record


def totals_object(totals: analysis.Totals) -> dict[str, Any]:
    """The `totals` object of the contract."""
    return with_unknowns({field: getattr(totals, field) for field in totals._fields})


def _loaded_object(params: analysis.Params) -> dict[str, Any]:
    held = params.loaded
    return with_unknowns(
        {
            "parameters": held.parameters,
            "bytes": held.bytes,
            "tied": [list(pair) for pair in held.tied],
            "basis": held.basis,
        }
    )


def of_groups(facts: ModelFacts, examined: analysis.Params, by: str, depth: int) -> Report:
    """The tensors summed up `by` module, dtype, kind or file."""
    notes = (*facts.notes, *_Listing(facts, examined).notes())
    groups = analysis.grouped(examined, by, depth)
    totals = examined.totals
    columns = (
        Column(by, by, "name"),
        Column("tensors", "tensors", "count"),
        Column("parameters", "parameters", "count"),
        Column("bytes", "bytes", "bytes", rank=1),
        Column("size", "size", "size"),
    )
    rows = [[g.name, g.tensors, g.parameters, g.bytes, g.bytes] for g in groups]
    total: list[Cell] = ["total", totals.tensors, totals.parameters, totals.bytes, totals.bytes]
    records = [
        with_unknowns(
            {by: g.name, "tensors": g.tensors, "parameters": g.parameters, "elements": g.elements,
             "bytes": g.bytes}
        )
        for g in groups
    ]  # fmt: skip
    return Report(
        "params",
        facts.ref,
        title(facts),
        lambda folded: [Table(columns, rows, total=total)],
        lambda: {
            "totals": totals_object(totals),
            "tensors": map(_record, examined.listed()),
            "loaded": _loaded_object(examined),
            "groups": {"by": by, "rows": records},
        },
        (by, "tensors", "parameters", "elements", "bytes"),
        lambda: records,
        notes,
        fold=False,
    )
