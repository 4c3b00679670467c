"""Every member of a zip archive that some reader would open, whatever is wrong with it.

The readers differ: torch's takes flags and checksums as they come, Python's looks for data in
front of the archive. Neither's strictness may hide a member here. Layout: PKWARE's APPNOTE 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from modelscope_cli.formats.containers.parts import Part
from modelscope_cli.sources.base import OpenFile

MAX_DIRECTORY_BYTES = 50_000_000
MAX_ENDS = 4  # end records looked at: readers differ in which they take
TAIL_BYTES = 65_535 + 22 + 20 + 56
STORED = 0

_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_end = Struct("<4s4H2LH")
_locator64 = Struct("<4sLQL")
_end64 = Struct("<4sQ2H2L4Q")
_central = Struct("<4s6H3L5H2L")
_local = Struct("<4s5H3L2H")
_MAX32 = 0xFFFFFFFF
_ENCRYPTED = 0x1


class Member(NamedTuple):
    """One file of the archive, by its directory: `packed` bytes, in the way of `method`.

    `header` is where its local header should lie, `said` what the directory says of that: in an
    archive with something in front of it they differ.
    """

    name: str
    header: int
    said: int
    packed: int
    method: int
    encrypted: bool


def tail_of(file: OpenFile, most: int = TAIL_BYTES) -> bytes:
    """The last bytes, where an archive has its end record."""
    size = min(file.size, most)
    return file.read_at(file.size - size, size)


def has_directory(file: OpenFile) -> bool:
    """Whether some reader would take the file for an archive, whatever it starts with."""
    return any(_starts_with(file, start, _CENTRAL) for start, _, _ in _directories(file))


def _starts_with(file: OpenFile, at: int, signature: bytes) -> bool:
    there = 0 <= at <= file.size - len(signature)
    return there and file.read_at(at, len(signature)) == signature


def members(file: OpenFile) -> Iterator[Member]:
    """The members that any of the directories names, each once; without one, those in a row."""
    seen: set[int] = set()
    for start, size, shift in dict.fromkeys(_directories(file)):
        for name, header, packed, method, flags in _entries(file, start, size):
            if header + shift not in seen:
                seen.add(header + shift)
                encrypted = bool(flags & _ENCRYPTED)
                yield Member(name, header + shift, header, packed, method, encrypted)
    if not seen:
        yield from in_a_row(file)


def _directories(file: OpenFile) -> Iterator[tuple[int, int, int]]:
    """Start and size of each directory, and by how much positions are off."""
    tail = tail_of(file)
    offset, at = file.size - len(tail), len(tail)
    for _ in range(MAX_ENDS):
        at = tail.rfind(_END, 0, at)
        if at < 0:
            return
        if at + _end.size > len(tail):
            continue
        *_, size, start, _ = _end.unpack_from(tail, at)
        yield from _places(offset + at, size, start)
        for wide, size64, start64 in _wide(file, offset + at):
            yield from _places(wide, size, start)
            yield from _places(wide, size64, start64)


def _places(end: int, size: int, start: int) -> Iterator[tuple[int, int, int]]:
    """As the record says, and as it is where something was put in front of the archive."""
    yield start, size, 0
    if 0 <= end - size != start:
        yield end - size, size, end - size - start


def _wide(file: OpenFile, end: int) -> Iterator[tuple[int, int, int]]:
    """Where the 64-bit end record lies, and the size and start of the directory it names.

    It lies where the locator in front of the end says, or right in front of the locator: what
    was put in front of the archive has moved it.
    """
    locator = end - _locator64.size
    if not _starts_with(file, locator, b"PK\6\7"):
        return
    said = _locator64.unpack(file.read_at(locator, _locator64.size))[2]
    for position in dict.fromkeys((said, locator - _end64.size)):
        if position <= file.size - _end64.size and _starts_with(file, position, b"PK\6\6"):
            record = _end64.unpack(file.read_at(position, _end64.size))
            yield position, record[8], record[9]


def _entries(file: OpenFile, start: int, size: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Name, position, bytes, method and flags of each entry of a directory."""
    size = min(size, file.size - start, MAX_DIRECTORY_BYTES)
    data = file.read_at(start, size) if size > 0 else b""
    at = 0
    while at + _central.size <= len(data) and data[at : at + 4] == _CENTRAL:
        (_, _, _, flags, method, _, _, _, packed, unpacked, name_size, extra_size, comment_size,
         *_, header) = _central.unpack_from(data, at)  # fmt: skip
        name_end = at + _central.size + name_size
        name = data[at + _central.size : name_end].decode("utf-8", "replace")
        if _MAX32 in (packed, unpacked, header):
            extra = data[name_end : name_end + extra_size]
            unpacked, packed, header = _sizes64(extra, (unpacked, packed, header))
        most = max(packed, unpacked) if method == STORED else packed
        yield name, header, most, method, flags
        at = name_end + extra_size + comment_size


def _sizes64(extra: bytes, fields: tuple[int, int, int]) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = extra[at] | extra[at + 1] << 8, extra[at + 2] | extra[at + 3] << 8
        if kind == 1:
            body = extra[at + 4 : at + 4 + length]
            wide = iter([int.from_bytes(body[i : i + 8], "little") for i in range(0, length, 8)])
            values = [next(wide, each) if each == _MAX32 else each for each in fields]
            return values[0], values[1], values[2]
        at += 4 + length
    return fields


def data_of(file: OpenFile, member: Member) -> Part | None:
    """A member's bytes as they lie there; None where none lie where the directory says."""
    places = (at for at in (member.header, member.said) if _starts_with(file, at, _LOCAL))
    at = next(places, file.size)
    if at > file.size - _local.size:
        return None
    local = _local.unpack(file.read_at(at, _local.size))
    start = at + _local.size + local[-2] + local[-1]
    return Part(file, file.path, start, member.packed) if start < file.size else None


def in_a_row(file: OpenFile) -> Iterator[Member]:
    """Members by their local headers alone: an archive that lost its end."""
    at = 0
    while at + _local.size <= file.size:
        local = _local.unpack(file.read_at(at, _local.size))
        signature, _, flags, method, _, _, _, packed, unpacked, name_size, extra_size = local
        if signature != _LOCAL:
            return
        start = at + _local.size + name_size + extra_size
        if start > file.size:
            return
        name = file.read_at(at + _local.size, name_size).decode("utf-8", "replace")
        streamed = bool(flags & 8) and not packed  # its size is behind it: to the end, then
        size = file.size - start if streamed else packed
        if method == STORED and not streamed:
            size = max(packed, unpacked)
        yield Member(name, at, at, size, method, bool(flags & _ENCRYPTED))
        if streamed:
            return
        at = start + packed
