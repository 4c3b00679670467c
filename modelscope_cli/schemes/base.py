"""What a packing scheme is: arithmetic both ways, over shapes and dtypes alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown


class Part(NamedTuple):
    """One tensor that packing writes; `name` is what follows the module's name, `weight.absmax`."""

    name: str
    shape: Shape
    dtype: str
    bytes: int


class Packing(NamedTuple):
    """A weight packed by a scheme: logical -> stored.

    `parts[0]` is the packed weight. `steps` are the arithmetic, a line each, as on paper.
    """

    scheme: str
    logical_shape: Shape
    parts: tuple[Part, ...]
    steps: tuple[str, ...]

    @property
    def elements(self) -> int:
        """Weights, before packing."""
        return prod(self.logical_shape)

    @property
    def packed(self) -> Part:
        """The packed weight itself."""
        return self.parts[0]

    @property
    def total_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of all parts over weights; None for an empty weight."""
        return self.total_bytes * 8 / self.elements if self.elements else None


class Options(NamedTuple):
    """What the user may choose of a scheme; None: the scheme's own default.

    `bits` a weight, `group` weights that share a scale along a row, `block` likewise where the
    scheme calls it a block, `storage` the dtype that packed bytes are kept as, `dtype` that of
    the scales.
    """

    bits: int | None = None
    group: int | None = None
    block: int | None = None
    double_quant: bool | None = None
    storage: str | None = None
    dtype: str | None = None
    act_order: bool | None = None
    symmetric: bool | None = None


class Member(NamedTuple):
    """A stored tensor of a packed weight; `value` its bytes where they were read (metadata)."""

    dtype: str
    shape: Shape
    value: bytes | None = None

    @property
    def elements(self) -> int:
        """Elements as stored."""
        return prod(self.shape)


class Logical(NamedTuple):
    """What a packed tensor stands for: stored -> logical.

    `scheme` is the exact variant (`nf4`, `gptq`, …), `shape` in torch order [out, in], `bits` a
    weight as packed (4, 3, 8 …), `group` how many weights share a scale (None: a whole row or
    tensor).
    """

    scheme: str
    shape: Shape
    bits: float
    group: int | None = None


class Held(NamedTuple):
    """A stored shape read backwards: how many weights it holds under a scheme.

    `shape` is the logical shape where the stored one tells it, else None; `note` says on what
    condition.
    """

    scheme: str
    weights: int
    shape: Shape | None
    note: str


class Scheme(Protocol):
    """A scheme's module."""

    OPTIONS: Mapping[str, tuple[str, ...]]  # scheme name -> the `Options` fields it takes

    def pack(self, scheme: str, shape: Shape, options: Options) -> Packing:
        """Logical -> stored. Raises UsageError for a shape or options it cannot have."""
        ...

    def see_through(
        self, members: Mapping[str, Member], declared: Mapping[str, Any]
    ) -> Logical | Unknown:
        """Stored -> logical for one weight: its tensors by suffix, the packed one included.

        `declared` is the quantization config, `{}` where there is none; shapes win over it.
        Unknown, with the reason, where the tensors contradict each other.
        """
        ...

    def holds(self, stored: Shape, dtype: str | None) -> Iterable[Held]:
        """How many weights a packed tensor of that stored shape can hold."""
        ...


def part(name: str, dtype: str, *shape: int) -> Part:
    """A part of that shape, with its bytes."""
    size = DTYPES[dtype].size(prod(shape))
    if size is None:
        raise UsageError(f"{name}: {prod(shape):,} elements of {dtype} do not fill whole bytes")
    return Part(name, shape, dtype, size)


def ceil_div(count: int, size: int) -> int:
    """Blocks of `size` that `count` elements begin."""
    return -(-count // size)


def total_step(parts: Sequence[Part], weights: int) -> str:
    """The step that ends every packing: bytes of all parts, bits a weight, share of overhead.

    Overhead is all but the packed weight, which comes first.
    """
    total = sum(part.bytes for part in parts)
    if not weights or not total:
        return f"total {total:,} bytes, no weights"
    share = (total - parts[0].bytes) * 100 / total
    return f"total {total:,} bytes, {total * 8 / weights:.4f} bits a weight, overhead {share:.1f} %"
