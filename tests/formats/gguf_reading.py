"""What the GGUF tests share: files in memory, and what the gguf library says of a file."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import gguf

from modelscope_cli.errors import TruncatedFile
from modelscope_cli.facts import FileContents
from modelscope_cli.formats.gguf import read
from modelscope_cli.formats.gguf_metadata import ArrayValue
from modelscope_cli.sources.local import LocalFile

CORPUS = Path(__file__).parent.parent / "corpus"


class MemoryFile:
    """An opened file that is only bytes; it counts what is read of it."""

    def __init__(self, data: bytes, path: str = "m.gguf") -> None:
        self.path = path
        self.size = len(data)
        self.data = data
        self.reads: list[int] = []
        self.closed = False

    def read_at(self, offset: int, length: int) -> bytes:
        assert not self.closed
        if offset + length > self.size:
            raise TruncatedFile(self.path, "beyond the end")
        self.reads.append(length)
        return self.data[offset : offset + length]

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed = True


class Row(NamedTuple):
    """A tensor as both sides tell it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    bytes: int
    offset: int | None


def read_bytes(data: bytes) -> FileContents:
    with MemoryFile(data) as file:
        return read(file)


def read_path(path: Path) -> FileContents:
    with LocalFile(str(path), path.name) as file:
        return read(file)


def our_rows(contents: FileContents) -> list[Row]:
    return [
        Row(each.name, each.dtype, each.shape, each.elements, each.bytes, each.offset)
        for each in contents.tensors
    ]


def our_metadata(contents: FileContents) -> dict[str, Any]:
    return {key: decoded(value) for key, value in contents.fact.metadata.items()}


def decoded(value: Any) -> Any:
    return value.first(len(value)) if isinstance(value, ArrayValue) else value


class Library:
    """What gguf.GGUFReader says of a file."""

    def __init__(self, path: Path) -> None:
        logging.getLogger("gguf").setLevel(logging.CRITICAL)
        self.reader = gguf.GGUFReader(path)

    def rows(self) -> list[Row]:
        return [
            Row(
                tensor.name,
                tensor.tensor_type.name,
                tuple(int(size) for size in reversed(tensor.shape)),
                tensor.n_elements,
                tensor.n_bytes,
                tensor.data_offset,
            )
            for tensor in self.reader.tensors
        ]

    def metadata(self) -> dict[str, Any]:
        return {
            key: field.contents()
            for key, field in self.reader.fields.items()
            if not key.startswith("GGUF.")
        }
