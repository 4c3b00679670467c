"""What the rows mean."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.memory import modes
from modelscope_cli.analysis.memory.modes import BITS, Mode


def _mode(
    bits: str, quant: str | None = None, double: bool = False, dtype: str | None = None
) -> Mode:
    return modes.mode(bits, quant, double_quant=double, dtype=dtype, transformers=5)


@pytest.mark.parametrize(
    ("bits", "checkpoint", "dtype"),
    [
        ("stored", "BF16", "BF16"), ("stored", "F32", "F32"), ("32", "BF16", "F32"),
        ("32", "F32", "F32"), ("16", "F32", "BF16"), ("16", "F16", "F16"),
        ("16", "BF16", "BF16"), ("16", "F64", "BF16"), ("8", "F32", "F32"), ("4", "F16", "F16"),
    ],
)  # fmt: skip
def test_the_dtype_of_floats(bits: str, checkpoint: str, dtype: str) -> None:
    assert _mode(bits).float_dtype(checkpoint) == dtype


@pytest.mark.parametrize("bits", BITS)
def test_a_dtype_that_fits_is_taken(bits: str) -> None:
    assert _mode(bits, dtype="F16").float_dtype("BF16") == ("F32" if bits == "32" else "F16")


def test_the_schemes_that_bits_stand_for() -> None:
    assert [_mode(bits).scheme for bits in BITS] == [None, None, None, "int8", "nf4"]
    assert _mode("4", "fp4").scheme == "fp4"


@pytest.mark.parametrize(
    ("bits", "quant", "double"),
    [("4", None, True), ("4", "fp4", True), ("8", None, False), ("stored", None, False),
     ("16", None, False), ("gptq", "gptq", False)],
)  # fmt: skip
def test_double_quant_is_of_four_bits(bits: str, quant: str | None, double: bool) -> None:
    assert _mode(bits, quant, double=True).double_quant is double


def test_the_row_of_a_scheme() -> None:
    found = {quant: modes.bits_of(quant) for quant in ("nf4", "fp4", "int8", "gptq", "q4_k")}
    assert found == {"nf4": "4", "fp4": "4", "int8": "8", "gptq": "gptq", "q4_k": "q4_k"}


@pytest.mark.parametrize(
    ("mode", "dtype", "text"),
    [
        (_mode("stored"), "BF16", "as stored, bf16"),
        (_mode("32"), "F32", "32 bit, f32"),
        (_mode("16"), "F16", "16 bit, f16"),
        (_mode("8"), "BF16", "8 bit, bitsandbytes int8"),
        (_mode("4"), "BF16", "4 bit, bitsandbytes nf4, no double quant"),
        (_mode("4", "fp4", double=True), "BF16", "4 bit, bitsandbytes fp4, double quant"),
        (_mode("gptq", "gptq"), "BF16", "gptq, as ideal packing"),
    ],
)
def test_names_of_rows(mode: Mode, dtype: str, text: str) -> None:
    assert modes.describe(mode, dtype) == text
