"""What each container of torch tensors is read into, before the tensors are listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note
from modelscope_cli.formats.torch_globals import PickledStorage, Storage
from modelscope_cli.formats.torch_listing import Place, Places
from modelscope_cli.formats.torch_names import Named


class MissingStorage(FormatError):
    """A tensor's storage is not in the file."""


class StorageSizeMismatch(FormatError):
    """A storage has another size in its place than the tensors' pickle says."""


class Contents(NamedTuple):
    """A file read as far as its container goes: what the listing is made from."""

    path: str
    container: str
    header_bytes: int
    named: Named
    storages: dict[str, Storage]
    places: Places
    notes: list[Note]
    byteorder: str | None = None


def placed(path: str, found: Mapping[str, Place]) -> Places:
    """The places of storages by their keys, as the listing asks for them."""

    def places(storage: Storage | PickledStorage) -> tuple[Storage, Place]:
        if type(storage) is Storage:
            return storage, found[storage.key]
        raise MissingStorage(path, "a storage is hidden in a bytes literal of the pickle")

    return places
