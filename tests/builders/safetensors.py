"""safetensors bytes, written from the format's page: any part of a file can be made wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

# The format's dtypes and their bits, in the order of the reference's enum.
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class Tensor(NamedTuple):
    """A tensor whose data is zeros, as long as dtype and shape ask for."""

    name: str
    dtype: str = "F32"
    shape: Sequence[int] = (2,)

    @property
    def bytes(self) -> int:
        return prod(self.shape) * BITS[self.dtype] // 8


def framed(header: str | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file of this header and data; `length` may lie about the header."""
    text = header.encode() if isinstance(header, str) else header
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), start: Any = 0, end: Any = 8) -> dict[str, Any]:
    """One tensor's entry in the header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def entries(tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Entries of tensors that follow each other in the data."""
    found: dict[str, Any] = {}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.bytes
        found[tensor.name] = entry(tensor.dtype, list(tensor.shape), start, end)
    return found


def compact(header: Mapping[str, Any]) -> str:
    """JSON without spaces, as the library writes it."""
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False)


def build(
    tensors: Sequence[Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    pad: bytes = b" ",
) -> bytes:
    """A whole file; the header is padded to 8 bytes with `pad`, or not where that is empty."""
    header = {} if metadata is None else {"__metadata__": dict(metadata)}
    text = compact({**header, **entries(tensors)}).encode()
    if pad:
        text += pad * (-len(text) % 8)
    return framed(text, bytes(sum(tensor.bytes for tensor in tensors)))


def index(weight_map: Mapping[str, str], total_size: Any = None, **others: Any) -> bytes:
    """A `*.index.json` as transformers writes it."""
    metadata = {} if total_size is None else {"total_size": total_size}
    document = {"metadata": metadata, "weight_map": dict(sorted(weight_map.items())), **others}
    return (json.dumps(document, indent=2) + "\n").encode()
