"""compressed-tensors (llm-compressor, vLLM): its formats by their own names.

pack-quantized: `weight_packed` I32 [out, in * bits / 32] rounded up, values running across word
boundaries; `weight_scale` [out, groups]; `weight_shape` I64 [2]; asymmetric weights have
`weight_zero_point` I32 [out * bits / 32, groups]. nvfp4-pack-quantized and mxfp4-pack-quantized:
two weights in a U8. int-quantized and float-quantized: a byte a weight in its own shape.
Formulas are those of compressed-tensors 0.20's compressors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import compressed_words, evidence, paper, scaled
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
from modelscope_cli.schemes.evidence import Contradiction

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "pack-quantized": ("bits", "group", "symmetric", "act_order", "dtype"),
    "nvfp4-pack-quantized": (),
    "mxfp4-pack-quantized": (),
    "int-quantized": ("group", "symmetric", "dtype"),
    "float-quantized": ("group", "block", "dtype"),
}
GROUP = 128  # of the presets W4A16 and others; -1: one scale a row (its "channel" strategy)
SCALES = ("BF16", "F16", "F32")  # the dtype that the weight had
_FP4_GROUPS = {"nvfp4-pack-quantized": 16, "mxfp4-pack-quantized": 32}


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[..., out, in] -> what the compressor of that format writes for the weight.

    Scales of activations are none of it. Raises UsageError where the compressor raises: rows
    that are no whole number of groups, FP4 of more than two dimensions.
    """
    if len(shape) < 2:
        raise UsageError(f"{scheme} packs matrices [out, in], not {list(shape)}")
    dtype = options.dtype or "BF16"
    if dtype not in SCALES:
        raise UsageError(f"{scheme} keeps scales as {', '.join(SCALES)}, not {dtype}")
    parts, steps = _PACKERS[scheme](scheme, shape, options._replace(dtype=dtype))
    first, last = paper.weights_step(shape), total_step(parts, prod(shape))
    return Packing(scheme, shape, parts, (first, *steps, last))


_Made = tuple[tuple[Part, ...], tuple[str, ...]]


class _Grouping(NamedTuple):
    scales: int  # a row
    step: str


def _grouping(scheme: str, row: int, group: int) -> _Grouping:
    if group == -1:
        return _Grouping(1, f"one scale for each row of {row:,}")
    if group < 1:
        raise UsageError(f"{scheme}: a group of {group:,} weights is none; -1 is a whole row")
    if row % group:
        raise UsageError(f"{scheme}: a row of {row:,} is no whole number of groups of {group:,}")
    step = f"one scale for {group:,} of a row: {paper.division(row, group)} groups a row"
    return _Grouping(row // group, step)


def _pack_words(scheme: str, shape: Shape, options: Options) -> _Made:
    bits = 4 if options.bits is None else options.bits
    if not 1 <= bits <= 8:
        raise UsageError(f"{scheme} has 1 to 8 bits a weight, not {bits}")
    *lead, rows, row = shape
    group = _grouping(scheme, row, GROUP if options.group is None else options.group)
    packed = part("weight_packed", "I32", *lead, rows, ceil_div(row * bits, 32))
    scale = part("weight_scale", str(options.dtype), *lead, rows, group.scales)
    logical = part("weight_shape", "I64", len(shape))
    parts = [packed, scale, logical]
    steps = [
        f"{bits} bits each, {paper.fill(bits, 32)}, along a row: {paper.words(row, bits, 32)}",
        paper.saved(packed),
        group.step,
        paper.saved(scale),
        f"the shape itself: {paper.saved(logical)}",
    ]
    if options.symmetric is False:
        zeros = part("weight_zero_point", "I32", *lead, ceil_div(rows * bits, 32), group.scales)
        parts.append(zeros)
        steps.append(f"zero points, packed down the rows: {paper.words(rows, bits, 32)} words")
        steps.append(paper.saved(zeros))
    if options.act_order:
        parts.append(part("weight_g_idx", "I32", row))
        steps.append(f"the group of each column, kept by older releases: {paper.saved(parts[-1])}")
    return tuple(parts), tuple(steps)


def _pack_fp4(scheme: str, shape: Shape, options: Options) -> _Made:
    group = _FP4_GROUPS[scheme]
    if len(shape) != 2:
        raise UsageError(f"{scheme} packs matrices [out, in], not {list(shape)}")
    rows, row = shape
    groups = _grouping(scheme, row, group)
    nvfp4 = group == 16
    packed = part("weight_packed", "U8", rows, row // 2)
    scale = part("weight_scale", "F8_E4M3" if nvfp4 else "U8", rows, groups.scales)
    parts = [packed, scale]
    steps = [
        f"4 bits each, two in a byte along a row: {row:,} / 2 = {row // 2:,} bytes",
        paper.saved(packed),
        groups.step,
        paper.saved(scale),
    ]
    if nvfp4:
        parts.append(part("weight_global_scale", "F32", 1))
        steps.append(f"and one for the whole weight: {paper.saved(parts[-1])}")
    return tuple(parts), tuple(steps)


def _pack_bytes(scheme: str, shape: Shape, options: Options) -> _Made:
    *lead, rows, row = shape
    group = -1 if options.group is None else options.group
    if options.block is not None:
        scales, step = _blocks(scheme, shape, options)
    else:
        count, step = _grouping(scheme, row, group)
        scales = (*lead, rows, count)
    packed = part("weight", "I8" if scheme == "int-quantized" else "F8_E4M3", *shape)
    scale = part("weight_scale", str(options.dtype), *scales)
    parts = [packed, scale]
    steps = [
        f"a byte each, in the weight's own shape: {paper.saved(packed)}",
        step,
        paper.saved(scale),
    ]
    if options.symmetric is False:
        parts.append(part("weight_zero_point", "I8", *scales))
        steps.append(f"as many zero points: {paper.saved(parts[-1])}")
    return tuple(parts), tuple(steps)


def _blocks(scheme: str, shape: Shape, options: Options) -> tuple[Shape, str]:
    block = options.block or 0
    if block < 1:
        raise UsageError(f"{scheme}: a block of {block:,} weights is none")
    if options.group is not None:
        raise UsageError(f"{scheme} has scales for groups or for blocks: give one of them")
    if len(shape) != 2:
        raise UsageError(f"{scheme} has blocks of matrices [out, in], not of {list(shape)}")
    rows, row = shape
    sizes = f"{paper.division(rows, block)} down, {paper.division(row, block)} across"
    step = f"one scale for each block of {block} x {block}: {sizes}"
    return (ceil_div(rows, block), ceil_div(row, block)), step


_PACKERS: Mapping[str, Callable[[str, Shape, Options], _Made]] = {
    "pack-quantized": _pack_words,
    "nvfp4-pack-quantized": _pack_fp4,
    "mxfp4-pack-quantized": _pack_fp4,
    "int-quantized": _pack_bytes,
    "float-quantized": _pack_bytes,
}


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """The logical shape of whichever format the tensors are."""
    try:
        return _read(members, declared)
    except Contradiction as found:
        return Unknown(f"compressed-tensors: {found}")


def _read(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical:
    packed, weight = members.get(".weight_packed"), members.get(".weight")
    if packed is not None and packed.dtype == "I32":
        return compressed_words.read(members, packed, declared)
    names = (".weight_scale", ".weight_scale_inv", ".scale")
    scale = next((members[name] for name in names if name in members), None)
    if scale is None:
        raise Contradiction("no .weight_scale is there")
    if packed is not None:
        return _fp(packed, scale)
    if weight is None:
        raise Contradiction("neither .weight_packed nor .weight is there")
    if weight.dtype == "I8":
        return scaled.read(weight, scale, declared, ("int-quantized",) * 3)
    if weight.dtype != "F8_E4M3":
        raise Contradiction(f"{evidence.text('.weight', weight)} is no quantized weight")
    scheme = "mxfp8-quantized" if scale.dtype == "U8" else "float-quantized"
    return scaled.read(weight, scale, declared, (scheme,) * 3)


class _Fp(NamedTuple):
    scheme: str
    scales: tuple[str, ...]
    bits: int
    group: int


# mxfp6: four weights in three bytes.
_FPS = (
    _Fp("nvfp4-pack-quantized", ("F8_E4M3",), 4, 16),
    _Fp("mxfp4-pack-quantized", ("U8", "F8_E8M0"), 4, 32),
    _Fp("mxfp6-pack-quantized", ("U8", "F8_E8M0"), 6, 32),
)


def _fp(packed: Member, scale: Member) -> Logical:
    """FP4 or FP6 out of its bytes and scales, which tell them apart."""
    if packed.dtype == "U8" and packed.shape and packed.shape[:-1] == scale.shape[:-1]:
        size, groups = packed.shape[-1], scale.shape[-1]
        for fp in _FPS:
            if scale.dtype in fp.scales and size * 8 == groups * fp.group * fp.bits:
                return Logical(
                    fp.scheme, (*packed.shape[:-1], groups * fp.group), fp.bits, fp.group
                )
    raise Contradiction(
        f"{evidence.text('.weight_packed', packed)} and {evidence.text('.weight_scale', scale)} "
        "fit no format"
    )


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """Rows of words at each number of bits, rows of bytes as FP4, bytes as themselves."""
    if len(stored) < 2:
        return
    *lead, columns = stored
    for bits in (2, 3, 4, 5, 6, 7, 8) if dtype == "I32" else (4, 8) if dtype is None else ():
        row = columns * 32 // bits
        note = f"I32, at {bits} bits: rows of words, the last perhaps not full, see weight_shape"
        yield Held("pack-quantized", prod(lead) * row, (*lead, row), note)
    for scheme, group in _FP4_GROUPS.items():
        if dtype in (None, "U8") and len(stored) == 2 and columns * 2 % group == 0:
            note = f"U8, rows of bytes, with a weight_scale for {group} weights each"
            yield Held(scheme, prod(stored) * 2, (*lead, columns * 2), note)
    names = {"I8": "int-quantized", "F8_E4M3": "float-quantized"}
    if dtype in names:
        yield Held(names[dtype], prod(stored), stored, f"{dtype}, weight_scale beside it")
