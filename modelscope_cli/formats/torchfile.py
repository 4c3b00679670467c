"""torch files (.bin .pt .pth .ckpt): tensors listed by walking their pickles, never run.

Three containers: the zip archive of torch.save, the older row of pickles, and TorchScript's
zip archive. A plain pickle that holds tensors is read too, with a warning.
"""

from __future__ import annotations

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import FileContents, FileFact, Note
from modelscope_cli.formats.base import UnknownFormat, refuse_pointer
from modelscope_cli.formats.pickles.walk import Rules, Seen, foreign_names, some_of
from modelscope_cli.formats.torch_contents import Contents, placed
from modelscope_cli.formats.torch_globals import BUILDERS, IMITATED, Storages
from modelscope_cli.formats.torch_listing import Listing, list_tensors, unlisted
from modelscope_cli.formats.torch_names import named_tensors
from modelscope_cli.sources.base import OpenFile
from modelscope_cli.units import counted

HEAD_BYTES = 512  # what signatures are told by; a tar archive's is at 257
MAX_FOREIGN = 1_000

_TAR_MEMBERS = (b"storages\0", b"tensors\0", b"pickle\0", b"sys_info\0")


class ForeignGlobal(FormatError):
    """A pickle whose tensors, if it has any, only running its own calls could bring out."""


class OldTarFormat(FormatError):
    """The tar container of torch until 2017, which torch itself no longer loads safely."""


def read(file: OpenFile) -> FileContents:
    """List the tensors of a torch file, in the order saved.

    The fact's metadata: `container` (zip, legacy, torchscript or pickle), `foreign_globals`
    (names that tensors do not need), `byteorder`, and groups of names: `shared_storages` (in
    one storage, not always the same part of it), `same_tensors` (the very same numbers).
    Raises FormatError, named after the defect.
    """
    seen: Seen = {}
    try:
        return _read(file, seen)
    except FormatError as error:
        foreign = foreign_names(seen)
        if foreign and error.hint is None and not isinstance(error, ForeignGlobal):
            error.hint = (
                f"its pickle names {some_of(foreign)}: loading it would run that, mscope does not"
            )
        raise


def scan_globals(file: OpenFile) -> list[str]:
    """Names of the globals that tensors do not need, sorted, however far the file is readable.

    Raises FormatError for a file that names none and cannot be read.
    """
    seen: Seen = {}
    try:
        _read(file, seen)
    except FormatError:
        if not foreign_names(seen):
            raise
    return foreign_names(seen)


def _read(file: OpenFile, seen: Seen) -> FileContents:
    contents = _contents(file, seen)
    listing = list_tensors(file.path, contents.named, contents.places)
    foreign = foreign_names(seen)
    if foreign and not listing.table.names:
        what = f"no tensor can be listed without running {some_of(foreign)}, which is never done"
        raise ForeignGlobal(file.path, what)
    metadata = {
        "container": contents.container,
        "foreign_globals": foreign[:MAX_FOREIGN],
        "shared_storages": listing.shared,
        "same_tensors": listing.same,
        "extents": listing.extents,
        "byteorder": contents.byteorder,
    }
    fact = FileFact(file.path, "torch", file.size, contents.header_bytes, metadata)
    return FileContents(fact, listing.table, _notes(contents, listing, foreign))


def _notes(contents: Contents, listing: Listing, foreign: list[str]) -> tuple[Note, ...]:
    notes = [*contents.notes, *contents.named.notes, *listing.notes]
    if foreign:
        what = f"its pickle names {some_of(foreign)}: never run, the opcodes were only walked"
        notes.insert(0, Note(f"{contents.path}: {what}", warning=True))
    count, size = unlisted(contents.storages, listing.used)
    if count:
        what = f"{counted(count, 'storage')} ({counted(size, 'byte')}) without a listed tensor"
        notes.append(Note(f"{contents.path}: {what}"))
    return tuple(notes)


def _contents(file: OpenFile, seen: Seen) -> Contents:
    """What the file's container holds. Each container's modules are imported when it is met."""
    head = file.read_at(0, min(file.size, HEAD_BYTES))
    if not head:
        raise UnknownFormat(file.path, "is empty")
    if head.startswith(b"PK\3\4"):
        from modelscope_cli.formats.torch_archive import read_zip

        return read_zip(file, seen)
    if head[:1] != b"\x80":
        _refuse_others(file, head)
    return _pickles(file, head, seen)


def _refuse_others(file: OpenFile, head: bytes) -> None:
    """Raise for a file that is known to be something else than a pickle."""
    from modelscope_cli.formats.signatures import looks_like

    if head[257:262] == b"ustar" and head.startswith(_TAR_MEMBERS):
        what = "is in the tar format that torch wrote until 2017, which mscope does not read"
        hint = "load it with torch.load(file, weights_only=False) if you trust it, save it again"
        raise OldTarFormat(file.path, what, hint=hint)
    refuse_pointer(file.path, head)
    seems = looks_like(head)
    if seems is not None:
        raise UnknownFormat(file.path, f"is no torch file: it looks like {seems}")


def _pickles(file: OpenFile, head: bytes, seen: Seen) -> Contents:
    """Five pickles and the storages' bytes, or one pickle alone."""
    from modelscope_cli.formats.torch_legacy import MAGIC, Window, read_legacy

    storages = Storages()
    window = Window(file, Rules(BUILDERS, seen, storages, imitated=IMITATED))
    try:
        first = window.pickle(0)
    except FormatError as error:
        if head[0] == 0x80 or foreign_names(seen):
            raise
        raise UnknownFormat(file.path, "is no torch file, nor another that is known") from error
    if type(first.value) is not int or first.value != MAGIC:
        from modelscope_cli.formats.torch_plain import read_plain

        return read_plain(window, first.value, first.end)
    legacy = read_legacy(window, first.end, storages.by_key)
    trailing = file.size - legacy.end
    what = f"{file.path}: {counted(trailing, 'byte')} after the last storage"
    notes = [Note(what)] if trailing else []
    named = named_tensors(file.path, legacy.root, legacy.header_bytes)
    places = placed(file.path, legacy.places)
    return Contents(file.path, "legacy", legacy.header_bytes, named, storages.by_key, places,
                    notes, legacy.byteorder)  # fmt: skip
