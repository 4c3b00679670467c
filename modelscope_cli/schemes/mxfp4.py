"""MXFP4 (OCP Microscaling): 4-bit floats, a power of two as scale for each 32 of a row.

gpt-oss keeps `X_blocks` U8 [experts, out, in/32, 16] and `X_scales` U8 [experts, out, in/32], so
the logical order is the checkpoint's own [experts, out, in]. transformers dequantizes to the
transpose of the last two: its parameter is [experts, in, out], of as many weights. Quark and
ModelOpt keep the same bytes as rows: `weight` U8 [out, in/2], `weight_scale` U8 [out, in/32].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes.base import Held, Logical, Member, Options, Packing, part, total_step
from modelscope_cli.schemes.paper import saved, weights_step

GROUP = 32  # weights that share a scale, fixed by the OCP specification
BLOCK_BYTES = 16  # of those 32 weights
BITS = 4
OPTIONS: Mapping[str, tuple[str, ...]] = {"mxfp4": ()}

_PACKED = ("_blocks", ".blocks", ".weight")
_SCALES = ("_scales", ".scales", ".weight_scale")
_SCALE_DTYPES = ("U8", "F8_E8M0")


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[..., in] -> blocks U8 [..., in/32, 16] and scales U8 [..., in/32]: 4.25 bits a weight.

    Raises UsageError for a row that is no whole number of groups: the blocks have no room for
    a part of one (transformers sizes them by `hidden_size // 32`).
    """
    if not shape or shape[-1] % GROUP:
        row = f"a row of {shape[-1]:,}" if shape else "a single number"
        raise UsageError(f"mxfp4: {row} is no whole number of {GROUP}-weight groups")
    groups = (*shape[:-1], shape[-1] // GROUP)
    parts = (
        part("weight_blocks", "U8", *groups, BLOCK_BYTES),
        part("weight_scales", "U8", *groups),
    )
    blocks, scales = parts
    steps = (
        weights_step(shape),
        f"{GROUP} of a row share a scale: {shape[-1]:,} / {GROUP} = {groups[-1]:,} groups a row",
        f"4 bits each, two in a byte: {GROUP} weights are {BLOCK_BYTES} bytes",
        saved(blocks),
        "scales are exponents of 2, a byte for each group",
        saved(scales),
        total_step(parts, prod(shape)),
    )
    return Packing(scheme, shape, parts, steps)


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """[..., out, in] out of blocks and scales, or out of rows of bytes and their scales."""
    packed, scales = _first(members, _PACKED), _first(members, _SCALES)
    if packed is None or scales is None:
        return Unknown("MXFP4 blocks and their scales belong together: one of them is not there")
    if packed[1].dtype != "U8" or scales[1].dtype not in _SCALE_DTYPES:
        return Unknown(
            f"{packed[0]} is {packed[1].dtype} {list(packed[1].shape)} beside {scales[0]} "
            f"{scales[1].dtype} {list(scales[1].shape)}: no layout known here"
        )
    row = _row(packed[1].shape, scales[1].shape)
    if row is None:
        return Unknown(
            f"{packed[0]} {list(packed[1].shape)} and {scales[0]} {list(scales[1].shape)} do not "
            f"fit: MXFP4 has one scale for {GROUP} weights, two in a byte"
        )
    return Logical("mxfp4", row, BITS, GROUP)


def _first(members: Mapping[str, Member], names: tuple[str, ...]) -> tuple[str, Member] | None:
    return next(((name, members[name]) for name in names if name in members), None)


def _row(packed: Shape, scales: Shape) -> Shape | None:
    """The logical shape, of blocks [..., groups, 16] or of rows [..., groups * 16]."""
    if not scales:
        return None
    logical = (*scales[:-1], scales[-1] * GROUP)
    in_blocks, in_rows = (*scales, BLOCK_BYTES), (*scales[:-1], scales[-1] * BLOCK_BYTES)
    return logical if packed in (in_blocks, in_rows) else None


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """A U8 shape as blocks of 16 bytes, and as rows of two weights a byte."""
    if dtype not in (None, "U8") or not stored:
        return
    weights = prod(stored) * 2
    if len(stored) > 1 and stored[-1] == BLOCK_BYTES:
        scales = list(stored[:-1])
        shape = (*stored[:-2], stored[-2] * GROUP)
        yield Held("mxfp4", weights, shape, f"as blocks, with scales U8 {scales} beside them")
    if stored[-1] % BLOCK_BYTES == 0:
        scales = [*stored[:-1], stored[-1] // BLOCK_BYTES]
        shape = (*stored[:-1], stored[-1] * 2)
        yield Held("mxfp4", weights, shape, f"as rows, with a weight_scale U8 {scales} beside them")
