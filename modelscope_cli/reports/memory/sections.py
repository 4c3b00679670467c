"""The footprint for people: the rows, the parts of one, what stays, cards, comparisons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from modelscope_cli.analysis.memory import rows, weighing
from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.modes import STORED
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.row import LOADED, Row
from modelscope_cli.facts import Note, Unknown
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.report import AtLeast, Cell, Column, Fields, Lines, Section, Table
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
        if self.top.left:
            yield self._left()
        yield Fields(list(self._facts()))
        if self.found.on_cards:
            yield from _on_cards(self.found.on_cards[0], self.top)
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
        most = max((group[0].at_least_bytes for group in groups), default=0)
        cells: list[list[Cell]] = [
            [
                _label(group),
                load := _bound(group[0].load_bytes, group[0].load_at_least),
                group[0].bytes_of("kv_cache"),
                group[0].bytes_of("activations"),
                _bound(group[0].total_bytes, group[0].load_at_least and group[0].at_least_bytes),
                *self._fits(group[0]),
                group[0].at_least_bytes / most if most else 0.0,
                load,
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
                size := _bound(part.bytes, part.least),
                size,
                part.least / whole,
                "unknown" if isinstance(part.bytes, Unknown) else part.basis,
            ]
            for part in self.top.parts
            if part.bytes != 0 or part.part == "kv_cache"
        ]
        total = _bound(self.top.total_bytes, self.top.at_least_bytes)
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
        yield "load", _told(top.load_bytes, top.load_at_least, LOADED, top), "text"
        others = [part.part for part in top.parts if part.part not in LOADED]
        yield "run", _told(top.total_bytes, top.at_least_bytes, others, top), "text"
        card = card_bytes(top, self.found)
        if isinstance(card, int):
            each = size_text(self.found.runtime) + (" a card" if self.found.cards > 1 else "")
            what = "of a card" if self.found.cards == 1 else "of all cards"
            peak = "" if self.found.work.training else "cache at its peak, "
            yield what, f"{_size(card)} ({peak}{each} for CUDA: assumed)", "text"
        if isinstance(top.modules, int) and isinstance(top.parameters, int) and top.modules:
            packed = short_count(top.parameters)
            yield "quantized", f"{packed} parameters in {counted(top.modules, 'module')}", "text"
        yield "KV cache", self._price(), "text"

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
        stored = next((row for row in self.found.rows if row.mode.bits == STORED), None)
        if stored is not None and _is_of_weights(stored.parts[0], stored):
            yield f"as stored: {stored.parts[0].note}"
        yield from self._why_unknown()

    def _why_unknown(self) -> Iterator[str]:
        """Of the rows below the one on top, which is told part by part: one line a reason."""
        told = {part.reason for part in self.top.parts}
        labels: dict[str, list[str]] = {}
        for row in self.found.rows[1:]:
            for part in row.parts:
                if isinstance(part.bytes, Unknown) and part.reason not in told:
                    names = labels.setdefault(part.bytes.reason, [])
                    names += [] if _name(row) in names else [_name(row)]
        for reason, names in labels.items():
            yield f"{', '.join(names)}: unknown: {reason}"

    def _plain_bytes(self, row: Row) -> int | None:
        """What the same model holds unquantized."""
        mode = row.mode._replace(bits=STORED, scheme=None)
        found = weighing.weigh(self.found.model, mode)
        return None if isinstance(found, Unknown) else sum(found[:3])

    def notes(self) -> Iterator[Note]:
        """The assumptions, and why a figure is no certainty."""
        found = self.found
        if not found.context_said and not isinstance(self.top.cache, Unknown):
            limit = "" if found.limit is None else f" of {found.limit:,} possible"
            if found.work.context == found.limit:
                limit = ", all that is possible"
            yield Note(f"context {found.work.context:,}{limit}; --context N asks for another")
        if found.on_cards:
            yield from _of_cards(found.on_cards[0])
        yield from reasons(self.top, found.notes)
        for part in self.top.parts:
            if part.note and not _is_of_weights(part, self.top):
                yield Note(f"{_TITLES[part.part]}: {part.note}")


def _known(count: int | Unknown) -> int:
    return 0 if isinstance(count, Unknown) else count


def _bound(count: int | Unknown, least: int) -> Cell:
    """A size; of one that is not known as a whole, what is known of it."""
    return AtLeast(least) if isinstance(count, Unknown) and least else count


def _size(count: int) -> str:
    return f"{size_text(count)} ({count:,} bytes)"


def _told(count: int | Unknown, least: int, of: Collection[str], row: Row) -> str:
    """A sum; of one that is not known, what is, and why parts `of` the row are not."""
    if isinstance(count, int):
        return _size(count)
    why: dict[str, list[str]] = {}
    for part in row.parts:
        # The cache's reason stands in its own line.
        if part.part in of and part.part != "kv_cache" and isinstance(part.bytes, Unknown):
            why.setdefault(part.bytes.reason, []).append(_TITLES[part.part])
    text = f"at least {_size(least)}" if least else "unknown"
    reasons = (f"{', '.join(parts)}: {reason}" for reason, parts in why.items())
    return "; ".join([text, *reasons])


def _label(group: Sequence[Row]) -> str:
    """`16 bit = as stored, bf16`, of rows that are the same."""
    first = group[0]
    if len(group) == 1:
        return first.method
    stored = next((row for row in group if row.mode.bits == STORED), None)
    names = list(dict.fromkeys(_name(row) for row in group if row is not stored))
    if stored is None:
        return f"{' = '.join(names)}, {first.dtype.lower()}"
    is_as_stored = stored.method.startswith("as stored")
    return f"{' = '.join(names)} = {stored.method}" if is_as_stored else stored.method


def _is_of_weights(part: Part, row: Row) -> bool:
    """Whether a part's note is of packed weights of transformers': it stands below the table."""
    return part.part == "weights" and part.note is not None and row.file is None


def _name(row: Row) -> str:
    """`8 bit`, `nf4`: a row in a sentence."""
    if row.mode.bits == STORED:
        return "as stored"
    return f"{row.mode.bits} bit" if row.mode.bits.isdecimal() else row.mode.bits


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


def _of_cards(on_cards: OnCards) -> Iterator[Note]:
    """What stands in the way of a placement, and what it assumes."""
    if on_cards.refused is not None:
        yield Note(on_cards.refused, warning=True)
    devices = [] if isinstance(on_cards.devices, Unknown) else on_cards.devices
    if any(device.is_card and not device.bytes for device in devices):
        yield Note(
            "cards that hold nothing are charged CUDA's share too: accelerate opens every card "
            "that it sees to ask for its free memory"
        )


_DEVICES = (
    Column("device", "device", "word"),
    Column("bytes", "weights", "bytes", rank=2),
    Column("size", "", "size"),
    Column("run", "with cache and all", "size"),
    Column("capacity", "of", "size"),
    Column("share", "", "bar", rank=4),
    Column("modules", "modules", "text", rank=3),
)


def _but(on_cards: OnCards, row: Row) -> str:
    """What is known of it, where that is not all."""
    if on_cards.fits or not isinstance(row.total_bytes, Unknown):
        return ""
    return f": it takes at least {_size(row.peak_at_least)}"


def _on_cards(on_cards: OnCards, row: Row) -> Iterator[Section]:
    """Each card, and whether it all fits."""
    devices = on_cards.devices
    if isinstance(devices, list):
        yield Table(_DEVICES, [_device(device) for device in devices], on_cards.cards.name)
    else:
        yield Lines([f"which card holds what is unknown: {devices.reason}"])
    verdict = {True: "fits", False: "does not fit", None: "cannot be shown to fit"}
    lines = [f"{verdict[on_cards.fits]} on {on_cards.cards.name}{_but(on_cards, row)}"]
    if on_cards.refused is not None:
        lines[0] += f"; {on_cards.refused}"
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
