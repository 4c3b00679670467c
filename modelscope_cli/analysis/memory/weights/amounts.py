"""Bytes of parameters as they are held: at a dtype, quantized by bitsandbytes, or as stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from modelscope_cli.analysis.memory.weights.held import Held, Stored
from modelscope_cli.analysis.memory.weights.linear import Judged
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.schemes.base import Logical, Options, Part

_STATE_NOT_HELD = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4",
                   ".weight_format")  # fmt: skip
BITSANDBYTES = ("nf4", "fp4", "int8")


class DtypePlan(NamedTuple):
    """The dtype that floats are loaded as, and which names stay in float32.

    `keep` counts for F16 only, `keep_strict` for F16 and BF16, both searched for anywhere in a
    name: transformers' `_get_dtype_plan`.
    """

    dtype: str
    keep: tuple[str, ...] = ()
    keep_strict: tuple[str, ...] = ()

    def of(self, held: Held) -> str:
        """The dtype one parameter is loaded as."""
        if any(pattern.search(held.name) for pattern in self._patterns()):
            return "F32"
        return held.dtype or self.dtype

    def _patterns(self) -> Sequence[re.Pattern[str]]:
        kept = self.keep_strict if self.dtype in ("F16", "BF16") else ()
        if self.dtype == "F16":
            kept += self.keep
        return _patterns(kept)

    def keeps_anything(self) -> bool:
        """Whether any name is kept in float32 at this dtype."""
        return bool(self._patterns())


@lru_cache(maxsize=16)
def _patterns(keys: tuple[str, ...]) -> Sequence[re.Pattern[str]]:
    return [re.compile(key.replace("*", ".*")) for key in keys]


class Left(NamedTuple):
    """Parameters that stay unquantized, by pattern; `bytes` as they are held."""

    pattern: str
    times: int
    bytes: int
    reason: str


class Amounts(NamedTuple):
    """Bytes of weights, of quantization state, and of buffers; what was quantized, what not.

    `missing` are the parts of which these bytes are not all, and why.
    """

    weights: int = 0
    quantization: int = 0
    buffers: int = 0
    modules: int = 0
    parameters: int = 0
    left: tuple[Left, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    def plus(self, other: Amounts) -> Amounts:
        """Both together."""
        return Amounts(
            self.weights + other.weights,
            self.quantization + other.quantization,
            self.buffers + other.buffers,
            self.modules + other.modules,
            self.parameters + other.parameters,
            self.left + other.left,
            self.missing + other.missing,
        )


def plain(held: Iterable[Held], plan: DtypePlan) -> Amounts:
    """Everything at a dtype."""
    weights = buffers = 0
    for each in held:
        size = plain_bytes(each, each.elements, plan)
        if each.is_buffer:
            buffers += size
        else:
            weights += size
    return Amounts(weights, 0, buffers)


def plain_bytes(held: Held, elements: int, plan: DtypePlan) -> int:
    """Bytes of so many of its elements; a tensor of integers keeps its dtype."""
    own = held.stored[0].dtype
    if held.dtype is None and DTYPES[own].kind not in ("float", "packed") and _is_plain(held):
        return elements * DTYPES[own].block_bytes
    return elements * DTYPES[plan.of(held)].block_bytes


def _is_plain(held: Held) -> bool:
    return held.stored[0].fact.logical is None


def quantized(
    judged: Iterable[Judged], plan: DtypePlan, scheme: str, *, double_quant: bool = False
) -> Amounts:
    """Linear layers by bitsandbytes (nf4, fp4, int8), the rest at a dtype."""
    weights = state = buffers = modules = parameters = 0
    left = []
    for part in judged:
        if part.reason is None:
            packed = packed_bytes(part, scheme, double_quant=double_quant)
            weights += packed[0]
            state += packed[1]
            modules += part.times
            parameters += part.elements
            continue
        size = plain_bytes(part.held, part.elements, plan)
        if part.held.is_buffer:
            buffers += size
        else:
            weights += size
            left.append(Left(part.shown(), part.times, size, part.reason))
    return Amounts(weights, state, buffers, modules, parameters, tuple(left))


def packed_bytes(part: Judged, scheme: str, *, double_quant: bool) -> tuple[int, int]:
    """Bytes of the packed weights and of their state, of all of a row's modules."""
    if scheme == "int8":
        return part.elements, 4 * part.outputs
    each, rest = divmod(part.elements, part.times)
    sizes = [(each, part.times)] if not rest else [(each, part.times - 1), (each + rest, 1)]
    packed = state = 0
    for elements, count in sizes:
        weight, *others = _four_bit(elements, double_quant)
        packed += weight.bytes * count
        state += sum(other.bytes for other in others) * count
    return packed, state


@lru_cache(maxsize=512)
def _four_bit(elements: int, double_quant: bool) -> tuple[Part, ...]:
    from modelscope_cli.schemes import bnb

    return bnb.pack("nf4", (elements, 1), Options(double_quant=double_quant)).parts


def as_stored(
    held: Iterable[Held],
    plan: DtypePlan,
    *,
    keeps_weight_dtype: bool = False,
    why_left: Callable[[Held], str] = lambda held: "not packed in the checkpoint",
) -> Amounts:
    """A checkpoint whose packed weights stay packed, the rest at a dtype.

    `keeps_weight_dtype`: a parameter called `weight` keeps the file's dtype, as it does where
    bitsandbytes wrote the checkpoint. `why_left` says why a parameter is not packed.
    """
    weights = state = buffers = modules = parameters = 0
    left = []
    for each in held:
        if not _is_plain(each):
            for stored in each.stored:
                packed, others = _stored_bytes(stored)
                weights += packed
                state += others
                modules += stored.times
            parameters += each.elements
            continue
        size = plain_bytes(each, each.elements, plan)
        if keeps_weight_dtype and each.template.endswith("weight") and not each.is_buffer:
            size = each.elements * DTYPES[each.stored[0].dtype].block_bytes
        if each.is_buffer:
            buffers += size
        else:
            weights += size
            left.append(Left(each.shown(), each.times, size, why_left(each)))
    return Amounts(weights, state, buffers, modules, parameters, tuple(left))


def _stored_bytes(stored: Stored) -> tuple[int, int]:
    """Bytes of a packed row's weights and of what belongs to them, as loaded."""
    fact = stored.fact
    count = stored.times
    if isinstance(fact.logical, Logical) and fact.logical.scheme in ("nf4", "fp4"):
        nested = any(suffix == ".nested_absmax" for suffix, _ in fact.members)
        return _four_bit_stored(stored, fact.logical, nested)
    packed = state = 0
    for at, (suffix, member) in enumerate(fact.members):
        size = (DTYPES[member.dtype].size(member.elements) or 0) * count
        if at == 0:
            packed = size
        elif suffix not in _STATE_NOT_HELD:
            state += size
    return packed, state


def _four_bit_stored(stored: Stored, logical: Logical, nested: bool) -> tuple[int, int]:
    """As bitsandbytes holds it: the state that a saved quant_state keeps as numbers is a tensor."""
    from modelscope_cli.schemes import bnb

    options = Options(double_quant=nested, block=logical.group)
    weight, *others = bnb.pack(logical.scheme, (stored.elements, 1), options).parts
    packed = stored.fact.members[0][1]
    size = DTYPES[packed.dtype].size(packed.elements) or weight.bytes
    return size * stored.times, sum(other.bytes for other in others) * stored.times
