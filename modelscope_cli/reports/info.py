"""What `mscope info` shows: one card, composed of what the other commands tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.layer_counts import MAIN
from modelscope_cli.analysis.licence import Licence
from modelscope_cli.analysis.memory.row import Row
from modelscope_cli.analysis.params import Params
from modelscope_cli.facts import ModelFacts, ModelRef, Note, Unknown
from modelscope_cli.report import AtLeast, Cell, Column, Fields, Report, Section, Table
from modelscope_cli.reports.objects import with_unknowns
from modelscope_cli.reports.reasons import reasons
from modelscope_cli.titles import title
from modelscope_cli.units import short_count

RECORD_KEYS = (
    "type", "architecture", "parameters", "active_parameters", "loaded_parameters", "dtypes",
    "layers", "context_limit", "licence", "stored_bytes", "load_bytes", "total_bytes",
)  # fmt: skip
WHOLE, CONFIG_ALONE = "complete", "without weights"


class Card(NamedTuple):
    """What is known of one model. `row` is it as stored, run with `batch` and `context`."""

    facts: ModelFacts
    params: Params
    type: str | Unknown
    architectures: tuple[str, ...]
    layers: Mapping[str, int] | Unknown
    context_limit: int | Unknown
    licence: Licence | Unknown
    row: Row
    batch: int
    context: int
    notes: tuple[Note, ...] = ()

    @property
    def dtypes(self) -> Mapping[str, int]:
        """Bytes stored by dtype, most first."""
        counts: dict[str, int] = {}
        table = self.params.table
        for dtype, size in zip(table.dtypes, table.bytes, strict=True):
            counts[dtype] = counts.get(dtype, 0) + size
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def stored_elements(self) -> int | Unknown:
        """Elements as stored, packed or not."""
        tensors = self.facts.tensors
        return tensors if isinstance(tensors, Unknown) else self.params.totals.stored_elements

    @property
    def stored_bytes(self) -> int | Unknown:
        """Bytes of the tensors in the files."""
        tensors = self.facts.tensors
        return tensors if isinstance(tensors, Unknown) else self.params.totals.bytes

    @property
    def cache_state(self) -> str | None:
        """Of a model in the HF cache: whether its weights are there too."""
        if self.facts.ref.kind != "cache":
            return None
        return CONFIG_ALONE if isinstance(self.facts.tensors, Unknown) else WHOLE


def report(card: Card) -> Report:
    """The card."""
    return Report(
        "info",
        card.facts.ref,
        title(card.facts),
        lambda folded: list(_sections(card)),
        lambda: _document(card),
        RECORD_KEYS,
        lambda: [_record(card)],
        (*card.facts.notes, *card.notes, *_notes(card)),
        fold=False,
    )


def _sections(card: Card) -> Iterator[Section]:
    yield Fields([(label, value, "text") for label, value in _labelled(card)])
    columns = (
        Column("memory", "memory", "text"),
        Column("size", "size", "size"),
        Column("bytes", "bytes", "bytes", rank=1),
        Column("basis", "basis", "text"),
    )
    yield Table(columns, list(_memory(card)))


def _labelled(card: Card) -> Iterator[tuple[str, Cell]]:
    yield "type", _text(card.type)
    if card.architectures:
        yield "architecture", ", ".join(card.architectures)
    yield from _parameters(card)
    if dtypes := card.dtypes:
        yield "dtypes", ", ".join(dtypes)
    yield "layers", _layers(card.layers)
    yield "context", _tokens(card.context_limit)
    yield "licence", _licence(card.licence)
    yield "where", _where(card.facts.ref)
    if card.facts.ref.revision:
        yield "revision", card.facts.ref.revision
    if card.cache_state is not None:
        yield "HF cache", card.cache_state


def _parameters(card: Card) -> Iterator[tuple[str, Cell]]:
    totals, loaded = card.params.totals, card.params.loaded
    total = card.facts.tensors if isinstance(card.facts.tensors, Unknown) else totals.parameters
    yield "parameters", _count(total)
    if isinstance(total, Unknown):
        return
    if totals.active_parameters != total:
        yield "active a token", _count(totals.active_parameters)
    if isinstance(loaded.parameters, int) and loaded.parameters != total:
        yield "loaded", f"{_count(loaded.parameters)}, tied weights once"


def _memory(card: Card) -> Iterator[list[Cell]]:
    row = card.row
    run = f"run: batch {card.batch}, context {card.context:,}"
    for choice in card.facts.choices:
        yield _sized(f"file {choice.file}", choice.bytes, "exact")
    yield _sized("stored", card.stored_bytes, "exact")
    if len(dtypes := card.dtypes) > 1:
        yield from (_sized(f"  of it {dtype}", size, "exact") for dtype, size in dtypes.items())
    yield _sized(f"load: {row.method}", row.load_bytes, row.load_basis, row.load_at_least)
    yield _sized(run, row.total_bytes, row.total_basis, row.at_least_bytes)


def _sized(what: str, size: int | Unknown, basis: str, least: int = 0) -> list[Cell]:
    """One line; of what is not known as a whole, `least`, what is known of it."""
    if isinstance(size, Unknown):
        known = AtLeast(least) if least else size
        return [what, known, known, None]
    return [what, size, size, basis]


def _text(value: str | Unknown) -> str:
    return f"unknown: {value.reason}" if isinstance(value, Unknown) else value


def _count(count: int | Unknown) -> str:
    if isinstance(count, Unknown):
        return f"unknown: {count.reason}"
    return f"{count:,} ({short_count(count)})" if count >= 1000 else str(count)


def _tokens(limit: int | Unknown) -> str:
    return _text(limit) if isinstance(limit, Unknown) else f"{limit:,} tokens at most"


def _layers(layers: Mapping[str, int] | Unknown) -> str:
    if isinstance(layers, Unknown):
        return _text(layers)
    return ", ".join(
        str(count) if part == MAIN else f"{count} {part}" for part, count in layers.items()
    )


def _licence(licence: Licence | Unknown) -> str:
    if isinstance(licence, Unknown):
        return _text(licence)
    return f"{licence.name} ({licence.file})"


def _where(ref: ModelRef) -> str:
    if ref.kind == "hub":
        return f"the Hub: {ref.id}"
    if ref.path is None:
        return "inside mscope: configuration and tensor list, no weights"
    return ref.path


def _notes(card: Card) -> Iterator[Note]:
    """Why figures are no certainty, and what was assumed."""
    yield from reasons(card.row, card.notes)
    yield Note("mscope memory tells what quantization, another context or more cards change")


def _document(card: Card) -> dict[str, Any]:
    row, layers = card.row, card.layers
    several = isinstance(layers, Mapping) and len(layers) > 1
    return with_unknowns(
        {
            "type": card.type,
            "architectures": list(card.architectures),
            "parameters": _parameters_object(card),
            "dtypes": card.dtypes,
            "layers": _first(layers),
            **({"layers_by_part": layers} if several else {}),
            "context_limit": card.context_limit,
            "licence": _name(card.licence),
            "licence_file": None if isinstance(card.licence, Unknown) else card.licence.file,
            "cache_state": card.cache_state,
            "stored_bytes": card.stored_bytes,
            "load_bytes": row.load_bytes,
            "load_basis": row.load_basis,
            "total_bytes": row.total_bytes,
            "total_basis": row.total_basis,
            **row.bounds(),
            "basis": row.total_basis,
            "request": {"batch": card.batch, "context": card.context, "dtype": row.dtype},
        }
    )


def _parameters_object(card: Card) -> dict[str, Any]:
    totals, tensors = card.params.totals, card.facts.tensors
    if isinstance(tensors, Unknown):
        return with_unknowns(dict.fromkeys(("total", "active", "stored", "loaded"), tensors))
    return with_unknowns(
        {
            "total": totals.parameters,
            "active": totals.active_parameters,
            "stored": totals.stored_elements,
            "loaded": card.params.loaded.parameters,
        }
    )


def _first(layers: Mapping[str, int] | Unknown) -> int | Unknown:
    return layers if isinstance(layers, Unknown) else next(iter(layers.values()))


def _name(licence: Licence | Unknown) -> str | Unknown:
    return licence if isinstance(licence, Unknown) else licence.name


def _record(card: Card) -> dict[str, Any]:
    counts = _parameters_object(card)
    return with_unknowns(
        {
            "type": card.type,
            "architecture": next(iter(card.architectures), None),
            "parameters": counts["total"],
            "active_parameters": counts["active"],
            "loaded_parameters": counts["loaded"],
            "dtypes": " ".join(card.dtypes),
            "layers": _first(card.layers),
            "context_limit": card.context_limit,
            "licence": _name(card.licence),
            "stored_bytes": card.stored_bytes,
            "load_bytes": card.row.load_bytes,
            "total_bytes": card.row.total_bytes,
        }
    )
