"""What `mscope memory` shows: the rows, one row's parts, what stays unquantized, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis.memory import rows
from modelscope_cli.analysis.memory.amounts import Left
from modelscope_cli.analysis.memory.kv_cache import KVCache
from modelscope_cli.analysis.memory.modes import STORED
from modelscope_cli.analysis.memory.rows import Part, Row
from modelscope_cli.facts import ModelFacts, Note, Unknown
from modelscope_cli.footprint import Footprint
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table
from modelscope_cli.reports.objects import with_unknowns
from modelscope_cli.titles import title
from modelscope_cli.units import counted, short_count, size_text

RECORD_KEYS = (
    "bits", "method", "weights", "quantization", "buffers", "kv_cache", "activations",
    "load_bytes", "total_bytes", "card_bytes", "basis",
)  # fmt: skip
_TITLES = {
    "weights": "weights",
    "quantization": "quantization state",
    "buffers": "buffers",
    "kv_cache": "KV cache",
    "activations": "activations",
    "gradients": "gradients",
    "optimizer": "optimizer",
}
_MOST_LEFT = 8  # rows of unquantized weights on screen; JSON has all


def report(facts: ModelFacts, found: Footprint) -> Report:
    """The footprint."""
    shown = _Shown(facts, found)
    return Report(
        "memory",
        facts.ref,
        title(facts),
        lambda folded: list(shown.sections()),
        shown.document,
        RECORD_KEYS,
        shown.records,
        (*facts.notes, *found.notes, *shown.notes()),
        fold=False,
    )


class _Shown:
    """A footprint as sections, as a document and as records."""

    def __init__(self, facts: ModelFacts, found: Footprint) -> None:
        self.facts = facts
        self.found = found
        self.top = found.top

    def sections(self) -> Iterator[Section]:
        if len(self.found.rows) > 1:
            yield self._rows()
        yield self._parts()
        if self.top.left and self.top.mode.scheme is not None:
            yield self._left()
        yield Fields(list(self._facts()))
        if lines := list(self._remarks()):
            yield Lines(lines)

    def _rows(self) -> Table:
        columns = (
            Column("weights", "weights", "text"),
            Column("load", "load", "size"),
            Column("kv_cache", "KV cache", "size"),
            Column("activations", "activations", "size", rank=1),
            Column("run", "run", "size"),
            Column("share", "", "bar", rank=2),
            Column("load_bytes", "load, bytes", "bytes", rank=3),
        )
        groups = rows.equal(self.found.rows)
        most = max((_known(group[0].total_bytes) for group in groups), default=0)
        cells: list[list[Cell]] = [
            [
                _label(group),
                group[0].load_bytes,
                group[0].bytes_of("kv_cache"),
                group[0].bytes_of("activations"),
                group[0].total_bytes,
                _known(group[0].total_bytes) / most if most else 0.0,
                group[0].load_bytes,
            ]
            for group in groups
        ]
        return Table(columns, cells)

    def _parts(self) -> Table:
        columns = (
            Column("part", "part", "word"),
            Column("bytes", "bytes", "bytes", rank=1),
            Column("size", "size", "size"),
            Column("share", "", "bar", rank=3),
            Column("basis", "basis", "word"),
        )
        whole = self.top.at_least_bytes or 1
        cells: list[list[Cell]] = [
            [
                _TITLES[part.part],
                part.bytes,
                part.bytes,
                _known(part.bytes) / whole,
                "unknown" if isinstance(part.bytes, Unknown) else part.basis,
            ]
            for part in self.top.parts
            if part.bytes != 0 or part.part == "kv_cache"
        ]
        total = self.top.total_bytes
        return Table(columns, cells, self.top.method, ["run", total, total, None, None])

    def _left(self) -> Table:
        columns = (
            Column("pattern", "stays unquantized", "name"),
            Column("count", "count", "times"),
            Column("bytes", "bytes", "bytes", rank=1),
            Column("size", "size", "size"),
            Column("reason", "why", "text"),
        )
        left = sorted(self.top.left, key=lambda each: -each.bytes)
        cells: list[list[Cell]] = [
            [each.pattern, each.times, each.bytes, each.bytes, each.reason]
            for each in left[:_MOST_LEFT]
        ]
        if rest := left[_MOST_LEFT:]:
            size = sum(each.bytes for each in rest)
            count = sum(each.times for each in rest)
            cells.append([f"{counted(len(rest), 'more row')}", count, size, size, "in --json"])
        size = sum(each.bytes for each in left)
        return Table(columns, cells, None, ["total", None, size, size, None])

    def _facts(self) -> Iterator[tuple[str, Cell, str]]:
        top, totals = self.top, self.found.parameters
        if isinstance(totals.parameters, int) and totals.parameters:
            text = short_count(totals.parameters)
            if isinstance(totals.active_parameters, int) and totals[1] != totals[2]:
                active = short_count(totals.active_parameters)
                text += f", {active} active a token (that is speed, not memory)"
            yield "parameters", text, "text"
        yield "load", _size(top.load_bytes), "text"
        yield "run", self._run(), "text"
        card = card_bytes(top, self.found.runtime)
        if isinstance(card, int):
            runtime = size_text(self.found.runtime)
            text = f"{_size(card)} (cache at its peak, {runtime} for CUDA: assumed)"
            yield "of a card", text, "text"
        if top.modules:
            packed = short_count(top.parameters)
            yield "quantized", f"{packed} parameters in {counted(top.modules, 'module')}", "text"
        yield "KV cache", self._price(), "text"

    def _run(self) -> str:
        total = self.top.total_bytes
        if isinstance(total, int) or not self.top.at_least_bytes:
            return _size(total)
        return f"at least {_size(self.top.at_least_bytes)}: {total.reason}"

    def _price(self) -> str:
        """`128 KiB a token: 4,096 -> 0.50 GiB, 32,768 (limit) -> 4.00 GiB`."""
        cache, found = self.top.cache, self.found
        if isinstance(cache, Unknown):
            return f"unknown: {cache.reason}"
        if not cache.layers:
            return cache.note or "none"
        text = f"{size_text(cache.bytes_per_token)} a token: "
        text += f"{found.work.context:,} -> {size_text(cache.bytes)}"
        if isinstance(found.at_limit, KVCache):
            text += f", {found.limit:,} (limit) -> {size_text(found.at_limit.bytes)}"
        return text

    def _remarks(self) -> Iterator[str]:
        for row in self.found.rows:
            for release, size in row.alternatives:
                yield _alternative(row, release, size, self._plain_bytes(row))

    def _plain_bytes(self, row: Row) -> int | None:
        """What the same model holds unquantized."""
        mode = row.mode._replace(bits=STORED, scheme=None)
        found = rows.weigh(self.found.model, mode)
        return None if isinstance(found, Unknown) else sum(found[:3])

    def notes(self) -> Iterator[Note]:
        """The assumptions, and why a figure is no certainty."""
        found = self.found
        if not found.context_said and not isinstance(self.top.cache, Unknown):
            limit = "" if found.limit is None else f" of {found.limit:,} possible"
            yield Note(f"context {found.work.context:,}{limit}; --context N asks for another")
        for reason in dict.fromkeys(part.reason for part in self.top.parts if part.reason):
            yield Note(reason)
        for part in self.top.parts:
            if part.note:
                yield Note(f"{_TITLES[part.part]}: {part.note}")

    def document(self) -> Mapping[str, Any]:
        totals = self.found.parameters
        counts = {"total": totals.parameters, "active": totals.active_parameters}
        return {
            **self._row_object(self.top),
            "rows": [self._row_object(row) for row in self.found.rows],
            "parameters": with_unknowns(counts),
            "context_limit": self.found.limit,
        }

    def _row_object(self, row: Row) -> dict[str, Any]:
        card = card_bytes(row, self.found.runtime)
        total: int | Unknown = row.total_bytes
        unknown = isinstance(total, Unknown)
        return with_unknowns(
            {
                "bits": row.mode.bits,
                "method": row.method,
                **({"file": row.file} if row.file is not None else {}),
                "basis": row.basis,
                "request": self._request(row),
                "parts": [_part_object(part) for part in row.parts],
                "load_bytes": row.load_bytes,
                "total_bytes": total,
                **({"at_least_bytes": row.at_least_bytes} if unknown else {}),
                "card_bytes": card,
                "runtime_bytes": self.found.runtime,
                "quantized": {"modules": row.modules, "parameters": row.parameters},
                "unquantized": [_left_object(each) for each in row.left if row.mode.scheme],
                "kv_cache": _cache_object(row.cache),
                "alternatives": [
                    {"transformers": release, "load_bytes": size}
                    for release, size in row.alternatives
                ],
            }
        )

    def _request(self, row: Row) -> dict[str, Any]:
        work = self.found.work
        return {
            "bits": row.mode.bits,
            "quant": row.mode.scheme,
            "double_quant": row.mode.double_quant,
            "dtype": row.dtype,
            "batch": work.batch,
            "context": work.context,
            "encoder_context": work.encoder_context,
            "kv_dtype": row.kv_dtype or work.kv_dtype or row.dtype,
            "transformers": row.mode.transformers,
        }

    def records(self) -> Iterator[Mapping[str, Any]]:
        for row in self.found.rows:
            yield with_unknowns(
                {
                    "bits": row.mode.bits,
                    "method": row.method,
                    **{part.part: part.bytes for part in row.parts},
                    "load_bytes": row.load_bytes,
                    "total_bytes": row.total_bytes,
                    "card_bytes": card_bytes(row, self.found.runtime),
                    "basis": row.basis,
                }
            )


def card_bytes(row: Row, runtime: int) -> int | Unknown:
    """What a fit is judged by: the cache at its peak, and the runtime's own share."""
    peak = row.peak_bytes()
    return peak if isinstance(peak, Unknown) else peak + runtime


def _known(count: int | Unknown) -> int:
    return 0 if isinstance(count, Unknown) else count


def _size(count: int | Unknown) -> str:
    if isinstance(count, Unknown):
        return f"unknown: {count.reason}"
    return f"{size_text(count)} ({count:,} bytes)"


def _label(group: Sequence[Row]) -> str:
    """`16 bit = as stored, bf16`, of rows that are the same."""
    first = group[0]
    if len(group) == 1:
        return first.method
    names = [f"{row.mode.bits} bit" for row in group if row.mode.bits != STORED]
    if any(row.mode.bits == STORED for row in group):
        names.append("as stored")
    if isinstance(first.load_bytes, Unknown):
        return " = ".join(names)
    return f"{' = '.join(names)}, {first.dtype.lower()}"


def _alternative(row: Row, release: str, size: int, plain: int | None) -> str:
    """`4 bit: 85.58 GiB, hardly below 87.37: …; under 4.x 25.20 GiB`."""
    load = _known(row.load_bytes)
    text = f"{row.mode.bits} bit: {size_text(load)}"
    if row.mode.transformers >= 5 and plain is not None and load < size * 1.01:
        return f"{text}; under {release} {size_text(size)}"
    if row.mode.transformers >= 5 and plain is not None:
        hardly = ", hardly" if load > _HARDLY * plain else ", not far"
        text += f"{hardly} below {size_text(plain)}" if load > _FAR * plain else ""
        text += ": transformers 5 fuses the experts and bitsandbytes skips them"
    return f"{text}; under {release} {size_text(size)}"


_HARDLY = 0.95
_FAR = 0.75


def _left_object(left: Left) -> dict[str, Any]:
    return {
        "pattern": left.pattern,
        "count": left.times,
        "bytes": left.bytes,
        "reason": left.reason,
    }


def _part_object(part: Part) -> dict[str, Any]:
    return with_unknowns(part._asdict())


def _cache_object(cache: KVCache | Unknown) -> dict[str, Any]:
    if isinstance(cache, Unknown):
        keys = ("bytes", "peak_bytes", "bytes_per_token", "paged_bytes")
        return with_unknowns({**dict.fromkeys(keys, cache), "layers": []})
    return {
        "bytes": cache.bytes,
        "peak_bytes": cache.peak_bytes,
        "bytes_per_token": cache.bytes_per_token,
        "paged_bytes": cache.paged_bytes,
        "basis": cache.basis,
        "layers": [layer._asdict() for layer in cache.layers],
    }
