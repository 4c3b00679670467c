"""The zip directory as the standard library reads it."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.torch_zip import Archive, read_archive
from tests.builders.torch import Entry, archive, deflated, pickled, zipped
from tests.corpus import make_torch
from tests.formats.torch_reading import Memory


def data_start(data: bytes, found: zipfile.ZipInfo) -> int:
    """Where the local header says that an entry's data starts."""
    names, extra = struct.unpack_from("<2H", data, found.header_offset + 26)
    return found.header_offset + 30 + int(names) + int(extra)


def check(data: bytes) -> Archive:
    """Our directory is the standard library's, and so is every entry read whole."""
    ours = read_archive(Memory(data))
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        assert [name.decode() for name in ours.entries] == theirs.namelist()
        for entry, found in zip(ours.entries.values(), theirs.infolist(), strict=True):
            assert (entry.size, entry.packed) == (found.file_size, found.compress_size)
            stored = found.compress_type == zipfile.ZIP_STORED
            assert ours.data_start(entry) == (data_start(data, found) if stored else None)
            assert ours.read(entry) == (
                theirs.read(found.filename),
                data_start(data, found) if stored else None,
            )
    return ours


@pytest.mark.parametrize("good", [name for name, data in make_torch.GOOD.items()
                                  if data.startswith(b"PK")])  # fmt: skip
def test_good_corpus(good: str) -> None:
    check(make_torch.GOOD[good])


@settings(max_examples=100)
@given(
    st.dictionaries(st.text("abc/é.", min_size=1, max_size=80), st.binary(max_size=300)),
    st.sampled_from([0, 16, 64, 4096]),
    st.sampled_from([0x800, 0x808]),
    st.booleans(),
)
def test_any_entries(contents: dict[str, bytes], align: int, flags: int, deflate: bool) -> None:
    entries = [
        deflated(f"r/{name}", data, flags=flags) if deflate else Entry(f"r/{name}", data, 0, flags)
        for name, data in contents.items()
    ]
    if entries:
        assert check(zipped(entries, align=align)).root == b"r"


def written_by_python(method: int, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as writer:
        writer.comment = comment
        writer.writestr("archive/data.pkl", b"N." * 50)
        with writer.open("archive/data/0", "w", force_zip64=True) as stream:
            stream.write(bytes(64))
        writer.writestr("archive/version", b"3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"x" * 65_535])
def test_archives_packed_again_by_other_programs(method: int, comment: bytes) -> None:
    check(written_by_python(method, comment))


def in_64_bits(data: bytes) -> bytes:
    """The same archive with its end in the 64-bit record, all 32-bit fields full."""
    *_, count, size, start, _ = struct.unpack("<4s4H2LH", data[-22:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    full = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:-22] + record + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *full)


def test_a_directory_in_64_bits() -> None:
    check(in_64_bits(make_torch.GOOD["state-dict"]))


def test_entries_in_64_bits() -> None:
    extra = struct.pack("<2HL", 0x7777, 4, 0) + struct.pack("<2HQ", 1, 8, 0)
    check(zipped([Entry("a/data.pkl", b"N.", header=0xFFFFFFFF, extra=extra)]))


def test_storages_are_placed_without_reading_them() -> None:
    storages = {str(index): bytes(100) for index in range(50)}
    file = Memory(archive(pickled(b"N"), storages))
    found = read_archive(file)
    reads = len(file.read)
    starts = [found.data_start(entry) for entry in found.entries.values() if entry.size == 100]
    assert len(file.read) == reads
    assert all(start is not None and start % 64 == 0 for start in starts)


def test_a_record_of_one_word() -> None:
    found = read_archive(Memory(make_torch.GOOD["big-endian"]))
    assert found.text("byteorder") == "big"
    assert found.text("data.pkl") is None
    assert found.text("nothing") is None


@settings(max_examples=300)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_damaged_directory_is_never_more_than_an_error(back: int, noise: bytes) -> None:
    data = bytearray(in_64_bits(make_torch.GOOD["state-dict"]))
    at = max(0, len(data) - back)
    data[at : at + len(noise)] = noise
    try:
        found = read_archive(Memory(bytes(data)))
        for entry in found.entries.values():
            found.data_start(entry)
            found.read(entry)
    except FormatError as error:
        assert error.exit_code == 4  # noqa: PT017
