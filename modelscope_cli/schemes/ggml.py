"""ggml's block types (Q4_K, IQ2_XXS, ...): a row is cut into blocks, each with its scales inside.

Block sizes are those of the table of dtypes. A GGUF file states logical shapes, so there is
nothing to see through; the gguf library shows the same tensor as rows of bytes.

MXFP4 and NVFP4 are block types here too. Their names on the command line mean the safetensors
layouts of `mxfp4.py` and `nvfp4.py`, which weigh the same but for NVFP4's two scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from modelscope_cli.dtypes import DTYPES, DType
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes.base import Held, Logical, Member, Options, Packing, part
from modelscope_cli.schemes.paper import weights_step

TYPES = {name.lower(): dtype for name, dtype in DTYPES.items() if dtype.kind == "packed"}
OPTIONS: Mapping[str, tuple[str, ...]] = dict.fromkeys(TYPES, ())


# What a block is made of, by the names of ggml-common.h: d and m scale or shift the whole block,
# scales parts of it, q* and signs are bits of the weights themselves.
FIELDS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "Q4_0": (("d", 2), ("qs", 16)),
    "Q4_1": (("d", 2), ("m", 2), ("qs", 16)),
    "Q5_0": (("d", 2), ("qh", 4), ("qs", 16)),
    "Q5_1": (("d", 2), ("m", 2), ("qh", 4), ("qs", 16)),
    "Q8_0": (("d", 2), ("qs", 32)),
    "Q8_1": (("d", 4), ("s", 4), ("qs", 32)),
    "Q2_K": (("scales", 16), ("qs", 64), ("d", 2), ("dmin", 2)),
    "Q3_K": (("hmask", 32), ("qs", 64), ("scales", 12), ("d", 2)),
    "Q4_K": (("d", 2), ("dmin", 2), ("scales", 12), ("qs", 128)),
    "Q5_K": (("d", 2), ("dmin", 2), ("scales", 12), ("qh", 32), ("qs", 128)),
    "Q6_K": (("ql", 128), ("qh", 64), ("scales", 16), ("d", 2)),
    "Q8_K": (("d", 4), ("qs", 256), ("bsums", 32)),
    "IQ2_XXS": (("d", 2), ("qs", 64)),
    "IQ2_XS": (("d", 2), ("qs", 64), ("scales", 8)),
    "IQ3_XXS": (("d", 2), ("qs", 96)),
    "IQ1_S": (("d", 2), ("qs", 32), ("qh", 16)),
    "IQ4_NL": (("d", 2), ("qs", 16)),
    "IQ3_S": (("d", 2), ("qs", 64), ("qh", 8), ("signs", 32), ("scales", 4)),
    "IQ2_S": (("d", 2), ("qs", 64), ("qh", 8), ("scales", 8)),
    "IQ4_XS": (("d", 2), ("scales_h", 2), ("scales_l", 4), ("qs", 128)),
    "IQ1_M": (("qs", 32), ("qh", 16), ("scales", 8)),
    "TQ1_0": (("qs", 48), ("qh", 4), ("d", 2)),
    "TQ2_0": (("qs", 64), ("d", 2)),
    "MXFP4": (("e", 1), ("qs", 16)),
    "NVFP4": (("d", 4), ("qs", 32)),
    "Q1_0": (("d", 2), ("qs", 16)),
    "Q2_0": (("d", 2), ("qs", 16)),
}


# Weights that share a scale, where that is not the whole block: a super-block has scales of parts.
_PARTS: Mapping[str, int] = {
    **dict.fromkeys(("Q2_K", "Q3_K", "Q6_K", "IQ2_XS", "IQ2_S", "IQ1_M", "NVFP4"), 16),
    **dict.fromkeys(("Q4_K", "Q5_K", "IQ2_XXS", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ4_XS"), 32),
}


def group(dtype: str) -> int:
    """How many weights share a scale in that block type."""
    return _PARTS.get(dtype, DTYPES[dtype].block_elements)


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """One tensor of that type; `scheme` is the type's name in small letters.

    Raises UsageError for a row that is no whole number of blocks, as ggml refuses it
    (`ggml_row_size`, gguf's `quant_shape_to_byte_shape`).
    """
    block = TYPES[scheme]
    if not _in_blocks(shape, block):
        row = f"a row of {shape[-1]:,}" if shape else "a single number"
        raise UsageError(
            f"{scheme}: {row} is no whole number of {block.block_elements}-weight blocks",
            "llama-quantize gives such a tensor a type of smaller blocks",
        )
    stored = part("weight", block.name, *shape)
    return Packing(scheme, shape, (stored,), _steps(block, shape, stored.bytes))


def _steps(block: DType, shape: Shape, total: int) -> tuple[str, ...]:
    blocks = shape[-1] // block.block_elements
    fields = " + ".join(f"{name} {size}" for name, size in FIELDS[block.name])
    row_bytes = blocks * block.block_bytes
    return (
        weights_step(shape),
        f"{block.block_elements} weights of a row are a block: "
        f"{shape[-1]:,} / {block.block_elements} = {blocks:,} blocks a row",
        f"a block of {block.name}: {fields} = {block.block_bytes} bytes, scales included",
        f"{blocks:,} x {block.block_bytes} = {row_bytes:,} bytes a row",
        f"uint8 {[*shape[:-1], row_bytes]} to the gguf library, {list(shape)} by the file's header",
        f"total {total:,} bytes, "
        f"{block.block_bytes} x 8 / {block.block_elements} = {block.bits:.4f} bits a weight",
    )


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """The tensor's own shape: GGUF states it unpacked."""
    member = members.get("") or members.get(".weight")
    block = None if member is None else TYPES.get(member.dtype.lower())
    if member is None or block is None:
        return Unknown("no tensor of a ggml block type")
    if not _in_blocks(member.shape, block):
        return Unknown(
            f"{block.name} {list(member.shape)}: a row is no whole number of "
            f"{block.block_elements}-weight blocks"
        )
    return Logical(block.name.lower(), member.shape, block.bits, group(block.name))


def _in_blocks(shape: Shape, block: DType) -> bool:
    return bool(shape) and shape[-1] % block.block_elements == 0


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """A byte shape under every type whose blocks fill its rows; a ggml dtype's shape as it is."""
    own = TYPES.get((dtype or "").lower())
    if own is not None:
        if _in_blocks(stored, own):
            yield Held(own.name.lower(), prod(stored), stored, "as GGUF states shapes: unpacked")
        return
    if dtype not in (None, "U8") or not stored:
        return
    for name, block in TYPES.items():
        blocks, rest = divmod(stored[-1], block.block_bytes)
        if not rest:
            shape = (*stored[:-1], blocks * block.block_elements)
            sizes = f"{block.block_bytes} for {block.block_elements} weights"
            note = f"as the gguf library shows bytes of {block.name}, {sizes}"
            yield Held(name, prod(shape), shape, note)
