"""Compressed data, unpacked as far as is allowed: gzip, zlib, bzip2, xz, and zip's own ways.

Checksums are not looked at: what loads a model often does not either. What came out before an
error is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from modelscope_cli.errors import FormatError
from modelscope_cli.sources.base import OpenFile

_PIECE_BYTES = 65_536
_DICTIONARY_BYTES = 64_000_000  # xz may ask for 4 GiB
_BZIP2_BLOCK_BYTES = 900_000
MAX_STREAMS = 5_000  # in a row: bgzip's are of 64 KiB


class Unpacked(NamedTuple):
    """What came out; `cut` where there would have been more than was allowed."""

    data: bytes
    cut: bool


class _Engine(Protocol):
    """What zlib's, bz2's and lzma's have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, most: int, /) -> bytes: ...


def _deflate(_file: OpenFile) -> tuple[_Engine, int]:
    import zlib

    return zlib.decompressobj(-zlib.MAX_WBITS), 0


def _zlib(_file: OpenFile) -> tuple[_Engine, int]:
    import zlib

    return zlib.decompressobj(32 + zlib.MAX_WBITS), 0  # either header, zlib's or gzip's


def _bzip2(_file: OpenFile) -> tuple[_Engine, int]:
    import bz2

    return bz2.BZ2Decompressor(), 0


def _lzma(_file: OpenFile) -> tuple[_Engine, int]:
    import lzma

    return lzma.LZMADecompressor(memlimit=_DICTIONARY_BYTES), 0


def _lzma_of_zip(file: OpenFile) -> tuple[_Engine, int]:
    """Two bytes of version, how many follow, and of these how it is packed (APPNOTE 5.8.8)."""
    import lzma

    head = file.read_at(0, 9)
    parameters: dict[str, Any] = {
        "id": lzma.FILTER_LZMA1,
        "lc": head[4] % 9,
        "lp": head[4] // 9 % 5,
        "pb": head[4] // 45,
        "dict_size": min(max(int.from_bytes(head[5:], "little"), 4_096), _DICTIONARY_BYTES),
    }
    engine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[parameters])
    return engine, 4 + int.from_bytes(head[2:4], "little")


class Packing(NamedTuple):
    """A way to pack bytes: what unpacks it, and where in the file it begins.

    None for what Python has no module for. `block_bytes` are unpacked at once, however few are
    asked for; `in_a_row`: readers take streams behind each other for one.
    """

    name: str
    engine: Callable[[OpenFile], tuple[_Engine, int]] | None
    block_bytes: int = 0
    in_a_row: bool = True


_KINDS: tuple[tuple[tuple[bytes, ...], Packing], ...] = (
    ((b"\x1f\x8b",), Packing("gzip", _zlib)),
    ((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), Packing("zlib", _zlib)),
    ((b"BZh",), Packing("bzip2", _bzip2, _BZIP2_BLOCK_BYTES)),
    ((b"\xfd7zXZ\0", b"\x5d\0\0"), Packing("xz", _lzma)),
    ((b"\x28\xb5\x2f\xfd",), Packing("zstd", None)),
    ((b"\x04\x22\x4d\x18",), Packing("lz4", None)),
)
_METHODS = {
    8: Packing("deflate", _deflate, in_a_row=False),
    12: Packing("bzip2", _bzip2, _BZIP2_BLOCK_BYTES, in_a_row=False),
    14: Packing("lzma", _lzma_of_zip, in_a_row=False),
}


def kind_of(head: bytes) -> Packing | None:
    """By its first bytes, in what way a file is compressed."""
    return next((kind for starts, kind in _KINDS if head.startswith(starts)), None)


def of_zip(method: int) -> Packing:
    """In what way a member of a zip archive is compressed."""
    return _METHODS.get(method, Packing(f"method {method} of zip", None))


def unpack(file: OpenFile, packing: Packing, most: int) -> Unpacked:
    """At most so many bytes of it; none, and `cut`, where Python has no module for it."""
    out: list[bytes] = []
    try:
        cut = _fill(out, file, packing, most)
    except _errors():
        cut = False
    return Unpacked(b"".join(out), cut)


def _fill(out: list[bytes], file: OpenFile, packing: Packing, most: int) -> bool:
    """Append what comes out; whether there would have been more."""
    if packing.engine is None:
        return True
    engine, start = packing.engine(file)
    packed = _Packed(file, start)
    left, streams = most, 1
    while left > 0:  # 0 means no limit to zlib
        if engine.eof:
            if not (packing.in_a_row and packed.goes_on(engine.unused_data)):
                return False
            if streams == MAX_STREAMS:
                return True
            engine, _ = packing.engine(file)
            streams += 1
        piece = packed.piece()
        if not piece:
            return False
        made = _step(engine, piece, left)
        left -= len(made)
        out.append(made)
    return not engine.eof or (packing.in_a_row and packed.goes_on(engine.unused_data))


class _Packed:
    """The packed bytes, piece by piece; what one stream leaves is the next one's."""

    def __init__(self, file: OpenFile, start: int) -> None:
        self.file = file
        self.at = start
        self.rest = b""

    def piece(self) -> bytes:
        """The next bytes; none at the end."""
        piece, self.rest = self.rest, b""
        if not piece and self.at < self.file.size:
            size = min(_PIECE_BYTES, self.file.size - self.at)
            piece = self.file.read_at(self.at, size)
            self.at += size
        return piece

    def goes_on(self, unused: bytes) -> bool:
        """Whether anything but zeros is behind the end of a stream."""
        self.rest = unused.lstrip(b"\0")
        while not self.rest and self.at < self.file.size:
            self.rest = self.piece().lstrip(b"\0")
        return bool(self.rest)


def _step(engine: _Engine, piece: bytes, most: int) -> bytes:
    """All that one piece gives. zlib hands back what it has not used, the others keep it."""
    made = engine.decompress(piece, most)
    while len(made) < most and not engine.eof:
        rest = getattr(engine, "unconsumed_tail", b"")
        if not rest and getattr(engine, "needs_input", True):
            break
        made += engine.decompress(rest, most - len(made))
    return made


def _errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, FormatError)
