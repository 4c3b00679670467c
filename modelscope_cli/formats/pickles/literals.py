"""What the opcodes of constants, numbers, strings and bytes do to the symbolic machine."""

from __future__ import annotations

from codecs import escape_decode
from struct import Struct
from typing import TYPE_CHECKING

from modelscope_cli.formats.pickles.errors import IntegerTooLarge, TruncatedPickle
from modelscope_cli.formats.pickles.nodes import BLOB_HEAD_BYTES, Blob
from modelscope_cli.formats.pickles.opcodes import (
    MAX_NUMBER_CHARACTERS,
    decimal,
    line,
    opcode,
    uint4,
    uint8,
)

if TYPE_CHECKING:
    from modelscope_cli.formats.pickles.walk import Machine

MAX_INTEGER_BYTES = 1_024

_int4 = Struct("<i").unpack_from
_uint2 = Struct("<H").unpack_from
_double = Struct(">d").unpack_from


def _constant(code: bytes, value: object) -> None:
    def push(m: Machine, pos: int) -> int:
        m.stack.append(value)
        return pos

    opcode(code)(push)


for _code, _value in ((b"N", None), (b"\x88", True), (b"\x89", False), (b")", ())):
    _constant(_code, _value)


@opcode(b"K", 1)
def _binint1(m: Machine, pos: int) -> int:
    m.stack.append(m.data[pos])
    return pos + 1


@opcode(b"M", 2)
def _binint2(m: Machine, pos: int) -> int:
    m.stack.append(_uint2(m.data, pos)[0])
    return pos + 2


@opcode(b"J", 4)
def _binint(m: Machine, pos: int) -> int:
    m.stack.append(_int4(m.data, pos)[0])
    return pos + 4


@opcode(b"G", 8)
def _binfloat(m: Machine, pos: int) -> int:
    m.stack.append(_double(m.data, pos)[0])
    return pos + 8


@opcode(b"\x8a", 1)
def _long1(m: Machine, pos: int) -> int:
    return _long(m, pos + 1, m.data[pos])


@opcode(b"\x8b", 4)
def _long4(m: Machine, pos: int) -> int:
    size = _int4(m.data, pos)[0]
    if size < 0:
        raise ValueError("has a negative length")
    if size > MAX_INTEGER_BYTES:
        raise m.error(IntegerTooLarge, f"an integer of {size:,} bytes", pos - 1)
    return _long(m, pos + 4, size)


def _long(m: Machine, pos: int, size: int) -> int:
    end = _end_of(m, pos, size)
    m.stack.append(int.from_bytes(m.data[pos:end], "little", signed=True))
    return end


@opcode(b"I")
def _int(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    m.stack.append(text == b"01" if text in (b"00", b"01") else decimal(text))
    return pos


@opcode(b"L")
def _long_text(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    m.stack.append(decimal(text.removesuffix(b"L")))
    return pos


@opcode(b"F")
def _float(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    m.stack.append(float(text[:MAX_NUMBER_CHARACTERS]))
    return pos


# Strings and bytes


def _end_of(m: Machine, start: int, size: int) -> int:
    if size > m.end - start:
        left = max(m.end - start, 0)
        raise m.error(TruncatedPickle, f"{size:,} bytes are announced, {left:,} are left", start)
    return start + size


def _unicode(m: Machine, start: int, size: int) -> int:
    end = start + size
    if end > m.end:
        _end_of(m, start, size)
    m.stack.append(str(m.data[start:end], "utf-8", "surrogatepass"))
    return end


@opcode(b"X", 4)
def _binunicode(m: Machine, pos: int) -> int:
    return _unicode(m, pos + 4, uint4(m.data, pos)[0])


@opcode(b"\x8c", 1)
def _short_binunicode(m: Machine, pos: int) -> int:
    return _unicode(m, pos + 1, m.data[pos])


@opcode(b"\x8d", 8)
def _binunicode8(m: Machine, pos: int) -> int:
    return _unicode(m, pos + 8, uint8(m.data, pos)[0])


@opcode(b"V")
def _unicode_line(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    m.stack.append(str(text, "raw-unicode-escape"))
    return pos


def _python2_string(data: bytes) -> str:
    """A Python 2 str. torch.load reads it as UTF-8, which fails where it was none."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "latin-1")


@opcode(b"U", 1)
def _short_binstring(m: Machine, pos: int) -> int:
    end = _end_of(m, pos + 1, m.data[pos])
    m.stack.append(_python2_string(m.data[pos + 1 : end]))
    return end


@opcode(b"T", 4)
def _binstring(m: Machine, pos: int) -> int:
    size = _int4(m.data, pos)[0]
    if size < 0:
        raise ValueError("has a negative length")
    end = _end_of(m, pos + 4, size)
    m.stack.append(_python2_string(m.data[pos + 4 : end]))
    return end


@opcode(b"S")
def _string_line(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("has a string without quotes")
    m.stack.append(_python2_string(escape_decode(text[1:-1])[0]))
    return pos


def _bytes(m: Machine, start: int, size: int) -> int:
    end = _end_of(m, start, size)
    m.stack.append(Blob(start, size, m.data[start : min(end, start + BLOB_HEAD_BYTES)]))
    return end


@opcode(b"C", 1)
def _short_binbytes(m: Machine, pos: int) -> int:
    return _bytes(m, pos + 1, m.data[pos])


@opcode(b"B", 4)
def _binbytes(m: Machine, pos: int) -> int:
    return _bytes(m, pos + 4, uint4(m.data, pos)[0])


@opcode(b"\x8e", 8)
def _binbytes8(m: Machine, pos: int) -> int:
    return _bytes(m, pos + 8, uint8(m.data, pos)[0])


opcode(b"\x96", 8)(_binbytes8)  # BYTEARRAY8
