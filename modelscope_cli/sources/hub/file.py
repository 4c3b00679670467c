"""One file of the Hub: the bytes asked for so far, and range requests for more."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from types import TracebackType

from modelscope_cli.errors import TruncatedFile

AHEAD_BYTES = 65_536  # read beyond what is needed where a file is read piece by piece
_LARGEST_AHEAD = 16_777_216
_GROWTH = 8
_READ_ON = (".gguf", ".bin", ".pt", ".pth", ".ckpt")  # headers whose length is not known before

Fetch = Callable[[int, int], bytes]  # offset, length


class Pieces:
    """Bytes of one file by where they start; threads may add to it."""

    def __init__(self, path: str, size: int, known: Mapping[int, bytes] | None = None) -> None:
        self.path = path
        self.size = size
        self.known = dict(known or {})
        self.used: dict[int, int] = {}  # how much of each piece a reader wanted
        self.lock = threading.Lock()

    def add(self, start: int, data: bytes) -> None:
        """Take in bytes that were read."""
        with self.lock:
            if len(data) > len(self.known.get(start, b"")):
                self.known[start] = data

    def find(self, offset: int, length: int) -> bytes | None:
        """The bytes where one piece has them all."""
        for start, data in self.known.items():
            if start <= offset and offset + length <= start + len(data):
                self.used[start] = max(self.used.get(start, 0), offset + length - start)
                return data[offset - start : offset - start + length]
        return None

    def end_of(self, offset: int) -> tuple[int, int]:
        """Where the piece that `offset` lies in, or goes on with, starts and ends."""
        starts = sorted(self.known)
        at = bisect_right(starts, offset) - 1
        if at >= 0 and (end := starts[at] + len(self.known[starts[at]])) >= offset:
            return starts[at], end
        return offset, offset

    def trim(self) -> None:
        """Let go what no reader wanted."""
        with self.lock:
            self.known = self.kept()

    def kept(self) -> dict[int, bytes]:
        """What a reader wanted: worth keeping on disk."""
        return {start: self.known[start][:used] for start, used in self.used.items()}


class HubFile:
    """A file opened for reading; what is not known yet is fetched."""

    def __init__(self, pieces: Pieces, fetch: Fetch) -> None:
        self.path = pieces.path
        self.size = pieces.size
        self._pieces = pieces
        self._fetch = fetch

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises TruncatedFile, NotFound, NetworkTrouble."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise TruncatedFile(
                self.path, f"needs {length:,} bytes, the file has {self.size:,}", offset=offset
            )
        found = self._pieces.find(offset, length)
        return found if found is not None else self._read_on(offset, length)

    def _read_on(self, offset: int, length: int) -> bytes:
        start, end = self._pieces.end_of(offset)
        have = end - start
        wanted = offset + length - end
        if self.path.lower().endswith(_READ_ON):
            wanted = max(wanted, min(max(have * _GROWTH, AHEAD_BYTES), _LARGEST_AHEAD))
        more = self._fetch(end, min(wanted, self.size - end))
        before = self._pieces.known[start] if have else b""
        self._pieces.add(start, before + more)
        found = self._pieces.find(offset, length)
        if found is None:
            raise TruncatedFile(self.path, "the Hub sent fewer bytes than it promised")
        return found

    def __enter__(self) -> HubFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.path.lower().endswith(".gguf"):  # up to 8 MB too many, of each of many files
            self._pieces.trim()
