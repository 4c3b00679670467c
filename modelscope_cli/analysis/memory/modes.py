"""The rows of a footprint: as stored, and at 32, 16, 8 and 4 bits. One table of what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelscope_cli.dtypes import DTYPES

STORED = "stored"
BITS = (STORED, "32", "16", "8", "4")
BITSANDBYTES: Mapping[str, str] = {"8": "int8", "4": "nf4"}  # what a number of bits stands for
_BITS_OF = {"int8": "8", "nf4": "4", "fp4": "4"}
_FLOATS = {"32": ("F32",), "16": ("BF16", "F16")}


class Mode(NamedTuple):
    """How weights are held: `bits` names the row, `scheme` what linear layers are packed by.

    `dtype` is asked for what is not quantized; None: the checkpoint's own.
    """

    bits: str
    scheme: str | None = None
    double_quant: bool = False
    dtype: str | None = None
    transformers: int = 5

    def float_dtype(self, checkpoint: str) -> str:
        """The dtype that floats are loaded as, where the checkpoint's own is `checkpoint`."""
        fits = _FLOATS.get(self.bits)
        wanted = self.dtype or checkpoint
        return wanted if fits is None or wanted in fits else fits[0]


def mode(
    bits: str, quant: str | None, *, double_quant: bool, dtype: str | None, transformers: int
) -> Mode:
    """The mode of a row; `quant` chooses another scheme than the row's own."""
    scheme = quant if quant is not None else BITSANDBYTES.get(bits)
    return Mode(bits, scheme, double_quant and scheme in ("nf4", "fp4"), dtype, transformers)


def bits_of(quant: str) -> str:
    """The row that a scheme belongs to; another scheme's own name."""
    return _BITS_OF.get(quant, quant)


class Checkpoint(NamedTuple):
    """What a checkpoint is held as in its files.

    `packed` are the names of its packings, `dtype_told` whether it says what floats are.
    """

    dtype: str
    packed: tuple[str, ...] = ()
    dtype_told: bool = True


def describe(mode: Mode, dtype: str, checkpoint: Checkpoint | None = None) -> str:
    """`4 bit, bitsandbytes nf4, no double quant`; `dtype` is what floats are loaded as."""
    name = dtype.lower()
    stored = checkpoint or Checkpoint(dtype)
    if mode.scheme == "int8":
        return "8 bit, bitsandbytes int8"
    if mode.scheme in ("nf4", "fp4"):
        double = "double quant" if mode.double_quant else "no double quant"
        return f"4 bit, bitsandbytes {mode.scheme}, {double}"
    if mode.scheme is not None:
        return f"{mode.scheme}, as ideal packing"
    if mode.bits == STORED and not stored.dtype_told and mode.dtype is None:
        name = "no dtype told"
    if mode.bits == STORED and stored.packed:
        return f"as stored, {' and '.join(stored.packed)}, the rest {name}"
    if mode.bits == STORED and dtype == stored.dtype:
        return f"as stored, {name}"
    return f"{DTYPES[dtype].block_bytes * 8} bit, {name}"
