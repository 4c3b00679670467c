"""Arithmetic as one would write it on paper: the lines that packings show as their steps."""

from __future__ import annotations

from math import prod

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Shape
from modelscope_cli.schemes.base import Part, ceil_div


def weights_step(shape: Shape) -> str:
    """`4,096 x 14,336 = 58,720,256 weights`, the step that begins every packing."""
    return f"{' x '.join(f'{size:,}' for size in shape)} = {prod(shape):,} weights"


def saved(part: Part) -> str:
    """`qweight int32 [1792, 4096] -> 29,360,128 bytes`."""
    dtype = DTYPES[part.dtype].torch or part.dtype
    return f"{part.name} {dtype} {list(part.shape)} -> {part.bytes:,} bytes"


def division(count: int, size: int) -> str:
    """`14,336 / 128 = 112`, or `100 / 32 -> 4`, which is rounded up."""
    equals = "->" if count % size else "="
    return f"{count:,} / {size:,} {equals} {ceil_div(count, size):,}"


def fill(bits: int, word: int) -> str:
    """How values lie in words: `8 in a word of 32`, `32 in 3 words of 32`."""
    if word % bits == 0:
        return f"{word // bits} in a word of {word}"
    return f"{word} in {bits} words of {word}"


def words(count: int, bits: int, word: int) -> str:
    """`14,336 x 4 / 32 = 1,792`: words of `word` bits that so many values take."""
    equals = "->" if count * bits % word else "="
    return f"{count:,} x {bits} / {word} {equals} {ceil_div(count * bits, word):,}"
