"""The footprint for people: the rows, the parts of one, what stays, cards, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelscope_cli.analysis.memory import rows
from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.modes import STORED
from modelscope_cli.analysis.memory.rows import Row
from modelscope_cli.facts import Note, Unknown
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.report import Cell, Column, Fields, Lines, Section, Table
from modelscope_cli.reports.memory.document import card_bytes
from modelscope_cli.reports.reasons import reasons
from modelscope_cli.units import counted, short_count, size_text

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.cards.on_cards import Device
    from modelscope_cli.comparing import Compared
    from modelscope_cli.footprint.cards import OnCards

_TITLES = {
    "weights": "weights",
    "quantization": "quantization state",
    "buffers": "buffers",
    "kv_cache": "KV cache",
    "activations": "activations",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "adapters": "LoRA adapters",
}
_MOST_LEFT = 8  # rows of unquantized weights on screen; JSON has all


class Shown:
    """A footprint as sections."""

    def __init__(self, found: Footprint) -> None:
        self.found = found
        self.top = found.top

    def sections(self) -> Iterator[Section]:
        """All of them, in order."""
        if len(self.found.rows) > 1:
            yield self._rows()
        yield self._parts()
        if self.top.left and self.top.mode.scheme is not None:
            yield self._left()
        yield Fields(list(self._facts()))
        if self.found.on_cards:
            yield from _on_cards(self.found.on_cards[0])
        for title, compared in (("exact", self.found.exact), ("measured", self.found.measured)):
            if compared is not None:
                yield _compared(title, self.top, compared)
        if lines := list(self._remarks()):
            yield Lines(lines)

    def _rows(self) -> Table:
        columns = (
            Column("weights", "weights", "text"),
            Column("load", "load", "size"),
            Column("kv_cache", "KV cache", "size"),
            Column("activations", "activations", "size", rank=1),
            Column("run", "run", "size"),
            *([Column("fits", "fits", "text")] if self.found.on_cards else []),
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
                *self._fits(group[0]),
                _known(group[0].total_bytes) / most if most else 0.0,
                group[0].load_bytes,
            ]
            for group in groups
        ]
        return Table(columns, cells)

    def _fits(self, row: Row) -> list[Cell]:
        if not self.found.on_cards:
            return []
        fits = self.found.on_cards[self.found.rows.index(row)].fits
        return ["unknown" if fits is None else fits]

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
        card = card_bytes(top, self.found)
        if isinstance(card, int):
            each = size_text(self.found.runtime) + (" a card" if self.found.cards > 1 else "")
            what = "of a card" if self.found.cards == 1 else "of all cards"
            yield what, f"{_size(card)} (cache at its peak, {each} for CUDA: assumed)", "text"
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
        text = f"{self._price_of_a_token(cache)}: "
        text += f"{found.work.context:,} -> {size_text(cache.bytes)}"
        if isinstance(found.at_limit, KVCache):
            text += f", {found.limit:,} (limit) -> {size_text(found.at_limit.bytes)}"
        return text

    def _price_of_a_token(self, cache: KVCache) -> str:
        """`384 KiB a token`, `384 KiB a token up to 2,047, then 0 B`: windows fill up."""
        now = cache.bytes_per_token
        at = self._cache_at
        first = at(1) if self.found.model.config else now
        if first == now:
            return f"{size_text(now)} a token"
        more, last = 1, self.found.work.context  # the price is `first` at one, `now` at the other
        while last - more > 1:
            middle = (more + last) // 2
            more, last = (more, middle) if at(middle) == now else (middle, last)
        falling = "" if at(more) == first else "falling, "
        return f"{size_text(first)} a token up to {last:,}, {falling}then {size_text(now)}"

    def _cache_at(self, context: int) -> int:
        """What one token more adds after so many."""
        work = self.found.work._replace(context=context)
        cache = rows.cache_of(self.found.model, self.top.dtype, work)
        return 0 if isinstance(cache, Unknown) else cache.bytes_per_token

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
            if found.work.context == found.limit:
                limit = ", all that is possible"
            yield Note(f"context {found.work.context:,}{limit}; --context N asks for another")
        yield from reasons(self.top, found.notes)
        for part in self.top.parts:
            if part.note:
                yield Note(f"{_TITLES[part.part]}: {part.note}")


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


_DEVICES = (
    Column("device", "device", "word"),
    Column("bytes", "weights", "bytes", rank=2),
    Column("size", "", "size"),
    Column("run", "with cache and all", "size"),
    Column("capacity", "of", "size"),
    Column("share", "", "bar", rank=4),
    Column("modules", "modules", "text", rank=3),
)


def _on_cards(on_cards: OnCards) -> Iterator[Section]:
    """Each card, and whether it all fits."""
    devices = on_cards.devices
    if isinstance(devices, list):
        yield Table(_DEVICES, [_device(device) for device in devices], on_cards.cards.name)
    else:
        yield Lines([f"which card holds what is unknown: {devices.reason}"])
    verdict = {True: "fits", False: "does not fit", None: "may fit: a part is unknown"}
    lines = [f"{verdict[on_cards.fits]} on {on_cards.cards.name}"]
    if on_cards.request is not None:
        lines.append(f"the smallest request that fits: {on_cards.request}")
    yield Lines(lines)


def _device(device: Device) -> list[Cell]:
    run, capacity = device.run_bytes, device.capacity_bytes
    share = run / capacity if run is not None and capacity else 0.0
    return [
        device.device, device.bytes, device.bytes, run, capacity, share, _modules(device.modules)
    ]  # fmt: skip


def _modules(names: Sequence[str]) -> str:
    """`model.embed_tokens … model.layers.8 (9)`; the whole model is one, without a name."""
    if names == ("",):
        return "all"
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"


_FEW = 2


_COMPARED = (
    Column("part", "part", "word"),
    Column("predicted", "predicted", "bytes"),
    Column("found", "found", "bytes"),
    Column("difference", "difference", "bytes"),
)


def _compared(title: str, row: Row, compared: Compared) -> Table:
    """Ours beside the library's."""
    cells: list[list[Cell]] = []
    for part, found in compared.parts.items():
        predicted = row.bytes_of(part)
        both = isinstance(found, int) and isinstance(predicted, int)
        off: Cell = _known(found) - _known(predicted) if both else None
        cells.append([_TITLES[part], predicted, found, off])
    name = f", {compared.class_name}" if compared.class_name else ""
    return Table(_COMPARED, cells, f"{title}{name}")
