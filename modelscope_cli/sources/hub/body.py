"""An answer's body as it comes in: given up where it only drips, and unpacked bit by bit."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from modelscope_cli.sources.hub.retry import NoAnswer

LEAST_RATE = 4_000  # bytes a second that the answers under way bring together; a modem brings 5,000
_UNPACKED_AT_ONCE = 1_048_576
_GZIP = 31  # zlib's number for a gzip stream


class Pace:
    """Tells a slow link from an answer that will not end; threads may share it.

    A time-out of each read lets a byte now and then pass for ever: in every `window` of seconds
    an answer has to bring its share of `LEAST_RATE`.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._under_way = 0
        self._lock = threading.Lock()

    @contextmanager
    def watching(self, pieces: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
        """The same pieces, which raise NoAnswer where they come too slowly."""
        self._count(1)
        try:
            yield self._watched(pieces)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._under_way += more

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        since, came = monotonic(), 0
        for piece in pieces:
            came += len(piece)
            passed = monotonic() - since
            if passed >= self._window:
                share = LEAST_RATE / max(1, self._under_way)
                if came < share * passed:
                    raise NoAnswer("slow", f"{came / passed:,.0f} bytes a second")
                since, came = since + passed, 0
            yield piece


def unpacked(pieces: Iterator[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """The body itself; a compressed one is unpacked no further than it is asked for."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip"):
        raise NoAnswer("other", f"an answer in the encoding {encoding}, which was not asked for")
    engine = zlib.decompressobj(_GZIP)
    for piece in pieces:
        while piece:
            try:
                yield engine.decompress(piece, _UNPACKED_AT_ONCE)
            except zlib.error as error:
                raise NoAnswer("broken", f"its compression is damaged: {error}") from error
            piece = engine.unconsumed_tail
    if not engine.eof:
        raise NoAnswer("broken", "its compressed body ends early")
