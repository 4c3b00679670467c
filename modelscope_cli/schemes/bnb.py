"""bitsandbytes: nf4 and fp4 (two weights in a byte, an absmax per block) and int8 (one per row).

A module's `weight` becomes U8 [(n + 1) // 2, 1] beside `weight.absmax` and `weight.quant_map`;
its logical shape stands in a quant_state alone. int8 keeps the shape, I8 [out, in], with `SCB`.
Formulas: `quantize_4bit`, `quantize_blockwise` and `int8_vectorwise_quant` of 0.50.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from modelscope_cli.dtypes import DTYPES, SAFETENSORS
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import bnb_state
from modelscope_cli.schemes.base import (
    Held,
    Logical,
    Member,
    Options,
    Packing,
    Part,
    ceil_div,
    part,
    total_step,
)
from modelscope_cli.schemes.bnb_state import NESTED_BLOCK, QuantState
from modelscope_cli.schemes.paper import division, weights_step

FOUR_BITS = ("nf4", "fp4")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "nf4": ("block", "double_quant", "storage", "dtype"),
    "fp4": ("block", "double_quant", "storage", "dtype"),
    "int8": (),
}
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
BLOCK = 64
STORAGE = "U8"
DTYPE = "BF16"  # of the weight before packing, where nobody says
DTYPES_BEFORE = ("BF16", "F16", "F32")
_CODES = 16  # values of a 4-bit code
_NESTED_CODES = 256


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """nf4, fp4: a flat [bytes, 1]; int8: [out, in] and a scale a row.

    Parts are what a loaded model holds: `nested_offset`, a tensor there, is a number in the
    saved quant_state, and that JSON, no part itself, is told of in the steps.
    Raises UsageError for options that bitsandbytes refuses, and for int8 without rows.
    """
    if scheme == "int8":
        return _pack_int8(shape)
    block, storage = _block(options), _storage(options)
    dtype = options.dtype or DTYPE
    if dtype not in DTYPES_BEFORE:
        raise UsageError(f"{scheme}: bitsandbytes quantizes BF16, F16 and F32, not {dtype}")
    weights = prod(shape)
    absmax = _absmax_parts(ceil_div(weights, block), bool(options.double_quant))
    packed = part("weight", storage, _stored_elements(weights, storage), 1)
    parts = (packed, absmax[0], part("weight.quant_map", "F32", _CODES), *absmax[1:])
    steps = (
        *_weight_steps(shape, packed),
        *_absmax_steps(weights, block, scheme, parts),
        _quant_state_step(scheme, shape, block, dtype, bool(options.double_quant)),
        total_step(parts, weights),
    )
    return Packing(scheme, shape, parts, steps)


def _block(options: Options) -> int:
    block = BLOCK if options.block is None else options.block
    if block not in BLOCKS:
        sizes = ", ".join(map(str, BLOCKS))
        raise UsageError(f"--block: bitsandbytes has blocks of {sizes}, not {block}")
    return block


def _storage(options: Options) -> str:
    storage = STORAGE if options.storage is None else options.storage
    if not _keeps_bytes(storage):
        raise UsageError(f"--storage: {storage} is no dtype of whole bytes that torch has")
    return storage


def _keeps_bytes(dtype: str) -> bool:
    """Whether quantized bytes can be kept as elements of that dtype (any `quant_storage`)."""
    known = SAFETENSORS.get(dtype)
    return known is not None and known.torch is not None and known.block_elements == 1


def _stored_elements(weights: int, storage: str) -> int:
    """Elements of the packed tensor: `(n + 1) // (quant_storage.itemsize * 2)`."""
    return (weights + 1) // (2 * DTYPES[storage].block_bytes)


def _absmax_parts(blocks: int, double_quant: bool) -> tuple[Part, ...]:
    if not double_quant:
        return (part("weight.absmax", "F32", blocks),)
    return (
        part("weight.absmax", "U8", blocks),
        part("weight.nested_absmax", "F32", ceil_div(blocks, NESTED_BLOCK)),
        part("weight.nested_quant_map", "F32", _NESTED_CODES),
        part("weight.nested_offset", "F32"),
    )


def _weight_steps(shape: Shape, packed: Part) -> Iterator[str]:
    weights = prod(shape)
    size = ceil_div(weights, 2)
    yield weights_step(shape)
    half = ", half of the last one empty" if weights % 2 else ""
    yield f"4 bits each, two in a byte: {division(weights, 2)} bytes{half}"
    yield from _storage_steps(size, packed)


def _storage_steps(size: int, packed: Part) -> Iterator[str]:
    """A dtype of several bytes is filled up, or cut short: CUDA sizes the tensor rounding down."""
    row = DTYPES[packed.dtype].block_bytes
    flat = f"{DTYPES[packed.dtype].torch} {list(packed.shape)}"
    if row == 1:
        yield f"kept flat, one byte a row: {flat}"
    elif packed.bytes == size:
        yield f"kept flat, {row} bytes a row: {size:,} / {row} = {packed.shape[0]:,}: {flat}"
    else:
        yield f"kept flat, {row} bytes a row: {flat} has room for {packed.bytes:,} of {size:,}"
        yield "bitsandbytes makes it so on CUDA all the same, and refuses on a CPU"


def _absmax_steps(weights: int, block: int, scheme: str, parts: tuple[Part, ...]) -> Iterator[str]:
    _, absmax, quant_map, *nested = parts
    count = division(weights, block)
    if nested:
        yield f"one absmax per {block} weights, quantized to a byte: {count} bytes"
    else:
        yield f"one float32 absmax per {block} weights: {count} -> {absmax.bytes:,} bytes"
    yield _map_step(f"quant_map, the {_CODES} values of {scheme}", quant_map)
    if nested:
        above, codes, offset = nested
        count = division(absmax.shape[0], NESTED_BLOCK)
        each = f"one float32 nested_absmax per {NESTED_BLOCK} of those"
        yield f"{each}: {count} -> {above.bytes:,} bytes"
        yield _map_step("nested_quant_map, the values of a byte", codes)
        yield f"nested_offset, the mean of all absmax: float32 -> {offset.bytes} bytes"


def _map_step(what: str, part: Part) -> str:
    return f"{what}: float32 {list(part.shape)} -> {part.bytes:,} bytes"


def _quant_state_step(scheme: str, shape: Shape, block: int, dtype: str, double_quant: bool) -> str:
    name = DTYPES[dtype].torch or ""
    if not double_quant:
        size = len(bnb_state.written(scheme, shape, block, name))
        return f"a saved file adds its quant_state, {size:,} bytes of JSON"
    size = len(bnb_state.written(scheme, shape, block, name, 0.0)) - len("0.0")
    return (
        f"a saved file adds its quant_state, {size:,} bytes of JSON + the digits of nested_offset"
    )


def _pack_int8(shape: Shape) -> Packing:
    """`int8_vectorwise_quant`: each row over its largest weight, which `SCB` keeps."""
    if len(shape) != 2:
        raise UsageError(f"int8: bitsandbytes quantizes the rows of [out, in], not {list(shape)}")
    if not shape[1]:
        raise UsageError(f"int8: rows of no weights have no largest one: {list(shape)}")
    parts = (part("weight", "I8", *shape), part("SCB", "F32", shape[0]))
    weight, scb = parts
    steps = (
        weights_step(shape),
        f"8 bits each, a byte a weight: int8 {list(shape)} -> {weight.bytes:,} bytes",
        f"SCB, the largest of each row: float32 [{shape[0]}] -> {scb.bytes:,} bytes",
        "a saved file adds weight_format, uint8 [] -> 1 byte",
        total_step(parts, prod(shape)),
    )
    return Packing("int8", shape, parts, steps)


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """The shape that quant_state tells, if all tensors agree with it; int8's own shape.

    `declared` is not asked: the tensors say all of it.
    """
    if "" not in members:
        return _see_int8(members)
    state = _quant_state(members)
    if isinstance(state, Unknown):
        return state
    contradiction = next(_contradictions(members, state), None)
    if contradiction is not None:
        return Unknown(contradiction)
    return Logical(state.quant_type, state.shape, 4, state.block)


def _quant_state(members: Mapping[str, Member]) -> QuantState | Unknown:
    there = [name for name in FOUR_BITS if bnb_state.SUFFIX + name in members]
    if not there:
        return Unknown("no quant_state tensor is beside it, which alone tells the shape")
    if len(there) > 1:
        return Unknown(f"two quant_state tensors are beside it, {' and '.join(there)}")
    member = members[bnb_state.SUFFIX + there[0]]
    if member.value is None:
        return Unknown(f"quant_state, {member.elements:,} bytes, was not read: it tells the shape")
    return bnb_state.read(member.value, there[0])


def _contradictions(members: Mapping[str, Member], state: QuantState) -> Iterator[str]:
    """Where tensors are not as large as quant_state makes them, or not of a fitting dtype."""
    weights, packed = prod(state.shape), members[""]
    if not _keeps_bytes(packed.dtype):
        yield f"the packed tensor is {packed.dtype}: no dtype that bitsandbytes keeps bytes as"
        return
    room = _stored_elements(weights, packed.dtype)
    if packed.elements != room:
        yield (
            f"quant_state says {list(state.shape)}: its {weights:,} weights take {room:,} elements "
            f"of {packed.dtype}, but the packed tensor has {packed.elements:,}"
        )
    yield from _absmax_contradictions(members, state, ceil_div(weights, state.block))
    for suffix, codes in ((".quant_map", _CODES), (".nested_quant_map", _NESTED_CODES)):
        if suffix in members and members[suffix].elements != codes:
            yield f"{suffix[1:]} has {members[suffix].elements:,} values, not {codes}"


def _absmax_contradictions(
    members: Mapping[str, Member], state: QuantState, blocks: int
) -> Iterator[str]:
    absmax, nested = members.get(".absmax"), members.get(".nested_absmax")
    if absmax is None:
        yield "absmax is not there"
        return
    if absmax.elements != blocks:
        yield (
            f"quant_state says {list(state.shape)} in blocks of {state.block:,}, which is "
            f"{blocks:,} absmax, but absmax has {absmax.elements:,}"
        )
    if nested is not None and state.nested_block is not None:
        above = ceil_div(blocks, state.nested_block)
        if absmax.dtype != "U8" or nested.elements != above:
            yield (
                f"absmax {absmax.dtype} {list(absmax.shape)} and nested_absmax "
                f"{list(nested.shape)} do not fit: U8 [{blocks}] has [{above}]"
            )
    elif nested is not None:
        yield "nested_absmax is there, but quant_state has no nested_blocksize"
    elif state.nested_block is not None:
        yield f"quant_state says nested_blocksize {state.nested_block:,}, but has no nested_absmax"
    elif not _is_float(absmax):
        yield f"absmax is {absmax.dtype}, and nothing is there to scale it"


def _is_float(member: Member) -> bool:
    dtype = DTYPES.get(member.dtype)
    return dtype is not None and dtype.kind == "float"


def _see_int8(members: Mapping[str, Member]) -> Logical | Unknown:
    weight, scb = members.get(".weight"), members.get(".SCB")
    if weight is None or scb is None:
        return Unknown("an int8 weight and its SCB belong together: one of them is not there")
    if weight.dtype != "I8" or len(weight.shape) != 2:
        return Unknown(
            f"weight is {weight.dtype} {list(weight.shape)} beside SCB, not I8 [out, in]"
        )
    if not _is_float(scb) or scb.elements != weight.shape[0]:
        shapes = f"{list(scb.shape)} beside weight {list(weight.shape)}"
        return Unknown(f"SCB is {scb.dtype} {shapes}, not one F32 a row")
    layout = members.get(".weight_format")
    if layout is not None and layout.value not in (None, b"\0"):
        return Unknown("weight_format says that weight is tiled, not kept by rows")
    return Logical("int8", weight.shape, 8)


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """[N, 1] as nf4 and fp4, two weights a byte or one fewer; [out, in] of I8 as int8."""
    if len(stored) != 2:
        return
    if 1 in stored:
        yield from _holds_four_bits(prod(stored), dtype)
    if dtype in (None, "I8"):
        yield Held("int8", prod(stored), stored, f"I8, with SCB F32 [{stored[0]}] beside it")


def _holds_four_bits(count: int, dtype: str | None) -> Iterator[Held]:
    """Even numbers of weights first: hardly any weight has an odd one."""
    kept = {"U8": 1, "BF16 or F16": 2, "F32": 4}  # what a shape alone may be made of
    if dtype is not None:
        kept = {dtype: DTYPES[dtype].block_bytes} if _keeps_bytes(dtype) else {}
    for name, size in kept.items():
        yield from _held(2 * count * size, f"{name}, two in a byte")
    for name, size in list(kept.items())[:1]:
        yield from _held(2 * count * size - 1, f"{name}, two in a byte, one in the last")


def _held(weights: int, how: str) -> Iterator[Held]:
    absmax = ceil_div(weights, BLOCK)
    for scheme in FOUR_BITS if weights >= 0 else ():
        yield Held(
            scheme, weights, None, f"{how}, absmax [{absmax}] beside it at blocks of {BLOCK}"
        )
