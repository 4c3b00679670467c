"""Reads safetensors bytes with our reader, and with the library that owns the format."""

from __future__ import annotations

from typing import Any

import safetensors

from modelscope_cli.errors import TruncatedFile
from modelscope_cli.facts import FileContents
from modelscope_cli.formats import safetensors as reader

_deserialize: Any = safetensors.deserialize


class Memory:
    """An opened file that lies in memory."""

    path = "model.safetensors"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise TruncatedFile(self.path, "asked for more than is there")
        return self.data[offset : offset + length]

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def read(data: bytes) -> FileContents:
    """Our reader's contents. Raises FormatError."""
    return reader.read(Memory(data))


def library_rows(data: bytes) -> dict[str, tuple[Any, ...]]:
    """What the library makes of a file: dtype, shape and data of every tensor."""
    return {
        name: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
        for name, tensor in _deserialize(data)
    }


def our_rows(data: bytes) -> dict[str, tuple[Any, ...]]:
    """The same from our reader; the data is what lies at the offset it gives."""
    return {
        row.name: (row.dtype, row.shape, data[row.offset or 0 : (row.offset or 0) + row.bytes])
        for row in read(data).tensors
    }
