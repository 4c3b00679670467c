"""Torch files from before 1.6: five pickles in a row, then each storage's count and bytes.

magic number, protocol version, system, the object, the storages' keys in the order of
their data. Written by torch.serialization._legacy_save; also what lies in the bytes of a
storage that was pickled without torch.save.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.base import MAX_HEADER_BYTES
from modelscope_cli.formats.pickles.nodes import Pairs
from modelscope_cli.formats.pickles.walk import Rules, Walked, walk
from modelscope_cli.formats.torch_contents import StorageSizeMismatch
from modelscope_cli.formats.torch_globals import Storage
from modelscope_cli.formats.torch_listing import Place
from modelscope_cli.sources.base import OpenFile

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
COUNT_BYTES = 8

FIRST_WINDOW_BYTES = 131_072  # 500 tensors' pickle; a storage's first bytes may be read along


class PickleTooLarge(FormatError):
    """A pickle that goes on beyond 100,000,000 bytes."""


class UnsupportedVersion(FormatError):
    """The file's version is not the only one that torch ever wrote."""


class BadStorageKeys(FormatError):
    """The list of storages is no list of keys, or differs from the storages of the object."""


class TruncatedStorage(TruncatedFile):
    """The file ends before a storage does."""


class Window:
    """The start of a file, read further only where a pickle goes on."""

    def __init__(self, file: OpenFile, rules: Rules) -> None:
        self.file = file
        self.rules = rules
        self.data = file.read_at(0, min(file.size, FIRST_WINDOW_BYTES))

    def pickle(self, start: int) -> Walked:
        """Walk the pickle at `start`. Raises FormatError, named after the defect."""
        return walk(self.file.path, self.data, self.rules, start=start, more=self._more)

    def _more(self, data: bytes) -> bytes | None:
        """`data` and more of the file; None at its end. Raises PickleTooLarge."""
        if len(data) == self.file.size:
            return None
        if len(data) >= MAX_HEADER_BYTES:
            what = f"a pickle goes on beyond {MAX_HEADER_BYTES:,} bytes"
            raise PickleTooLarge(self.file.path, what)
        wanted = min(self.file.size, MAX_HEADER_BYTES, 4 * len(data))
        self.data = data + self.file.read_at(len(data), wanted - len(data))
        return self.data


class Legacy(NamedTuple):
    """A file's object, and where each storage's bytes lie. `end` is behind the last one."""

    root: object
    header_bytes: int
    places: dict[str, Place]
    end: int
    byteorder: str


def read_legacy(window: Window, start: int, storages: dict[str, Storage]) -> Legacy:
    """All after the magic number, whose pickle ended at `start`.

    `storages` is filled by the rules' persistent ids while the object is walked.
    """
    file = window.file
    version = window.pickle(start)
    if type(version.value) is not int or version.value != VERSION:
        # Only a number is shown: to show a hostile value could take for ever.
        found = str(version.value)[:40] if type(version.value) is int else "no number"
        raise UnsupportedVersion(file.path, f"its version is {found}, not {VERSION}")
    system = window.pickle(version.end)
    little = system.value.get("little_endian") if type(system.value) is Pairs else True
    root = window.pickle(system.end)
    keys = window.pickle(root.end)
    places, end = _places(file, keys, storages)
    return Legacy(root.value, keys.end, places, end, "big" if little is False else "little")


def _places(
    file: OpenFile, keys: Walked, storages: dict[str, Storage]
) -> tuple[dict[str, Place], int]:
    """Where each storage's bytes are, and where the last one ends. Nothing of them is read."""
    if type(keys.value) is not list:
        raise BadStorageKeys(file.path, "the list of storages is no list")
    at = keys.end
    places: dict[str, Place] = {}
    for key in map(_key, keys.value):
        if key not in storages or key in places:
            what = "is listed twice" if key in places else "belongs to no tensor"
            raise BadStorageKeys(file.path, f"storage {key[:80]!r} {what}", offset=at)
        places[key] = _place(file, at, key, storages[key])
        at = (places[key].start or 0) + places[key].bytes
    if missing := next((key for key in storages if key not in places), None):
        raise BadStorageKeys(file.path, f"storage {missing[:80]!r} is not in the file")
    return places, at


def _key(value: object) -> str:
    return str(value) if type(value) in (str, int) else "?"


def _place(file: OpenFile, at: int, key: str, storage: Storage) -> Place:
    if at + COUNT_BYTES > file.size:
        raise TruncatedStorage(file.path, f"ends before storage {key[:80]!r}", offset=file.size)
    count = int.from_bytes(file.read_at(at, COUNT_BYTES), "little", signed=True)
    if count != storage.elements:
        what = f"storage {key[:80]!r} has {count:,} elements, its tensors say {storage.elements:,}"
        raise StorageSizeMismatch(file.path, what, offset=at)
    if at + COUNT_BYTES + storage.bytes > file.size:
        what = f"storage {key[:80]!r} needs {storage.bytes:,} bytes, the file ends before"
        raise TruncatedStorage(file.path, what, offset=at + COUNT_BYTES)
    return Place(at + COUNT_BYTES, storage.bytes)


class Literal:
    """Bytes out of a pickle, read like a file."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.size = len(data)
        self._data = data

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`."""
        if offset + length > self.size:
            raise TruncatedFile(self.path, f"needs {length:,} bytes, {self.size:,} are there")
        return self._data[offset : offset + length]

    def __enter__(self) -> Literal:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""
