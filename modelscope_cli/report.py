"""What a command has to say: sections of raw cells, one JSON document, flat records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.facts import ModelRef, Note, Shape, Unknown


class AtLeast(NamedTuple):
    """A number of which only a lower bound is known."""

    number: int


Cell = str | int | float | bool | AtLeast | Shape | Unknown | None


class Column(NamedTuple):
    """One column. `kind` says how a raw cell becomes text and on which side it stands.

    Kinds: text (untrusted, may wrap), word (untrusted, never wrapped), name (untrusted,
    broken at dots), count, bytes (exact),
    size (bytes for people), shape, times (a repeat count), bar (a share from 0 to 1: drawn on a
    terminal, left out elsewhere).
    `rank` 0 always stays; on a narrow terminal the highest rank is hidden first.
    """

    key: str
    title: str
    kind: str = "text"
    rank: int = 0


class Table(NamedTuple):
    """Rows of raw cells under columns; `total` is the row that ends the table."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str | None = None
    total: Sequence[Cell] | None = None


def without_bars(table: Table) -> Table:
    """The table for those who cannot draw: without its columns of shares."""
    picks = [at for at, column in enumerate(table.columns) if column.kind != "bar"]
    if len(picks) == len(table.columns):
        return table
    return Table(
        [table.columns[at] for at in picks],
        [[row[at] for at in picks] for row in table.rows],
        table.title,
        None if table.total is None else [table.total[at] for at in picks],
    )


class Fields(NamedTuple):
    """Label and value pairs; `kind` as in `Column`."""

    pairs: Sequence[tuple[str, Cell, str]]
    title: str | None = None


class Lines(NamedTuple):
    """Plain lines of text. `verbatim`: raw untrusted values rather than sentences of ours."""

    lines: Sequence[str]
    verbatim: bool = False


Section = Table | Fields | Lines


class CheckedRule(NamedTuple):
    """A rule that models were held against; `severity` is error, warning or note."""

    id: str
    title: str
    severity: str
    why: str
    remedy: str


class Flaw(NamedTuple):
    """One thing found; `file` is relative to the model, `line` counts from 1."""

    severity: str
    message: str
    file: str | None = None
    tensor: str | None = None
    line: int | None = None


class Outcome(NamedTuple):
    """What one rule came out as for one model: `status` is passed, failed or skipped."""

    rule: str
    status: str
    reason: str | None = None
    flaws: Sequence[Flaw] = ()


class CheckedModel(NamedTuple):
    """One model and what its rules came out as; `error` where it could not be looked at."""

    model: ModelRef
    outcomes: Sequence[Outcome] = ()
    error: str | None = None


class Checks(NamedTuple):
    """Rules held against models: what the formats of CI services are made from.

    `failing` are the severities that let a run fail.
    """

    rules: Sequence[CheckedRule]
    models: Sequence[CheckedModel]
    failing: Sequence[str] = ("error",)


class Report(NamedTuple):
    """One command's whole answer, before any renderer has seen it.

    `sections(folded)` builds what people read (table, md); `records()` the flat rows of
    jsonl, csv and tsv under `record_keys`; `document()` the JSON object after its envelope.
    A value of the document may be an iterator: it is written as an array, piece by piece.
    `checks()` is there where models were held against rules; `streamed`: stdout has the records
    already, as they came.
    """

    command: str
    model: ModelRef | None
    title: str
    sections: Callable[[bool], Sequence[Section]]
    document: Callable[[], Mapping[str, Any]]
    record_keys: Sequence[str]
    records: Callable[[], Iterable[Mapping[str, Any]]]
    notes: Sequence[Note] = ()
    fold: bool | None = None  # None: folded on a terminal and in md
    exit_code: int = 0
    checks: Callable[[], Checks] | None = None
    streamed: bool = False
