"""Tensor tables for tests, written as plain tuples."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Shape, TensorTable


def table(rows: Iterable[tuple[str, str, Shape]]) -> TensorTable:
    """A table of (name, dtype, shape) rows, as one safetensors file would hold them."""
    made = TensorTable()
    offset = 0
    for name, dtype, shape in rows:
        size = DTYPES[dtype].size(prod(shape))
        assert size is not None
        made.append(name, dtype, shape, prod(shape), size, "model.safetensors", offset)
        offset += size
    return made
