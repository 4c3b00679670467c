"""What a format reader is, the limits every reader keeps, and the table of readers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from modelscope_cli.errors import FormatError

if TYPE_CHECKING:
    from modelscope_cli.facts import FileContents
    from modelscope_cli.sources.base import OpenFile

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit; held for every format's header
MAX_NAME_BYTES = 65_535  # ggml allows 64, torch and safetensors any; longer is an attack
MAX_DIMENSIONS = 64  # torch's own limit
MAX_ELEMENTS = 2**63 - 1  # int64 products, as in every runtime


class UnknownFormat(FormatError):
    """The first bytes are those of no weight file that mscope reads."""


class LfsPointer(FormatError):
    """A Git LFS pointer lies where the file should be."""


_POINTER = b"version https://git-lfs"


def refuse_pointer(path: str, head: bytes) -> None:
    """Raise LfsPointer for a file that begins so: a checkout without its large files."""
    if head.startswith(_POINTER):
        what = "a Git LFS pointer, not the file itself: run `git lfs pull`"
        raise LfsPointer(path, what)


class Reader(Protocol):
    """A format module: `read` lists one file's tensors from its header, reading no weights."""

    def read(self, file: OpenFile) -> FileContents:
        """Raises FormatError, named after the defect, for a malformed file."""
        ...


class Format(NamedTuple):
    """One row of the table of formats."""

    name: str
    module: str
    endings: tuple[str, ...]

    def reader(self) -> Reader:
        """Import the reader's module only when a file of this format is met."""
        return cast("Reader", importlib.import_module(self.module))


FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format("safetensors", "modelscope_cli.formats.safetensors", (".safetensors",)),
        Format("gguf", "modelscope_cli.formats.gguf", (".gguf",)),
        Format("torch", "modelscope_cli.formats.torchfile", (".bin", ".pt", ".pth", ".ckpt")),
    )
}
ENDINGS = {ending: row for row in FORMATS.values() for ending in row.endings}


def by_ending(path: str) -> Format | None:
    """The format that a file's name promises, if any."""
    _, dot, ending = path.rpartition(".")
    return ENDINGS.get(f"{dot}{ending}".lower()) if dot else None


def by_content(head: bytes) -> Format | None:
    """The format whose files begin like these 16 bytes, if any."""
    return next((FORMATS[name] for name, test in _SIGNATURES if test(head)), None)


def sniff(file: OpenFile) -> Format:
    """The format of a file by its first bytes, whatever its name; by its name where they fail.

    Raises UnknownFormat where neither tells.
    """
    found = by_content(file.read_at(0, min(file.size, 16))) or by_ending(file.path)
    if found is None:
        raise UnknownFormat(file.path, "is no weight file that mscope reads")
    return found


def _looks_like_safetensors(head: bytes) -> bool:
    """An 8-byte little-endian header length below 4 GiB, then the `{` of the header."""
    return head[4:9] == b"\0\0\0\0{"


def _looks_like_torch(head: bytes) -> bool:
    """A zip archive, or a pickle of protocol 2 to 5 (a length of 640 starts the same, then 0)."""
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return head[:4] == b"PK\3\4" or (pickled and head[2:3] != b"\0")


_SIGNATURES = (
    ("gguf", lambda head: head[:4] in (b"GGUF", b"FUGG")),
    ("safetensors", _looks_like_safetensors),
    ("torch", _looks_like_torch),
)


def checked_elements(file: str, tensor: str, shape: tuple[int, ...]) -> int:
    """The product of `shape`, bounded. Raises FormatError on overflow of int64."""
    elements = 1
    for size in shape:
        elements *= size
        if elements > MAX_ELEMENTS:
            raise ShapeOverflow(
                file, f"shape {list(shape)[:8]} has too many elements", tensor=tensor
            )
    return elements


class ShapeOverflow(FormatError):
    """The product of a shape does not fit 63 bits."""
