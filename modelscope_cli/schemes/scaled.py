"""Weights of a byte each, kept in their own shape beside scales: FP8 and INT8 alike."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from modelscope_cli.schemes import evidence
from modelscope_cli.schemes.base import Logical, Member
from modelscope_cli.schemes.evidence import Contradiction

FP8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_EXPONENTS = ("F8_E8M0", "U8")  # scales that are powers of two
_SCALES = ("F32", "F16", "BF16", *_EXPONENTS)
_MX_GROUP = 32


def read(
    weight: Member, scale: Member, declared: Mapping[str, Any], names: tuple[str, str, str]
) -> Logical:
    """What a weight and its scales stand for; the weight's own shape is the logical one.

    `names` are the schemes of a scale for the tensor, for rows, for blocks or groups. An I8
    weight with a power of two for every 32 is MXFP4, two in a byte: so transformers' FP8Experts
    (`expert_dtype="fp4"`) and DeepSeek-V4 keep experts. Raises Contradiction.
    """
    if len(weight.shape) < 2:
        raise Contradiction(f"{evidence.text('weight', weight)} is no matrix")
    if scale.dtype not in _SCALES:
        raise Contradiction(f"{evidence.text('scales', scale)} are no scales")
    if weight.dtype == "I8" and scale.dtype in _EXPONENTS:
        return _two_in_a_byte(weight, scale)
    group = evidence.scale_group(weight.shape, scale.shape, declared)
    for_tensors = scale.elements in (1, prod(weight.shape[:-2]))
    scheme = names[2] if group is not None else names[0 if for_tensors else 1]
    return Logical(scheme, weight.shape, 8, group)


def _two_in_a_byte(weight: Member, scale: Member) -> Logical:
    *lead, columns = weight.shape
    if scale.shape != (*lead, columns * 2 // _MX_GROUP) or columns * 2 % _MX_GROUP:
        raise Contradiction(
            f"{evidence.text('weight', weight)} and {evidence.text('scales', scale)} do not fit: "
            "MXFP4 has a scale for 32 weights, two in a byte"
        )
    return Logical("mxfp4", (*lead, columns * 2), 4, _MX_GROUP)
