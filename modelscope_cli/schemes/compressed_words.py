"""compressed-tensors' pack-quantized, read back: rows of 32-bit words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_cli.facts import Shape
from modelscope_cli.schemes import evidence
from modelscope_cli.schemes.base import Logical, Member, ceil_div
from modelscope_cli.schemes.evidence import Contradiction

_SCHEME = "pack-quantized"
_BITS = range(1, 9)
_SCALES = ("F16", "BF16", "F32", "F64")
_SHAPES = {"I64": 8, "I32": 4}  # of weight_shape, and the bytes of a number


def read(members: Mapping[str, Member], packed: Member, declared: Mapping[str, Any]) -> Logical:
    """The logical shape: weight_shape's value, which must fit the words and the scales.

    Where that value was not read, the shape follows if the config's group size and the scales
    leave only one. Raises Contradiction.
    """
    scale = members.get(".weight_scale")
    if scale is None or scale.dtype not in _SCALES:
        raise Contradiction("no .weight_scale of floating point numbers is there")
    shape = _stated(members)
    if shape is None:
        shape = _derived(packed, scale, declared)
    if len(shape) != len(packed.shape) or shape[:-1] != packed.shape[:-1]:
        raise Contradiction(
            f".weight_shape says {list(shape)}, {evidence.text('.weight_packed', packed)} differs"
        )
    bits = _bits(members, shape, packed, declared)
    return Logical(_SCHEME, shape, bits, _group(shape, scale, declared))


def _stated(members: Mapping[str, Member]) -> Shape | None:
    """The value of weight_shape; None where it was not read."""
    member = members.get(".weight_shape")
    if member is None or member.value is None:
        return None
    size = _SHAPES.get(member.dtype)
    if size is None or len(member.shape) != 1 or len(member.value) != size * member.shape[0]:
        raise Contradiction(f"{evidence.text('.weight_shape', member)} is no shape")
    value = member.value
    numbers = [
        int.from_bytes(value[at : at + size], "little", signed=True)
        for at in range(0, len(value), size)
    ]
    if not 2 <= len(numbers) <= 8 or min(numbers) < 0:
        raise Contradiction(f".weight_shape says {numbers[:8]}")
    return tuple(numbers)


def _derived(packed: Member, scale: Member, declared: Mapping[str, Any]) -> Shape:
    """The only shape whose rows are whole groups and fill the words, of all the config allows."""
    rows = set()
    if len(packed.shape) > 1 and scale.shape:
        for weights in evidence.weights_of_groups(declared):
            for group in evidence.numbers(weights, "group_size"):
                row = scale.shape[-1] * group
                for bits in evidence.numbers(weights, "num_bits"):
                    if packed.shape[-1] in _words(row, bits):
                        rows.add(row)
    if len(rows) != 1:
        raise Contradiction(
            f"{evidence.text('.weight_packed', packed)} leaves open how full its last words are: "
            "only the value of .weight_shape tells"
        )
    return (*packed.shape[:-1], rows.pop())


def _words(count: int, bits: int) -> tuple[int, ...]:
    """Words of so many values: run together (0.20), or each in one word (0.12)."""
    return (ceil_div(count * bits, 32), ceil_div(count, 32 // bits)) if bits in _BITS else ()


def _bits(
    members: Mapping[str, Member], shape: Shape, packed: Member, declared: Mapping[str, Any]
) -> float:
    words = packed.shape[-1]
    fitting = [bits for bits in _BITS if words in _words(shape[-1], bits)]
    zeros = members.get(".weight_zero_point")
    if zeros is not None and zeros.dtype == "I32" and len(zeros.shape) > 1:
        fitting = [bits for bits in fitting if zeros.shape[-2] in _words(shape[-2], bits)]
    if not fitting:
        raise Contradiction(
            f"rows of {shape[-1]:,} weights do not fill the {words:,} words of "
            f"{evidence.text('.weight_packed', packed)} (nor its zero points) at 1 to 8 bits"
        )
    wanted = [bits for bits in _declared_bits(declared) if bits in fitting]
    run_together = [bits for bits in fitting if _words(shape[-1], bits)[0] == words]
    for choice in (wanted[:1], fitting, run_together):
        if len(choice) == 1:
            return choice[0]
    # Short rows fit several: then what is known is how many bits a weight takes here.
    return words * 32 / shape[-1] if shape[-1] else fitting[0]


def _declared_bits(declared: Mapping[str, Any]) -> Iterator[int]:
    for weights in evidence.weights_of_groups(declared):
        yield from evidence.numbers(weights, "num_bits")


def _group(shape: Shape, scale: Member, declared: Mapping[str, Any]) -> int | None:
    """Scales are one number, or a number or several for each row."""
    if scale.shape[:-1] == shape[:-1]:
        groups = evidence.declared_groups(declared)
        return evidence.even_group(shape[-1], scale.shape[-1], groups)
    if scale.elements == 1:
        return None
    raise Contradiction(f"{evidence.text('.weight_scale', scale)} does not fit {list(shape)}")
