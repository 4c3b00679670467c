"""Reads torch files' bytes with our reader, and says what torch itself makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from modelscope_cli.dtypes import TORCH
from modelscope_cli.errors import TruncatedFile
from modelscope_cli.facts import FileContents
from modelscope_cli.formats import torchfile
from modelscope_cli.sources.local import LocalFile

CORPUS = Path(__file__).parent.parent / "corpus"


class Memory:
    """An opened file that lies in memory, and remembers which ranges were read."""

    path = "model.pt"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.read: list[tuple[int, int]] = []

    def read_at(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise TruncatedFile(self.path, "asked for more than is there")
        self.read.append((offset, length))
        return self.data[offset : offset + length]

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Row(NamedTuple):
    """What both sides say of a tensor; the shape as safetensors would spell it."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def read_bytes(data: bytes) -> FileContents:
    """Our reader's contents. Raises FormatError."""
    return torchfile.read(Memory(data))


def read_path(path: Path) -> FileContents:
    """The same of a file on disk."""
    with LocalFile(str(path), path.name) as file:
        return torchfile.read(file)


def our_rows(contents: FileContents) -> list[Row]:
    return [Row(row.name, row.dtype, row.shape) for row in contents.tensors]


def names(contents: FileContents) -> list[str]:
    return contents.tensors.names


def said(contents: FileContents) -> str:
    """All notes in one text."""
    return "\n".join(note.text for note in contents.notes)


def torch_tensors(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors in what torch.load gave, with their paths joined by dots."""
    import torch

    if isinstance(value, torch.Tensor):
        yield path or "tensor", value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from torch_tensors(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from torch_tensors(inner, f"{path}.{index}" if path else str(index))


def torch_row(name: str, tensor: Any) -> Row:
    dtype, shape = TORCH[str(tensor.dtype).removeprefix("torch.")].name, tuple(tensor.shape)
    if dtype == "F4":
        shape = (*shape[:-1], 2 * shape[-1])
    return Row(name, dtype, shape)


def torch_rows(value: Any) -> list[Row]:
    return [torch_row(name, tensor) for name, tensor in torch_tensors(value)]


def stored_bytes(tensor: Any) -> bytes:
    """A dense tensor's own bytes, in the order of its elements."""
    return bytes(tensor.detach().clone().contiguous().untyped_storage().tolist())
