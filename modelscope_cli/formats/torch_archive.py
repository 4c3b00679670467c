"""torch.save's zip archives and TorchScript's: the pickles in them, and where storages lie."""

from __future__ import annotations

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note
from modelscope_cli.formats.base import UnknownFormat
from modelscope_cli.formats.pickles.errors import TrailingPickle
from modelscope_cli.formats.pickles.walk import Rules, Seen, walk
from modelscope_cli.formats.torch_contents import (
    Contents,
    MissingStorage,
    StorageSizeMismatch,
    placed,
)
from modelscope_cli.formats.torch_globals import (
    BUILDERS,
    IMITATED,
    SCRIPT_BUILDERS,
    SCRIPT_PREFIX,
    Storage,
    Storages,
)
from modelscope_cli.formats.torch_listing import Place, Places
from modelscope_cli.formats.torch_names import Named, named_tensors
from modelscope_cli.formats.torch_zip import Archive, Entry, read_archive
from modelscope_cli.sources.base import OpenFile
from modelscope_cli.units import counted


class MissingPickle(UnknownFormat):
    """A zip archive without the data.pkl of a torch file."""


class UnknownByteOrder(FormatError):
    """The archive's byteorder is neither little nor big."""


def read_zip(file: OpenFile, seen: Seen) -> Contents:
    """A zip archive with a data.pkl. Raises FormatError, named after the defect."""
    archive = read_archive(file)
    entry = archive.find("data.pkl")
    if entry is None:
        raise MissingPickle(file.path, f"is a zip archive {_unlike_torch(archive)}")
    constants = archive.find("constants.pkl")
    if constants is None:
        return _plain_zip(archive, entry, seen)
    return _script(archive, entry, constants, seen)


def _unlike_torch(archive: Archive) -> str:
    from modelscope_cli.formats.signatures import zip_looks_like

    names = [name.decode("utf-8", "replace") for name in archive.entries]
    if any(name.endswith("data.pkl") for name in names):
        return "whose data.pkl is not in the folder of its first entry, where torch looks"
    what = zip_looks_like(names)
    return "without data.pkl" + (f": it looks like {what}" if what else "")


def _walk_entry(archive: Archive, entry: Entry, rules: Rules) -> object:
    data, base = archive.read(entry)
    walked = walk(archive.file.path, data, rules, base=base)
    if walked.end != len(data):
        what = f"{counted(len(data) - walked.end, 'byte')} after the STOP of the pickle"
        raise TrailingPickle(archive.file.path, what, offset=(base or 0) + walked.end)
    return walked.value


def _plain_zip(archive: Archive, entry: Entry, seen: Seen) -> Contents:
    storages = Storages()
    rules = Rules(BUILDERS, seen, storages, imitated=IMITATED)
    root = _walk_entry(archive, entry, rules)
    places, notes = _archive_places(archive, "data", storages.by_key)
    named = named_tensors(archive.file.path, root, entry.size)
    return _zip_contents("zip", archive, entry, named, storages, places, notes)


def _script(archive: Archive, entry: Entry, others: Entry, seen: Seen) -> Contents:
    """TorchScript: the state_dict; of a frozen module, whose state_dict is empty, constants."""
    from modelscope_cli.formats.torch_script import script_tensors  # regular expressions: 1 ms

    constants, storages = Storages(), Storages()
    rules = Rules(SCRIPT_BUILDERS, seen, storages, SCRIPT_PREFIX)
    root = _walk_entry(archive, entry, rules)
    values = _walk_entry(archive, others, rules._replace(persistent=constants))
    path = archive.file.path
    named = script_tensors(archive, root)
    if named.names or not constants.by_key:
        places, notes = _archive_places(archive, "data", storages.by_key)
        notes += _constants_note(path, constants)
        return _zip_contents("torchscript", archive, entry, named, storages, places, notes)
    places, notes = _archive_places(archive, "constants", constants.by_key)
    frozen = named_tensors(path, values, entry.size)
    named = Named([f"CONSTANTS.c{name}" for name in frozen.names], frozen.tensors, frozen.notes)
    notes.append(Note(f"{path}: a frozen TorchScript module: its weights are constants"))
    return _zip_contents("torchscript", archive, entry, named, constants, places, notes)


def _constants_note(path: str, constants: Storages) -> list[Note]:
    size = sum(storage.bytes for storage in constants.by_key.values())
    what = f"{path}: {counted(size, 'byte')} of TorchScript constants, outside the state dict"
    return [Note(what)] if size else []


def _zip_contents(
    container: str,
    archive: Archive,
    entry: Entry,
    named: Named,
    storages: Storages,
    places: Places,
    notes: list[Note],
) -> Contents:
    byteorder = archive.text("byteorder")
    if byteorder not in (None, "little", "big"):
        raise UnknownByteOrder(archive.file.path, f"its byteorder is {byteorder!r}")
    header_bytes = entry.size + len(archive.directory)
    return Contents(
        archive.file.path, container, header_bytes, named, storages.by_key, places, notes, byteorder
    )


def _archive_places(
    archive: Archive, folder: str, storages: dict[str, Storage]
) -> tuple[Places, list[Note]]:
    """Where the storages lie. Raises MissingStorage or StorageSizeMismatch for any of them."""
    found: dict[str, Place] = {}
    for key, storage in storages.items():
        entry = archive.find(f"{folder}/{key}")
        if entry is None:
            what = f"storage {key[:80]!r} is not in the archive"
            raise MissingStorage(archive.file.path, what)
        if entry.size != storage.bytes:
            what = f"storage {key[:80]!r} has {entry.size:,} bytes, not {storage.bytes:,}"
            raise StorageSizeMismatch(archive.file.path, what, offset=entry.header)
        found[key] = Place(archive.data_start(entry), entry.size)
    return placed(archive.file.path, found), _packed_note(archive.file.path, found)


def _packed_note(path: str, found: dict[str, Place]) -> list[Note]:
    packed = sum(place.start is None for place in found.values())
    what = f"{path}: {counted(packed, 'storage')} compressed: tensors there have no offset"
    return [Note(what)] if packed else []
