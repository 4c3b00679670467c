"""NVFP4 as ModelOpt saves it: 4-bit floats, an FP8 scale for each 16 of a row, one F32 for all.

`weight` U8 [out, in/2], two weights a byte along a row, the even one in the low half;
`weight_scale` F8_E4M3 [out, in/16]; `weight_scale_2` F32, a scalar; `input_scale` F32, a scalar,
for the activations. Experts kept in one tensor as [experts, in, out] (Llama 4, gpt-oss) are
packed along `in` too: `X` U8 [experts, in/2, out], `X_weight_scale` [experts, in/16, out].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes.base import (
    Held,
    Logical,
    Member,
    Options,
    Packing,
    Part,
    part,
    total_step,
)
from modelscope_cli.schemes.evidence import numbers, weights_of_groups
from modelscope_cli.schemes.paper import saved, weights_step

GROUP = 16
BITS = 4
OPTIONS: Mapping[str, tuple[str, ...]] = {"nvfp4": ("group",)}


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[..., in] -> weight U8 [..., in/2], a scale per group, two scalars: 4.5 bits a weight.

    Raises UsageError where ModelOpt does: rows are whole groups (`NVFP4QTensor` asserts
    `shape[-1] % block_size == 0`), and two weights fill a byte.
    """
    group = GROUP if options.group is None else options.group
    _require_rows(shape, group)
    row = shape[-1]
    parts = (
        part("weight", "U8", *shape[:-1], row // 2),
        part("weight_scale", "F8_E4M3", *shape[:-1], row // group),
        part("weight_scale_2", "F32"),
        part("input_scale", "F32"),
    )
    return Packing(scheme, shape, parts, _steps(shape, group, parts))


def _require_rows(shape: Shape, group: int) -> None:
    if not shape:
        raise UsageError("nvfp4: a single number has no rows to pack")
    if group < 1:
        raise UsageError(f"nvfp4: a group of {group:,} weights is none")
    if shape[-1] % group:
        raise UsageError(f"nvfp4: a row of {shape[-1]:,} is no whole number of groups of {group:,}")
    if shape[-1] % 2:
        raise UsageError(
            f"nvfp4: a row of {shape[-1]:,} does not fill whole bytes, two weights in one"
        )
    if group != GROUP:  # the format has no other, and a file does not tell that it has
        raise UsageError(f"nvfp4 has groups of {GROUP} weights, not of {group:,}")


def _steps(shape: Shape, group: int, parts: tuple[Part, ...]) -> tuple[str, ...]:
    row = shape[-1]
    packed, scale, *_ = parts
    return (
        weights_step(shape),
        f"4 bits each, two in a byte along a row: {row:,} / 2 = {row // 2:,} bytes a row",
        saved(packed),
        f"an FP8 scale per {group:,} of a row: {row:,} / {group:,} = {row // group:,} a row",
        saved(scale),
        "weight_scale_2 for the whole weight, input_scale for its input: 2 x float32 -> 8 bytes",
        total_step(parts, prod(shape)),
    )


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """Rows unpacked: [out, 2 * bytes], or [experts, 2 * bytes, out] where packed that way."""
    named = {name.lstrip("._"): member for name, member in members.items()}
    packed = named.get("weight") or named.get("")
    scale, scale_2 = named.get("weight_scale"), named.get("weight_scale_2")
    if packed is None or scale is None or scale_2 is None:
        there = ", ".join(sorted(filter(None, named))[:8])
        return Unknown(f"NVFP4 has weight, weight_scale and weight_scale_2; here are only {there}")
    if (wrong := _wrong_dtype(packed, scale, scale_2)) is not None:
        return Unknown(wrong)
    if scale_2.elements not in (1, *packed.shape[:-2][:1]):
        return Unknown(
            f"weight_scale_2 {list(scale_2.shape)} is no single number, nor one for each expert "
            f"of weight {list(packed.shape)}"
        )
    return _unpacked(packed, scale, _declared_group(declared))


def _wrong_dtype(packed: Member, scale: Member, scale_2: Member) -> str | None:
    if packed.dtype not in ("U8", "F4"):
        return f"weight is {packed.dtype}: NVFP4 keeps two weights in a U8"
    if scale.dtype != "F8_E4M3":
        # W4A8_AWQ has the same names, but rows of `out` are packed, and scales are plain floats.
        return f"weight_scale is {scale.dtype}, NVFP4's are F8_E4M3 (ModelOpt's INT4 is not read)"
    if scale_2.dtype not in ("F32", "BF16", "F16"):
        return f"weight_scale_2 is {scale_2.dtype}, no scale of NVFP4"
    return None


def _unpacked(packed: Member, scale: Member, declared_group: int | None) -> Logical | Unknown:
    """The logical shape, along whichever axis weights and scales say the same."""
    for axis in (-1, -2):
        shape = _along(packed, axis)
        if shape is None or not _fits_but(axis, shape, scale.shape):
            continue
        group = _group(shape[axis], scale.shape[axis])
        # A wrong scale can divide a row evenly too: an odd group must be declared.
        if group is not None and group in (GROUP, declared_group):
            return Logical("nvfp4", shape, BITS, group)
    return Unknown(
        f"weight {list(packed.shape)} and weight_scale {list(scale.shape)} do not fit: NVFP4 has "
        f"one scale for {declared_group or GROUP} weights, two in a byte"
    )


def _along(packed: Member, axis: int) -> Shape | None:
    """The shape unpacked along an axis; -2 only means something to a stack of experts."""
    if len(packed.shape) < (1 if axis == -1 else 3):
        return None
    if packed.dtype == "F4":  # safetensors counts F4 elements, not bytes
        return packed.shape
    shape = list(packed.shape)
    shape[axis] *= 2
    return tuple(shape)


def _fits_but(axis: int, shape: Shape, scale: Shape) -> bool:
    """Whether scales have the weight's shape, one axis left out."""
    if len(shape) != len(scale):
        return False
    left_out = len(shape) + axis
    return all(a == b for i, (a, b) in enumerate(zip(shape, scale, strict=True)) if i != left_out)


def _group(row: int, scales: int) -> int | None:
    if not row and not scales:
        return GROUP
    return None if not scales or row % scales else row // scales


def _declared_group(declared: Mapping[str, Any]) -> int | None:
    """`group_size` of hf_quant_config.json, or of the first group in config.json."""
    sizes = numbers(declared, "group_size")
    sizes += [
        size for group in weights_of_groups(declared) for size in numbers(group, "group_size")
    ]
    return sizes[0] if sizes else None


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """A U8 shape as rows of two weights a byte; an F4 one counts weights already."""
    if dtype not in (None, "U8", "F4") or not stored:
        return
    shape = stored if dtype == "F4" else (*stored[:-1], stored[-1] * 2)
    if shape[-1] % GROUP == 0:
        scales = [*stored[:-1], shape[-1] // GROUP]
        note = f"with a weight_scale F8_E4M3 {scales} and a weight_scale_2 beside it"
        yield Held("nvfp4", prod(shape), shape, note)
    if len(stored) == 3 and dtype != "F4" and stored[1] * 2 % GROUP == 0:
        shape = (stored[0], stored[1] * 2, stored[2])
        scales = [stored[0], shape[1] // GROUP, stored[2]]
        note = f"as experts [experts, in, out], with scales F8_E4M3 {scales} beside them"
        yield Held("nvfp4", prod(shape), shape, note)
