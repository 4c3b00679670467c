"""FP8: a byte a weight in the weight's own shape, scales beside it.

One scale for the tensor (`weight_scale` F32, a scalar), for each row ([out, 1], as FBGEMM), or
for each block (`weight_scale_inv` F32 [out/128, in/128], rounded up, as DeepSeek-V3). Shapes are
those of transformers 5.23's FP8Linear, FbgemmFp8Linear and FP8Experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import evidence, paper, scaled
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
    "fp8": ("storage", "dtype"),
    "fp8-channel": ("storage", "dtype"),
    "fp8-block": ("block", "storage", "dtype"),
}
BLOCK = 128
SCALES = ("F32", "BF16", "F16", "F8_E8M0")

_WEIGHTS = (".weight", "")
# Fused experts put their scales' names behind their own; `.scale` and `.qscale_weight` are what
# DeepSeek-V4 and Mistral Large 4 call weight_scale_inv (transformers renames them).
_SCALE_NAMES = (
    ".weight_scale_inv",
    ".weight_scale",
    "_scale_inv",
    "_scale",
    ".scale",
    ".qscale_weight",
)
_SCHEMES = ("fp8", "fp8-channel", "fp8-block")


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[..., out, in] -> the weight as FP8, and its scales.

    Raises UsageError for less than two dimensions, and for dtypes that are no FP8 or no scale.
    """
    storage, dtype = options.storage or "F8_E4M3", options.dtype or "F32"
    block = BLOCK if options.block is None else options.block
    if len(shape) < 2:
        raise UsageError(f"{scheme} packs matrices [out, in], not {list(shape)}")
    if storage not in scaled.FP8:
        raise UsageError(f"{scheme} keeps weights as {', '.join(scaled.FP8)}, not {storage}")
    if dtype not in SCALES:
        raise UsageError(f"{scheme} keeps scales as {', '.join(SCALES)}, not {dtype}")
    if block < 1:
        raise UsageError(f"{scheme}: a block of {block:,} weights is none")
    scale, step = _scale(scheme, shape, dtype, block)
    parts = (part("weight", storage, *shape), scale)
    return Packing(scheme, shape, parts, _steps(shape, parts, step))


def _scale(scheme: str, shape: Shape, dtype: str, block: int) -> tuple[Part, str]:
    *lead, rows, columns = shape
    if scheme == "fp8":
        return part("weight_scale", dtype), "one scale for the whole tensor"
    if scheme == "fp8-channel":
        return part("weight_scale", dtype, *lead, rows, 1), "one scale for each row"
    down, across = ceil_div(rows, block), ceil_div(columns, block)
    sizes = f"{paper.division(rows, block)} down, {paper.division(columns, block)} across"
    step = f"one scale for each block of {block} x {block}: {sizes}"
    return part("weight_scale_inv", dtype, *lead, down, across), step


def _steps(shape: Shape, parts: tuple[Part, ...], step: str) -> tuple[str, ...]:
    weight, scale = parts
    return (
        paper.weights_step(shape),
        f"a byte each, in the weight's own shape: {paper.saved(weight)}",
        step,
        paper.saved(scale),
        total_step(parts, prod(shape)),
    )


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """The stored shape, where the scales fit it: per tensor, row, block or expert."""
    weight = next((members[name] for name in _WEIGHTS if name in members), None)
    scale = next((members[name] for name in _SCALE_NAMES if name in members), None)
    if weight is None or scale is None:
        there = ", ".join(sorted(filter(None, members))[:8]) or "nothing"
        return Unknown(f"not FP8: a weight and its scales belong together; here are {there}")
    if weight.dtype not in (*scaled.FP8, "I8"):
        return Unknown(f"not FP8: {evidence.text('weight', weight)}")
    names = ("int-quantized",) * 3 if weight.dtype == "I8" else _SCHEMES
    try:
        return scaled.read(weight, scale, declared, names)
    except Contradiction as found:
        return Unknown(f"not FP8: {found}")


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """As many weights as bytes."""
    if len(stored) > 1 and dtype in (None, *scaled.FP8):
        note = f"{dtype or 'F8_E4M3'}, weight_scale or weight_scale_inv beside it"
        yield Held("fp8", prod(stored), stored, note)
