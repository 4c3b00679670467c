"""`mscope params`: named parameters and buffers of a model."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Annotated, Any

import typer

from modelscope_cli import load
from modelscope_cli.analysis import params as analysis
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.errors import NotFound, UsageError, did_you_mean
from modelscope_cli.facts import ModelFacts, Note, Unknown
from modelscope_cli.options import Model, Opening, Output, choice
from modelscope_cli.options import command as command_
from modelscope_cli.report import Cell, Column, Fields, Report, Section, Table
from modelscope_cli.schemes.base import Logical
from modelscope_cli.titles import title
from modelscope_cli.units import counted, short_count

RECORD_KEYS = (
    "name", "dtype", "shape", "elements", "bytes", "file", "offset", "role", "scheme",
    "logical_shape", "logical_elements", "component",
)  # fmt: skip


@command_
def command(
    model: Model = None,
    *,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only names that fit; without a wildcard: contain it."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out names that fit.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar=f"{'|'.join(analysis.SORTS)}[:desc]",
            help="Order of the rows.",
            autocompletion=lambda: [*analysis.SORTS, *(f"{s}:desc" for s in analysis.SORTS)],
        ),
    ] = "order",
    top: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")
    ] = None,
    by: Annotated[
        str | None,
        choice("--by", names=analysis.GROUPINGS, help="Sum up by this instead of listing."),
    ] = None,
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, help="With --by module: name parts that count.")
    ] = 2,
    fold: Annotated[
        bool | None,
        typer.Option(
            "--fold/--no-fold",
            help="Repeated layers as one row; on for terminals and md.",
            show_default=False,
        ),
    ] = None,
    opening: Opening,
    output: Output,
) -> Report:
    """List the named parameters and buffers of a model, from its headers alone."""
    chosen = analysis.Choice(match or (), exclude or (), *_sort(sort), top)
    facts = load.open_model(model, load.How(*opening))
    if isinstance(facts.tensors, Unknown):
        return _without_tensors(facts, facts.tensors)
    examined = analysis.examine(facts, facts.tensors, chosen)
    if facts.tensors.names and not examined.rows:
        _refuse_empty(chosen, facts.tensors.names)
    listing = _Listing(facts, examined)
    notes = (*facts.notes, *listing.notes())
    if by is not None:
        return _by(facts, examined, by, depth, notes)
    return Report(
        "params",
        facts.ref,
        title(facts),
        listing.sections,
        listing.document,
        RECORD_KEYS,
        listing.records,
        notes,
        fold,
    )


def _sort(text: str) -> tuple[str, bool]:
    column, _, direction = text.partition(":")
    if column not in analysis.SORTS or direction not in ("", "asc", "desc"):
        hint = did_you_mean(column, analysis.SORTS)
        raise UsageError(f"--sort: {text!r} is not {'|'.join(analysis.SORTS)}[:desc]", hint)
    return column, direction == "desc"


def _refuse_empty(chosen: analysis.Choice, names: Sequence[str]) -> None:
    if not chosen.match:
        raise UsageError(f"--exclude {', '.join(chosen.exclude)} leaves no tensor")
    but = f" without {', '.join(chosen.exclude)}" if chosen.exclude else ""
    hint = did_you_mean(chosen.match[0], names)
    raise UsageError(f"no tensor's name fits {', '.join(chosen.match)}{but}", hint)


def _without_tensors(facts: ModelFacts, unknown: Unknown) -> Report:
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


class _Listing:
    """The listing as sections, as a document and as records."""

    def __init__(self, facts: ModelFacts, examined: analysis.Params) -> None:
        self.facts = facts
        self.params = examined
        self.table = examined.table
        self.many_files = len(facts.files) > 1
        self.of_parts = any(self.table.components)
        # A ggml type's name says all of it: no column for the same again.
        self.any_packed = facts.ref.format != "gguf" and any(
            row.logical is not None for row in examined.rows
        )

    def sections(self, folded: bool) -> list[Section]:
        rows = self._folded_rows() if folded else self._rows()
        columns = [
            *([Column("component", "component", "word")] if self.of_parts else []),
            Column("name", "name", "name"),
            *([Column("count", "count", "times")] if folded else []),
            Column("dtype", "dtype", "word"),
            Column("shape", "shape", "shape"),
            *(self._packed_columns() if self.any_packed else []),
            Column("elements", "elements", "count", rank=1),
            Column("bytes", "bytes", "bytes", rank=2),
            Column("size", "size", "size"),
            Column("role", "role", "word", rank=4),
            *([Column("file", "file", "word", rank=3)] if self.many_files else []),
        ]
        return [Table(columns, rows, total=self._total(columns)), Fields(self._summary())]

    @staticmethod
    def _packed_columns() -> list[Column]:
        return [
            Column("scheme", "scheme", "word", rank=3),
            Column("logical_shape", "stands for", "shape"),
        ]

    def _rows(self) -> list[list[Cell]]:
        return [
            [
                *([row.fact.component or ""] if self.of_parts else []),
                row.fact.name,
                row.fact.dtype,
                row.fact.shape,
                *(_logical_cells(row.scheme, row.logical) if self.any_packed else []),
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
            *(_logical_cells(fact.scheme, fact.logical) if self.any_packed else []),
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
        pairs: list[tuple[str, Cell, str]] = [
            ("parameters", _parameters(totals.parameters), "text")
        ]
        if self.any_packed and totals.stored_elements != totals.parameters:
            stored = f"{totals.stored_elements:,} ({short_count(totals.stored_elements)})"
            pairs.append(
                ("as stored", f"{stored} elements: packed ones counted as they lie", "text")
            )
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
        if held.tied and isinstance(held.parameters, int):
            (source, target), *more = held.tied
            others = f" and {len(more)} more" if more else ""
            yield Note(
                f"{target} is tied to {source}{others}: stored twice, loaded once; were the values "
                f"not equal, transformers would load {totals.parameters:,} parameters"
            )

    def document(self) -> Mapping[str, Any]:
        return {
            "totals": totals_object(self.params.totals),
            "tensors": self.records(),
            "loaded": _loaded_object(self.params),
        }

    def records(self) -> Iterator[Mapping[str, Any]]:
        return map(_record, self.params.listed())


def _logical_cells(scheme: str | None, logical: Logical | Unknown | None) -> list[Cell]:
    shape = logical.shape if isinstance(logical, Logical) else logical
    return [scheme, shape]


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


def with_unknowns(values: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose Unknown values are null, with the reasons under `unknown`."""
    reasons = {key: value.reason for key, value in values.items() if isinstance(value, Unknown)}
    known = {key: None if key in reasons else value for key, value in values.items()}
    return {**known, "unknown": reasons} if reasons else known


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


def _by(
    facts: ModelFacts,
    examined: analysis.Params,
    by: str,
    depth: int,
    notes: Sequence[Note],
) -> Report:
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


__all__ = ["NotFound", "command"]
