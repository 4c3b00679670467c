"""What a packing leaves in a checkpoint, as recognition hands it to a scheme."""

from __future__ import annotations

import struct

from modelscope_cli.facts import Shape
from modelscope_cli.schemes.base import Member, Packing

TORCH = {
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


def members(packing: Packing) -> dict[str, Member]:
    """The parts by suffix, weight_shape with its value."""
    return {f".{part.name}": _member(part.name, part.dtype, part.shape, packing.logical_shape)
            for part in packing.parts}  # fmt: skip


def _member(name: str, dtype: str, shape: Shape, logical: Shape) -> Member:
    value = struct.pack(f"<{len(logical)}q", *logical) if name == "weight_shape" else None
    return Member(dtype, shape, value)


def described(packing: Packing) -> dict[str, tuple[str, Shape]]:
    """Dtype and shape of every part by name."""
    return {part.name: (part.dtype, part.shape) for part in packing.parts}
