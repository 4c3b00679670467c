"""Bytes of what pickles hide in: archives, arrays, and opcodes that no pickler writes.

From Python's pickletools, numpy's format description, POSIX tar and 7z's format description.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Mapping

from tests.builders.torch import Entry, text, zipped

PICKLERS = {number: b"\x80" + bytes([number]) for number in (2, 3, 4, 5)}
SYSTEM = ("os", "system")
TRUE = "true"  # what every attack here would run: nothing


def from_stack(module: str, name: str) -> bytes:
    """A global by STACK_GLOBAL."""
    return _short(module) + b"\x94" + _short(name) + b"\x94\x93"


def _short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def by_name(module: str, name: str) -> bytes:
    """A global by GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def runs(module: str = "os", name: str = "system", argument: str = TRUE) -> bytes:
    """A call with one text, as protocols 1 to 3 write it."""
    return by_name(module, name) + text(argument) + b"\x85R"


def protocol(number: int, module: str = "os", name: str = "system") -> bytes:
    """A whole pickle that calls something, as that protocol writes it."""
    if number == 0:
        return by_name(module, name) + b"(V" + TRUE.encode() + b"\ntR."
    if number == 1:
        return by_name(module, name) + b"(" + text(TRUE) + b"tR."
    if number < 4:
        return PICKLERS[number] + runs(module, name) + b"."
    body = from_stack(module, name) + _short(TRUE) + b"\x94\x85\x94R\x94."
    return PICKLERS[number] + b"\x95" + struct.pack("<Q", len(body)) + body


def npy(pickle: bytes | None, data: bytes = b"") -> bytes:
    """An array of objects, or of three float32 numbers."""
    kind = "|O" if pickle is not None else "<f4"
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (3,), }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + (pickle or data)


def npz(**arrays: bytes) -> bytes:
    return zipped([Entry(f"{name}.npy", data) for name, data in arrays.items()], align=0)


def packed(name: str, data: bytes, method: int) -> Entry:
    """A member of a zip archive in bzip2 (12) or LZMA (14)."""
    return Entry(name, data, method, packed=_PACKERS[method](data))


def _lzma(data: bytes) -> bytes:
    """APPNOTE 5.8.8: a version, the size of what describes the packing, that, and the data."""
    way = {"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}
    body = lzma.compress(data, lzma.FORMAT_RAW, filters=[way])
    return struct.pack("<2BHBL", 9, 4, 5, 2 * 45 + 3, 1 << 16) + body


_PACKERS = {12: bz2.compress, 14: _lzma}


def tar(members: Mapping[str, bytes]) -> bytes:
    """As POSIX's ustar has it."""
    return b"".join(_tarred(name, data) for name, data in members.items()) + bytes(1024)


def _tarred(name: str, data: bytes) -> bytes:
    def block(checksum: bytes) -> bytes:
        head = name.encode().ljust(100, b"\0") + b"0000644\0" * 3
        head += f"{len(data):011o}\0".encode() + b"00000000000\0" + checksum + b"0"
        return (head + bytes(100) + b"ustar\x0000").ljust(512, b"\0")

    summed = sum(block(b" " * 8))
    return block(f"{summed:06o}\0 ".encode()) + data + bytes(-len(data) % 512)


def old_torch(pickle: bytes, storages: bytes, tensors: bytes) -> bytes:
    """torch's tar file of 2016."""
    members = {"sys_info": b"\x80\x02}.", "pickle": pickle}
    return tar({"storages": storages, "tensors": tensors, **members})


def seven_z(name: str, data: bytes) -> bytes:
    """One stored file; name and data shorter than 128 bytes."""
    names = b"\0" + (name + "\0").encode("utf-16-le")
    size = bytes([len(data)])
    streams = b"\4\6\0\1\x09" + size + b"\0" + b"\7\x0b\1\0\1\1\0\x0c" + size + b"\0\0"
    header = b"\1" + streams + b"\5\1\x11" + bytes([len(names)]) + names + b"\0\0"
    start = struct.pack("<QQL", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(start)) + start + data + header


def gzipped(data: bytes) -> bytes:
    """By hand: what Python writes into the header differs from version to version."""
    engine = zlib.compressobj(0, zlib.DEFLATED, -15)
    packed = engine.compress(data) + engine.flush()
    end = struct.pack("<2L", zlib.crc32(data), len(data))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed + end
