"""bitsandbytes' quant_state: the JSON that a saved 4-bit weight carries as a tensor of bytes."""

from __future__ import annotations

import json
from math import prod
from typing import Any, NamedTuple

from modelscope_cli.facts import Shape, Unknown

SUFFIX = ".quant_state.bitsandbytes__"  # and nf4 or fp4
NESTED_BLOCK = 256  # absmax values that share a nested one, fixed in `quantize_4bit`
_NESTED_DTYPE = "float32"
# Real ones have 80 to 250 bytes.
_MAX_BYTES = 65_536
_MAX_DIMS = 64
_MAX_COUNT = 2**63 - 1


class QuantState(NamedTuple):
    """What a quant_state says of its weight. `nested_block` None: absmax is not quantized."""

    quant_type: str
    shape: Shape
    block: int
    nested_block: int | None


def written(
    quant_type: str, shape: Shape, block: int, dtype: str, nested_offset: float | None = None
) -> bytes:
    """The bytes that bitsandbytes writes (`QuantState.as_dict(packed=True)`).

    `dtype` is torch's name of the weight's dtype before packing; `nested_offset`, the mean of
    absmax, is there with double quantization only, and its digits decide how long this is.
    """
    values: dict[str, Any] = {
        "quant_type": quant_type, "blocksize": block, "dtype": dtype, "shape": shape,
    }  # fmt: skip
    if nested_offset is not None:
        values |= {
            "nested_blocksize": NESTED_BLOCK,
            "nested_dtype": _NESTED_DTYPE,
            "nested_offset": nested_offset,
        }
    return json.dumps(values).encode()


def read(value: bytes, quant_type: str) -> QuantState | Unknown:
    """A quant_state out of a file, which may say anything; `quant_type` is in its name."""
    if len(value) > _MAX_BYTES:
        return Unknown(f"quant_state has {len(value):,} bytes: too many to be one")
    try:
        values = json.loads(value.decode())
    except (ValueError, RecursionError):
        return Unknown(f"quant_state, {len(value):,} bytes, cannot be read as JSON")
    if not isinstance(values, dict):
        return Unknown(f"quant_state is {_shown(values)}, not a JSON object")
    if values.get("quant_type") != quant_type:
        said = _shown(values.get("quant_type"))
        return Unknown(f"quant_state is called {quant_type}, but says quant_type {said}")
    shape = _shape(values.get("shape"))
    if shape is None:
        return Unknown(f"quant_state says shape {_shown(values.get('shape'))}, which is none")
    return _with_blocks(quant_type, shape, values)


def _with_blocks(quant_type: str, shape: Shape, values: dict[str, Any]) -> QuantState | Unknown:
    blocks: dict[str, int | None] = {"blocksize": None, "nested_blocksize": None}
    for key in blocks:
        said = values.get(key)
        if key in values or key == "blocksize":
            if not _is_count(said) or not said:
                return Unknown(f"quant_state says {key} {_shown(said)}, which is none")
            blocks[key] = said
    return QuantState(quant_type, shape, blocks["blocksize"] or 0, blocks["nested_blocksize"])


def _shape(said: Any) -> Shape | None:
    if not isinstance(said, list) or len(said) > _MAX_DIMS or not all(map(_is_count, said)):
        return None
    return tuple(said) if prod(said) <= _MAX_COUNT else None


def _is_count(said: Any) -> bool:
    return type(said) is int and 0 <= said <= _MAX_COUNT  # True is an int, too


def _shown(said: Any) -> str:
    """A value out of a file, short; of a list or object, which may be huge, only the kind."""
    if isinstance(said, (list, dict)):
        return f"a {type(said).__name__} of {len(said):,}"
    return "nothing" if said is None else repr(said)[:60]
