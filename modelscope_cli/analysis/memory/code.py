"""The from_pretrained call that a row of the footprint stands for, as Python to paste."""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_cli.analysis.memory.modes import STORED
from modelscope_cli.analysis.memory.rows import Row
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import ModelRef, Unknown

_AUTO = "AutoModel"


def call(ref: ModelRef, class_name: str | None, row: Row, *, on_cards: bool) -> str | Unknown:
    """The call for `row` of the model `ref`; Unknown where no such call exists.

    `class_name` is the class that the figures are of; without one, whatever AutoModel takes.
    """
    if ref.format == "gguf":
        return Unknown("a GGUF's figures are llama.cpp's, not from_pretrained's")
    if row.mode.scheme is not None and not _is_bitsandbytes(row):
        return Unknown(f"{row.mode.scheme} as ideal packing is no call of transformers")
    return "\n".join(_lines(ref, class_name or _AUTO, row, on_cards=on_cards))


def _is_bitsandbytes(row: Row) -> bool:
    return row.mode.scheme in ("nf4", "fp4", "int8")


def _lines(ref: ModelRef, name: str, row: Row, *, on_cards: bool) -> Iterator[str]:
    quantized = _is_bitsandbytes(row)
    dtype = f"torch.{DTYPES[row.dtype].torch}"
    if row.mode.transformers < 5:
        yield "# with transformers 4"
    yield "import torch"
    yield f"from transformers import {'BitsAndBytesConfig, ' if quantized else ''}{name}"
    yield ""
    yield f"model = {name}.from_pretrained("
    yield f"    {_target(ref)!a},"
    if ref.kind in ("hub", "cache") and ref.revision:
        yield f"    revision={ref.revision!a},"
    if row.mode.bits != STORED or row.mode.dtype is not None:
        yield f"    dtype={dtype},"
    if quantized:
        yield "    quantization_config=BitsAndBytesConfig("
        yield from (f"        {line}," for line in _bitsandbytes(row, dtype))
        yield "    ),"
    if on_cards or quantized:
        yield '    device_map="auto",'
    yield ")"


def _target(ref: ModelRef) -> str:
    if ref.kind in ("hub", "cache") and ref.id:
        return ref.id
    return ref.path or ref.target


def _bitsandbytes(row: Row, dtype: str) -> Iterator[str]:
    if row.mode.scheme == "int8":
        yield "load_in_8bit=True"
        return
    yield "load_in_4bit=True"
    yield f'bnb_4bit_quant_type="{row.mode.scheme}"'
    if row.mode.double_quant:
        yield "bnb_4bit_use_double_quant=True"
    yield f"bnb_4bit_compute_dtype={dtype}"
