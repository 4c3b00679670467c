"""Files in files: a part of one read as a file of its own, and how much may be unpacked."""

from __future__ import annotations

from modelscope_cli.errors import TruncatedFile
from modelscope_cli.sources.base import OpenFile

MAX_UNPACKED_BYTES = 64_000_000  # of one file, all its members together: half a second
MAX_MEMBERS = 20_000  # looked at in one file, archives in archives included
MAX_DEPTH = 4  # archives in archives


class Part:
    """Some bytes of a file, read like a file. Where they end behind its end, they end there."""

    def __init__(self, file: OpenFile, path: str, start: int, size: int) -> None:
        self.path = path
        self.size = max(0, min(size, file.size - start))
        self._file = file
        self._start = start

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises TruncatedFile."""
        if offset + length > self.size:
            raise TruncatedFile(self.path, f"needs {length:,} bytes at {offset:,}")
        return self._file.read_at(self._start + offset, length)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        """The whole file is closed by whoever opened it."""


class Budget:
    """What is left of what may be unpacked of a file; a bomb ends when nothing is.

    The same for a small file: what hides in padding packs well.
    """

    def __init__(self) -> None:
        self.bytes = MAX_UNPACKED_BYTES
        self.members = MAX_MEMBERS

    def take(self, count: int) -> None:
        """So many bytes were unpacked."""
        self.bytes -= count

    def member(self) -> bool:
        """Whether one more member may be looked at."""
        self.members -= 1
        return self.members >= 0


def start_of(file: OpenFile, most: int = 512) -> bytes:
    """The first bytes."""
    return file.read_at(0, min(file.size, most))
