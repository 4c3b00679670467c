"""Bytes of torch files: pickles put together opcode by opcode, zip archives and legacy files.

From Python's pickletools, PKWARE's APPNOTE and torch.serialization; nothing of ours is used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MAGIC = 0x1950A86A20F9469CFC6C
PROTO2 = b"\x80\x02"
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
MARK, STOP, REDUCE, NEWOBJ, BUILD, PERSID, POP = b"(", b".", b"R", b"\x81", b"b", b"Q", b"0"


# Pickles


def text(value: str | bytes) -> bytes:
    """A string, as protocols 1 to 4 write it."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def python2_text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return long(value)


def long(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def floating(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


def name(dotted: str) -> bytes:
    """A global: `torch._utils._rebuild_tensor_v2`."""
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def several(*items: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(items) + b"t"


def sequence(*items: bytes) -> bytes:
    """A list."""
    return b"]" + MARK + b"".join(items) + b"e"


def mapping(items: Mapping[str, bytes] | Iterable[tuple[bytes, bytes]]) -> bytes:
    """A dict; string keys, or pickled ones as pairs."""
    return b"}" + _items(items)


def ordered(items: Mapping[str, bytes] | Iterable[tuple[bytes, bytes]]) -> bytes:
    """An OrderedDict."""
    return name("collections.OrderedDict") + b")R" + _items(items)


def _items(items: Mapping[str, bytes] | Iterable[tuple[bytes, bytes]]) -> bytes:
    if isinstance(items, Mapping):
        items = [(text(key), value) for key, value in items.items()]
    return MARK + b"".join(key + value for key, value in items) + b"u"


def call(dotted: str, *args: bytes) -> bytes:
    return name(dotted) + several(*args) + REDUCE


def made(dotted: str, state: Mapping[str, bytes]) -> bytes:
    """An object of a class, with attributes."""
    return name(dotted) + b")" + NEWOBJ + mapping(state) + BUILD


def put(value: bytes, slot: int) -> bytes:
    return value + b"q" + bytes([slot])


def get(slot: int) -> bytes:
    return b"h" + bytes([slot])


def storage(
    key: str = "0",
    elements: int = 6,
    kind: str = "torch.FloatStorage",
    *more: bytes,
    location: str = "cpu",
) -> bytes:
    """A storage, by its persistent id. Legacy files have a view or None behind it."""
    return (
        several(text("storage"), name(kind), text(key), text(location), integer(elements), *more)
        + PERSID
    )


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    stride = [1]
    for size in reversed(shape[1:]):
        stride.insert(0, stride[0] * size)
    return tuple(stride[: len(shape)])


def sizes(values: Sequence[int]) -> bytes:
    return several(*map(integer, values))


def tensor(
    shape: Sequence[int] = (2, 3),
    stored: bytes | None = None,
    *,
    offset: int = 0,
    stride: Sequence[int] | None = None,
) -> bytes:
    """A float32 tensor of storage "0", unless said otherwise."""
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage() if stored is None else stored,
        integer(offset),
        sizes(shape),
        sizes(contiguous(shape) if stride is None else stride),
        FALSE,
        ordered({}),
    )


def pickled(value: bytes) -> bytes:
    """A whole pickle of protocol 2."""
    return PROTO2 + value + STOP


# Zip archives


class Entry(NamedTuple):
    """One entry; what the directory or the local header says wrongly may be given."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0x808  # UTF-8, and a data descriptor behind the data, as torch writes
    packed: bytes | None = None
    size: int | None = None
    local_name: str | None = None
    header: int | None = None
    extra: bytes = b""
    signature: bytes = b"PK\3\4"
    local_extra_size: int | None = None


def deflated(name_: str, data: bytes, **changes: object) -> Entry:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(data) + engine.flush()
    return Entry(name_, data, 8, packed=packed)._replace(**changes)  # type: ignore[arg-type]


def zipped(
    entries: Iterable[Entry],
    *,
    align: int = 64,
    count: int | None = None,
    start: int | None = None,
    disk: int = 0,
    behind_directory: bytes = b"",
    wide: bool = False,
) -> bytes:
    """A zip archive packed as torch does: each entry's data at a multiple of 64.

    `wide`: with the 64-bit end record and its locator, as torch writes them.
    """
    body, directory = b"", b""
    entries = list(entries)
    for entry in entries:
        header = len(body)
        local, central = _headers(entry, header, align)
        packed = entry.data if entry.packed is None else entry.packed
        body += local + packed
        if entry.flags & 8:
            body += b"PK\7\x08" + struct.pack("<3L", zlib.crc32(entry.data), len(packed),
                                              len(entry.data))  # fmt: skip
        directory += central
    directory += behind_directory
    count = len(entries) if count is None else count
    start = len(body) if start is None else start
    end = struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, count, count, len(directory), start, 0)
    if wide:
        end = _wide_end(count, len(directory), start) + end
    return body + directory + end


def _wide_end(count: int, size: int, start: int) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 30, 45, 0, 0, count, count, size, start)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)


def _headers(entry: Entry, header: int, align: int) -> tuple[bytes, bytes]:
    packed = len(entry.data if entry.packed is None else entry.packed)
    size = len(entry.data) if entry.size is None else entry.size
    central_packed = size if entry.method == 0 and entry.packed is None else packed
    name_ = entry.name.encode()
    local_name = (entry.local_name or entry.name).encode()
    crc = zlib.crc32(entry.data)
    start = header + 30 + len(local_name) + 4
    padding = b"FB" + struct.pack("<H", -start % align) + b"Z" * (-start % align) if align else b""
    common = struct.pack("<3H3L", entry.method, 0, 0, crc, central_packed, size)
    extra_size = len(padding) if entry.local_extra_size is None else entry.local_extra_size
    local = struct.pack("<4s2H", entry.signature, 20, entry.flags) + common
    local += struct.pack("<2H", len(local_name), extra_size) + local_name + padding
    where = header if entry.header is None else entry.header
    central = struct.pack("<4s3H", b"PK\1\2", 20, 20, entry.flags) + common
    central += struct.pack("<5H2L", len(name_), len(entry.extra), 0, 0, 0, 0, where)
    return local, central + name_ + entry.extra


def archive(
    pickle: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    root: str = "archive",
    byteorder: bytes | None = b"little",
    more: Iterable[Entry] = (),
    align: int = 64,
    wide: bool = False,
) -> bytes:
    """A file as torch.save writes it; by default one storage "0" of 24 bytes."""
    storages = {"0": bytes(24)} if storages is None else storages
    records = [Entry(f"{root}/data.pkl", pickle)]
    if byteorder is not None:
        records.append(Entry(f"{root}/byteorder", byteorder))
    records += [Entry(f"{root}/data/{key}", data) for key, data in storages.items()]
    records += [Entry(f"{root}/version", b"3\n"), *more]
    return zipped(records, align=align, wide=wide)


# Legacy files


def legacy_storage(
    key: str = "0", elements: int = 6, kind: str = "torch.FloatStorage", view: bytes = NONE
) -> bytes:
    return storage(key, elements, kind, view)


class Stored(NamedTuple):
    """One storage's place at the end of a legacy file."""

    key: str
    data: bytes = bytes(24)
    elements: int = 6


SYSTEM = mapping(
    {
        "protocol_version": integer(1001),
        "little_endian": TRUE,
        "type_sizes": mapping({"short": integer(2), "int": integer(4), "long": integer(4)}),
    }
)


def legacy(
    value: bytes,
    storages: Iterable[Stored] = (Stored("0"),),
    *,
    version: int = 1001,
    keys: bytes | None = None,
) -> bytes:
    """A file as torch.save wrote it before 1.6."""
    storages = list(storages)
    listed = sequence(*(text(stored.key) for stored in storages)) if keys is None else keys
    pickles = (long(MAGIC), integer(version), SYSTEM, value, listed)
    data = b"".join(struct.pack("<q", stored.elements) + stored.data for stored in storages)
    return b"".join(map(pickled, pickles)) + data
