"""One row of a footprint: a way to hold the weights, part by part, and what is run with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.weights.amounts import Left
from modelscope_cli.facts import Unknown

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.training.step import Training

DEFAULT_RUNTIME = 512 * 1024**2  # bytes; an assumption, see `runtime_bytes`


class Workload(NamedTuple):
    """What is run: sequences, tokens in the cache of each, its dtype; or what is trained."""

    batch: int
    context: int
    encoder_context: int | None = None
    kv_dtype: str | None = None
    training: Training | None = None


class Row(NamedTuple):
    """One way to hold the model, and what running it then takes."""

    mode: Mode
    dtype: str
    method: str
    parts: tuple[Part, ...]
    modules: int | Unknown
    parameters: int | Unknown
    left: tuple[Left, ...]
    cache: KVCache | Unknown
    alternatives: tuple[tuple[str, int], ...] = ()
    doubts: tuple[str, ...] = ()  # why what is loaded is no certainty, one by one
    kv_dtype: str | None = None  # of the cache, where it is not what the request says
    file: str | None = None  # of a GGUF

    def bytes_of(self, part: str) -> int | Unknown:
        """Bytes of a part; 0 where there is none of it."""
        return next((each.bytes for each in self.parts if each.part == part), 0)

    @property
    def load_bytes(self) -> int | Unknown:
        """Weights, quantization state and buffers."""
        return _sum(part for part in self.parts if part.part in LOADED)

    @property
    def load_at_least(self) -> int:
        """What is known of these."""
        return sum(part.least for part in self.parts if part.part in LOADED)

    @property
    def total_bytes(self) -> int | Unknown:
        """All parts."""
        return _sum(self.parts)

    @property
    def at_least_bytes(self) -> int:
        """What is known of all parts."""
        return sum(part.least for part in self.parts)

    def peak_bytes(self) -> int | Unknown:
        """All parts with the cache at its peak."""
        total = self.total_bytes
        return total if isinstance(total, Unknown) else self.peak_at_least

    @property
    def peak_at_least(self) -> int:
        """What is known of that."""
        if isinstance(self.cache, Unknown):
            return self.at_least_bytes
        return self.at_least_bytes + self.cache.peak_bytes - self.cache.bytes

    def bounds(self) -> dict[str, int]:
        """What is known of `load_bytes` and `total_bytes`, where that is not all."""
        sums = {
            "load_at_least_bytes": (self.load_bytes, self.load_at_least),
            "at_least_bytes": (self.total_bytes, self.at_least_bytes),
        }
        return {key: least for key, (whole, least) in sums.items() if isinstance(whole, Unknown)}

    @property
    def load_basis(self) -> str:
        """Of `load_bytes`: exact where every loaded part is."""
        return weakest(part.basis for part in self.parts if part.part in LOADED)

    @property
    def total_basis(self) -> str:
        """Of `total_bytes`: that of its weakest part."""
        return weakest(part.basis for part in self.parts)


NO_CACHE = KVCache((), 0, 0, 0, 0, "exact", "training keeps no cache")
LOADED = ("weights", "quantization", "buffers")
BASES = ("exact", "estimate", "assumption")


def weakest(bases: Iterable[str]) -> str:
    """What a sum rests on whose parts rest on `bases`."""
    return max(bases, key=BASES.index, default=BASES[0])


def _sum(parts: Any) -> int | Unknown:
    total = 0
    for part in parts:
        if isinstance(part.bytes, Unknown):
            return Unknown(f"{part.part}: {part.bytes.reason}")
        total += part.bytes
    return total
