"""What each card has to hold of a row: its modules, its share of the cache, the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.analysis.memory.cards.fit import shared_out
from modelscope_cli.analysis.memory.cards.placement import Placed
from modelscope_cli.analysis.memory.cards.spread import over_cards, whole_modules
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.row import Row
from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.facts import Unknown

GPU = "cuda:"


class Device(NamedTuple):
    """One card, the CPU or the disk. `bytes` are of the modules placed there.

    `run_bytes` adds the cache at its peak, activations and the runtime; None where no card is.
    """

    device: str
    bytes: int
    modules: tuple[str, ...]
    run_bytes: int | None = None
    capacity_bytes: int | None = None

    @property
    def is_card(self) -> bool:
        """Whether it is a GPU."""
        return self.device.startswith(GPU)


def placed_on(model: Model, row: Row, each: Sequence[int], runtime: int) -> list[Placed] | Unknown:
    """Where the loaded model goes on cards of `each` bytes, of which CUDA itself takes `runtime`.

    Unknown where the row is nothing that transformers places.
    """
    if row.file is not None:
        return _of_gguf(row, len(each))
    if len(model.components) != 1:
        return Unknown("a pipeline's components are placed one by one")
    if model.packed_by is not None:
        return Unknown(f"how transformers places weights packed by {model.packed_by} is not known")
    return over_cards(model.components[0], row.mode, [max(0, size - runtime) for size in each])


def _of_gguf(row: Row, cards: int) -> list[Placed] | Unknown:
    loaded = row.load_bytes
    if isinstance(loaded, Unknown):
        return loaded
    if cards > 1:
        return Unknown("llama.cpp splits a GGUF's layers by the memory that is free on each card")
    return [Placed(f"{GPU}0", loaded, ("",))]


def devices(
    model: Model, row: Row, placed: Sequence[Placed], each: Sequence[int], runtime: int
) -> list[Device] | Unknown:
    """The cards in order, then CPU and disk where they hold anything.

    Unknown where a part of the row is.
    """
    peak = row.peak_bytes()
    if isinstance(peak, Unknown):
        return peak
    cache = 0 if isinstance(row.cache, Unknown) else row.cache.peak_bytes
    working = peak - _int(row.load_bytes) - cache
    shares = shared_out(cache, placed, whole_modules(model.components[0]))
    return [
        _device(one, shares[one.device], working, runtime, each[at] if at < len(each) else None)
        for at, one in enumerate(placed)
    ]


def _device(placed: Placed, cache: int, working: int, runtime: int, capacity: int | None) -> Device:
    if capacity is None:
        return Device(placed.device, placed.bytes, placed.modules)
    used = placed.bytes + cache + working if placed.bytes else 0
    return Device(placed.device, placed.bytes, placed.modules, used + runtime, capacity)


def refused(row: Row, found: Sequence[Device]) -> str | None:
    """Why transformers would not load it so; None where it would.

    bitsandbytes' quantizers take a map of cards, or of the CPU alone, and nothing between.
    """
    used = [device for device in found if device.modules]
    if row.mode.scheme not in amounts.BITSANDBYTES or all(device.is_card for device in used):
        return None
    if [device.device for device in used] == ["cpu"]:
        return None
    return (
        "transformers refuses bitsandbytes weights on CPU or disk, unless "
        "llm_int8_enable_fp32_cpu_offload=True and a device_map of your own keep them there in "
        "32 bit"
    )


def _int(count: int | Unknown) -> int:
    return 0 if isinstance(count, Unknown) else count


def short_by(found: Sequence[Device]) -> int:
    """Bytes that the shortest card lacks, at most 0 where all have room; what spills is lacking."""
    lacks = (
        (device.run_bytes or 0) - (device.capacity_bytes or 0) for device in found if device.is_card
    )
    spilled = sum(device.bytes for device in found if not device.is_card)
    return max([*lacks, *([spilled] if spilled else [])], default=0)


def fit(found: Sequence[Device]) -> bool:
    """Whether all of it is on cards, and every card is large enough."""
    return short_by(found) <= 0
