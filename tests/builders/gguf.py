"""GGUF bytes, written from ggml's docs/gguf.md: any part of a file can be made wrong."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = (
    range(13)
)
_CODES = {
    UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", UINT32: "I", INT32: "i", FLOAT32: "f",
    BOOL: "B", UINT64: "Q", INT64: "q", FLOAT64: "d",
}  # fmt: skip
F32 = 0


class Tensor(NamedTuple):
    """A tensor info and its data; `dims` in ggml order, `offset` worked out unless given."""

    name: str | bytes
    dims: Sequence[int]
    kind: int
    data: bytes
    offset: int | None = None


def f32(name: str | bytes, *dims: int, offset: int | None = None) -> Tensor:
    """A tensor of zeros."""
    elements = 1
    for size in dims:
        elements *= size
    return Tensor(name, dims, F32, bytes(4 * elements), offset)


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def scalar(kind: int, value: float | str | bytes) -> bytes:
    """A typed value: its type, then itself."""
    return struct.pack("<I", kind) + _payload(kind, value)


def text(value: str | bytes) -> bytes:
    return scalar(STRING, value)


def u32(value: int) -> bytes:
    return scalar(UINT32, value)


def u16(value: int) -> bytes:
    return scalar(UINT16, value)


def array(kind: int, items: Sequence[float | str | bytes], length: int | None = None) -> bytes:
    """A typed array value; `length` may lie. Items of an array of arrays are `array(…)[4:]`."""
    count = len(items) if length is None else length
    head = struct.pack("<IIQ", ARRAY, kind, count)
    return head + b"".join(_payload(kind, item) for item in items)


def inner_array(kind: int, items: Sequence[float | str | bytes]) -> bytes:
    """An item of an array of arrays."""
    return array(kind, items)[4:]


def _payload(kind: int, value: float | str | bytes) -> bytes:
    if kind == STRING:
        assert isinstance(value, str | bytes)
        return string(value)
    if kind == ARRAY:
        assert isinstance(value, bytes)
        return value
    return struct.pack(f"<{_CODES[kind]}", value)


def head(
    metadata: Mapping[str, bytes] | Sequence[tuple[str | bytes, bytes]] = (),
    *,
    version: int = 3,
    tensor_count: int = 0,
    key_count: int | None = None,
) -> bytes:
    """The start of a file, up to the tensor infos."""
    pairs = list(metadata.items()) if isinstance(metadata, Mapping) else list(metadata)
    keys = len(pairs) if key_count is None else key_count
    front = b"GGUF" + struct.pack("<IQQ", version, tensor_count, keys)
    return front + b"".join(string(key) + value for key, value in pairs)


def build(
    tensors: Sequence[Tensor] = (),
    metadata: Mapping[str, bytes] | Sequence[tuple[str | bytes, bytes]] = (),
    *,
    version: int = 3,
    alignment: int = 32,
    pad_last: bool = True,
    tail: bytes = b"",
) -> bytes:
    """A whole file. `alignment` is what is written by, whatever the metadata says."""
    front = head(metadata, version=version, tensor_count=len(tensors))
    data = b""
    for tensor in tensors:
        data = pad(data, alignment)
        front += info(tensor, len(data))
        data += tensor.data
    if tensors and pad_last:
        data = pad(data, alignment)
    return pad(front, alignment) + data + tail


def info(tensor: Tensor, offset: int) -> bytes:
    """A tensor info; the tensor's own offset goes before `offset`."""
    at = offset if tensor.offset is None else tensor.offset
    dims = struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
    return string(tensor.name) + dims + struct.pack("<IQ", tensor.kind, at)


def pad(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)
