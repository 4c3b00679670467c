"""Compressed data, unpacked as far as is allowed: gzip, zlib, bzip2, xz, and zip's deflate.

Checksums are not looked at: what loads a model often does not either. What came out before an
error is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from modelscope_cli.sources.base import OpenFile

_PIECE_BYTES = 65_536
_DICTIONARY_BYTES = 64_000_000  # xz may ask for 4 GiB


class Unpacked(NamedTuple):
    """What came out; `cut` where there would have been more than was allowed."""

    data: bytes
    cut: bool


class _Engine(Protocol):
    """What zlib's, bz2's and lzma's have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, most: int, /) -> bytes: ...


def _deflate() -> _Engine:
    import zlib

    return zlib.decompressobj(-zlib.MAX_WBITS)


def _zlib() -> _Engine:
    import zlib

    return zlib.decompressobj(32 + zlib.MAX_WBITS)  # either header, zlib's or gzip's


def _bzip2() -> _Engine:
    import bz2

    return bz2.BZ2Decompressor()


def _lzma() -> _Engine:
    import lzma

    return lzma.LZMADecompressor(memlimit=_DICTIONARY_BYTES)


_KINDS: tuple[tuple[tuple[bytes, ...], str, Callable[[], _Engine] | None], ...] = (
    ((b"\x1f\x8b",), "gzip", _zlib),
    ((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), "zlib", _zlib),
    ((b"BZh",), "bzip2", _bzip2),
    ((b"\xfd7zXZ\0", b"\x5d\0\0"), "xz", _lzma),
    ((b"\x28\xb5\x2f\xfd",), "zstd", None),
    ((b"\x04\x22\x4d\x18",), "lz4", None),
)


def kind_of(head: bytes) -> str | None:
    """By its first bytes, in what way a file is compressed."""
    return next((kind for starts, kind, _ in _KINDS if head.startswith(starts)), None)


def unpack(file: OpenFile, kind: str, most: int) -> Unpacked | None:
    """At most so many bytes of it; None for what Python has no module for."""
    engine = next(make for _, name, make in _KINDS if name == kind)
    return None if engine is None else _unpacked(file, engine(), most)


def inflate(file: OpenFile, most: int) -> Unpacked:
    """The same of a deflated member of a zip archive."""
    return _unpacked(file, _deflate(), most)


def _unpacked(file: OpenFile, engine: _Engine, most: int) -> Unpacked:
    out: list[bytes] = []
    left, at = most, 0
    try:
        while at < file.size and not engine.eof and left > 0:  # 0 means no limit to zlib
            size = min(_PIECE_BYTES, file.size - at)
            made = _step(engine, file.read_at(at, size), left)
            at += size
            left -= len(made)
            out.append(made)
    except _errors():
        return Unpacked(b"".join(out), False)
    return Unpacked(b"".join(out), left <= 0 and not engine.eof and file.size > 0)


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

    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
