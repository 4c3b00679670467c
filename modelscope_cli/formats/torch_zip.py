"""The zip archive of a torch file: its directory, and where each entry's bytes start.

Read here and not with the standard library: that costs 15 ms to import, and accepts what
torch's reader does not (data in front of the archive, names twice). Layout: PKWARE's
APPNOTE 4.3; how torch aligns storages: PyTorchStreamWriter in caffe2/serialize.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct
from typing import NamedTuple

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.base import MAX_HEADER_BYTES
from modelscope_cli.sources.base import OpenFile

MAX_ENTRIES = 500_000
MAX_RECORD_BYTES = 64  # byteorder, version and their like hold a word
# A compressed pickle may be this large, or this many times its compressed size.
FREE_INFLATED_BYTES = 1_000_000
MAX_INFLATION = 50

_LOCAL = b"PK\3\4"
_CENTRAL = b"PK\1\2"
_END = b"PK\5\6"
_END64 = b"PK\6\6"
_LOCATOR64 = b"PK\6\7"

_end = Struct("<4s4H2LH")
_locator64 = Struct("<4sLQL")
_end64 = Struct("<4sQ2H2L4Q")
_central = Struct("<4s6H3L5H2L")
_local = Struct("<4s5H3L2H")
_u64 = Struct("<Q")

_TAIL_BYTES = 65_535 + _end.size + _locator64.size + _end64.size
_SPARE_LOCAL_BYTES = 160  # torch pads a local header by up to 64 bytes, and zip64 takes 24
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR = 0x1, 0x8
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


class ZipDirectoryMissing(TruncatedFile):
    """A zip archive without its end: most likely a download that broke off."""


class ZipDirectoryBroken(FormatError):
    """The archive's directory contradicts itself or the file."""


class TooManyEntries(FormatError):
    """More entries than the largest checkpoint has storages."""


class DuplicateEntry(FormatError):
    """Two entries of the archive have the same name."""


class EntriesOverlap(FormatError):
    """Two entries of the archive share bytes, or one reaches into the directory."""


class EncryptedEntry(FormatError):
    """An entry of the archive is encrypted."""


class UnsupportedCompression(FormatError):
    """An entry is compressed in another way than deflate."""


class LocalHeaderMismatch(FormatError):
    """What stands in front of an entry's data is not what the directory says of it."""


class EntryTooLarge(FormatError):
    """An entry that has to be read whole is larger than any real one, or inflates like a bomb."""


class InflateError(FormatError):
    """Compressed data that is damaged, or of another size than the directory says."""


class Entry(NamedTuple):
    """One file of the archive, as the directory tells it."""

    name: bytes
    header: int  # position of the local header
    packed: int  # bytes in the archive
    size: int  # bytes as they were
    method: int
    flags: int


class Archive:
    """The directory of one zip archive."""

    def __init__(self, file: OpenFile, entries: dict[bytes, Entry], directory: range) -> None:
        self.file = file
        self.entries = entries
        self.directory = directory
        first = next(iter(entries), b"")
        self.root = first.partition(b"/")[0] if b"/" in first else b""
        self._headers: list[int] | None = None

    def find(self, name: str) -> Entry | None:
        """The entry `<root>/<name>`."""
        return self.entries.get(self.root + b"/" + name.encode("utf-8", "surrogatepass"))

    def text(self, name: str) -> str | None:
        """A record of one word, such as `byteorder`; None where it is not there."""
        entry = self.find(name)
        if entry is None or entry.size > MAX_RECORD_BYTES:
            return None
        return self.read(entry)[0].decode("ascii", "replace").strip()

    def read(self, entry: Entry) -> tuple[bytes, int | None]:
        """An entry's bytes, and where they lie in the file (None: compressed). Bounded."""
        name = _shown(entry.name)
        if max(entry.size, entry.packed) > MAX_HEADER_BYTES:
            what = f"entry {name} has {entry.size:,} bytes, more than any header"
            raise EntryTooLarge(self.file.path, what)
        spare = entry.header + _local.size + len(entry.name) + _SPARE_LOCAL_BYTES + entry.packed
        data = self.file.read_at(entry.header, min(spare, self.directory.start) - entry.header)
        start = self._after_header(entry, data)
        packed = data[start : start + entry.packed]
        if len(packed) < entry.packed:  # a local header with more in it than torch writes
            packed = self.file.read_at(entry.header + start, entry.packed)
        if entry.method == _STORED:
            return packed, entry.header + start
        return self._inflate(entry, packed), None

    def _inflate(self, entry: Entry, packed: bytes) -> bytes:
        import zlib  # torch stores its pickles: seldom needed

        name, path = _shown(entry.name), self.file.path
        if entry.size > max(FREE_INFLATED_BYTES, MAX_INFLATION * entry.packed):
            what = f"entry {name} inflates from {entry.packed:,} to {entry.size:,} bytes"
            raise EntryTooLarge(path, what)
        try:
            engine = zlib.decompressobj(-zlib.MAX_WBITS)
            data = engine.decompress(packed, entry.size + 1)
        except zlib.error as error:
            raise InflateError(path, f"entry {name} is damaged: {error}") from error
        if len(data) != entry.size or not engine.eof:
            raise InflateError(path, f"entry {name} does not inflate to {entry.size:,} bytes")
        return data

    def data_start(self, entry: Entry) -> int | None:
        """Where a stored entry's bytes start in the file; None where it is compressed.

        As torch packs an archive, data starts at a multiple of 64 and ends where the next
        header begins: then nothing is read. Anything else asks the entry's local header.
        """
        if entry.method != _STORED:
            return None
        start = self._boundary_after(entry) - entry.size - _descriptor_bytes(entry)
        padding = start - (entry.header + _local.size + len(entry.name))
        if start % 64 == 0 and 0 <= padding < _SPARE_LOCAL_BYTES and entry.size:
            return start
        head = self.file.read_at(entry.header, _local.size + len(entry.name))
        return entry.header + self._after_header(entry, head)

    def _boundary_after(self, entry: Entry) -> int:
        if self._headers is None:
            self._headers = sorted(found.header for found in self.entries.values())
        index = bisect_right(self._headers, entry.header)
        return self._headers[index] if index < len(self._headers) else self.directory.start

    def _after_header(self, entry: Entry, data: bytes) -> int:
        """Bytes from the local header to the data. Raises LocalHeaderMismatch."""
        name_end = _local.size + len(entry.name)
        if data[:4] != _LOCAL or data[_local.size : name_end] != entry.name:
            what = f"no local header of entry {_shown(entry.name)}"
            raise LocalHeaderMismatch(self.file.path, what, offset=entry.header)
        *_, flags, method, _, _, _, packed, size, name_bytes, extra = _local.unpack_from(data)[1:]
        agree = method == entry.method and name_bytes == len(entry.name)
        if not flags & _DESCRIPTOR and _MAX32 not in (packed, size):
            agree = agree and (packed, size) == (entry.packed, entry.size)
        after = name_end + int(extra)
        if not agree or entry.header + after + entry.packed > self.directory.start:
            what = f"the local header of entry {_shown(entry.name)} contradicts the directory"
            raise LocalHeaderMismatch(self.file.path, what, offset=entry.header)
        return after


def _descriptor_bytes(entry: Entry) -> int:
    if not entry.flags & _DESCRIPTOR:
        return 0
    return 24 if max(entry.header, entry.size) >= _MAX32 else 16


def _shown(name: bytes) -> str:
    return repr(name[:200].decode("utf-8", "backslashreplace"))


def read_archive(file: OpenFile) -> Archive:
    """The directory of a zip archive. Raises FormatError, named after the defect."""
    tail_start = max(0, file.size - _TAIL_BYTES)
    tail = file.read_at(tail_start, file.size - tail_start)
    count, size, start = _directory_place(file, tail, tail_start)
    if start >= tail_start:
        data = tail[start - tail_start : start - tail_start + size]
    else:
        data = file.read_at(start, size)
    directory = range(start, start + size)
    entries = _entries(file, data, count, directory)
    _check_overlap(file, entries, directory)
    return Archive(file, entries, directory)


def _directory_place(file: OpenFile, tail: bytes, tail_start: int) -> tuple[int, int, int]:
    """Number of entries, size and position of the central directory."""
    at = tail.rfind(_END)
    if at < 0 or at + _end.size > len(tail):
        what = "a zip archive without its directory, which is at the end: the file is cut off"
        raise ZipDirectoryMissing(file.path, what, hint="download the file again")
    _, disk, first_disk, _, count, size, start, _ = _end.unpack_from(tail, at)
    limit = tail_start + at
    if disk not in (0, _MAX16) or first_disk not in (0, _MAX16):
        raise ZipDirectoryBroken(file.path, "one part of a zip archive in several parts")
    if count == _MAX16 or _MAX32 in (size, start):
        count, size, start, limit = _zip64_place(file, tail, at, (count, size, start, limit))
    if start + size > limit:
        what = f"the zip directory ({size:,} bytes at {start:,}) reaches beyond its end"
        raise ZipDirectoryBroken(file.path, what, offset=limit)
    if count > MAX_ENTRIES or size > MAX_HEADER_BYTES:
        raise TooManyEntries(file.path, f"a zip directory of {count:,} entries, {size:,} bytes")
    return count, size, start


def _zip64_place(
    file: OpenFile, tail: bytes, at: int, place: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """The same from the 64-bit end record, where there is one."""
    locator = at - _locator64.size
    if locator < 0 or tail[locator : locator + 4] != _LOCATOR64:
        return place
    _, _, position, _ = _locator64.unpack_from(tail, locator)
    if position + _end64.size > file.size:
        raise ZipDirectoryBroken(file.path, "the zip64 end record lies outside the file")
    record = _end64.unpack(file.read_at(position, _end64.size))
    if record[0] != _END64:
        raise ZipDirectoryBroken(file.path, "no zip64 end record", offset=position)
    return record[7], record[8], record[9], position


def _entries(file: OpenFile, data: bytes, count: int, directory: range) -> dict[bytes, Entry]:
    """Entries by name, in the order of the directory."""
    entries: dict[bytes, Entry] = {}
    at = 0
    for _ in range(count):
        if at + _central.size > len(data) or data[at : at + 4] != _CENTRAL:
            what = f"the zip directory ends after {len(entries):,} of {count:,} entries"
            raise ZipDirectoryBroken(file.path, what, offset=directory.start + at)
        entry, at = _entry(file, data, at)
        if entry.name in entries:
            raise DuplicateEntry(file.path, f"two entries are called {_shown(entry.name)}")
        entries[entry.name] = entry
    if at != len(data):
        what = f"{len(data) - at:,} bytes follow the {count:,} entries of the zip directory"
        raise ZipDirectoryBroken(file.path, what, offset=directory.start + at)
    return entries


def _entry(file: OpenFile, data: bytes, at: int) -> tuple[Entry, int]:
    (_, _, _, flags, method, _, _, _, packed, size, name_size, extra_size, comment_size, *_,
     header) = _central.unpack_from(data, at)  # fmt: skip
    name_end = at + _central.size + name_size
    after = name_end + extra_size + comment_size
    name = data[at + _central.size : name_end]
    if after > len(data):
        raise ZipDirectoryBroken(file.path, f"entry {_shown(name)} is cut off")
    if _MAX32 in (packed, size, header):
        extra = data[name_end : name_end + extra_size]
        size, packed, header = _zip64(file, name, extra, (size, packed, header))
    if flags & _ENCRYPTED:
        raise EncryptedEntry(file.path, f"entry {_shown(name)} is encrypted")
    if method not in (_STORED, _DEFLATED):
        raise UnsupportedCompression(file.path, f"entry {_shown(name)} has method {method}")
    if method == _STORED and packed != size:
        what = f"entry {_shown(name)} is stored in {packed:,} bytes, but has {size:,}"
        raise ZipDirectoryBroken(file.path, what)
    return Entry(name, header, packed, size, method, flags), after


def _zip64(
    file: OpenFile, name: bytes, extra: bytes, fields: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Size, packed size and header position, those too large for 32 bits from the extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind = int.from_bytes(extra[at : at + 2], "little")
        length = int.from_bytes(extra[at + 2 : at + 4], "little")
        if kind == 1:
            body = extra[at + 4 : at + 4 + length]
            wide = iter([found[0] for found in _u64.iter_unpack(body[: length // 8 * 8])])
            values = [next(wide, -1) if field == _MAX32 else field for field in fields]
            if -1 not in values:
                return values[0], values[1], values[2]
        at += 4 + length
    raise ZipDirectoryBroken(file.path, f"entry {_shown(name)} lacks its 64-bit sizes")


def _check_overlap(file: OpenFile, entries: dict[bytes, Entry], directory: range) -> None:
    end, before = 0, b""
    for entry in sorted(entries.values(), key=lambda entry: entry.header):
        if entry.header < end:
            what = f"entries {_shown(before)} and {_shown(entry.name)} share bytes"
            raise EntriesOverlap(file.path, what, offset=entry.header)
        end, before = entry.header + _local.size + len(entry.name) + entry.packed, entry.name
    if end > directory.start:
        what = f"entry {_shown(before)} reaches into the zip directory"
        raise EntriesOverlap(file.path, what, offset=directory.start)
