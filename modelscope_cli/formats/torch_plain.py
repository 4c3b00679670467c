"""Plain pickles of tensors: pickle.dump where torch.save was meant."""

from __future__ import annotations

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note
from modelscope_cli.formats.base import UnknownFormat
from modelscope_cli.formats.torch_contents import Contents, MissingStorage
from modelscope_cli.formats.torch_globals import PickledStorage, Storage, Storages
from modelscope_cli.formats.torch_legacy import MAGIC, Literal, Window, read_legacy
from modelscope_cli.formats.torch_listing import Place
from modelscope_cli.formats.torch_names import named_tensors


class NotATorchPickle(UnknownFormat):
    """A pickle, but not one that torch.save wrote, and without tensors."""


class NotAStorage(FormatError):
    """A bytes literal that should hold a pickled storage holds something else."""


def read_plain(window: Window, root: object, end: int) -> Contents:
    """pickle.dump of tensors: each storage is a torch file of its own in a bytes literal."""
    file = window.file
    named = named_tensors(file.path, root, end)
    inner = _InnerStorages(window)
    if not named.names:
        raise NotATorchPickle(file.path, "is a plain pickle without tensors, no torch file")
    what = f"{file.path}: a plain pickle, which torch.load refuses and pickle.load would run"
    return Contents(file.path, "pickle", end, named, {}, inner.place, [Note(what, warning=True)])


class _InnerStorages:
    """The torch files inside a plain pickle's bytes literals, each read once."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.found: dict[int, tuple[Storage, Place]] = {}

    def place(self, storage: Storage | PickledStorage) -> tuple[Storage, Place]:
        """The storage that a bytes literal holds, and where its bytes are in the file."""
        if not isinstance(storage, PickledStorage):
            path = self.window.file.path
            raise MissingStorage(path, f"storage {storage.key[:80]!r} is not in a plain pickle")
        start = storage.blob.offset
        if start not in self.found:
            self.found[start] = self._read(start, storage.blob.length)
        return self.found[start]

    def _read(self, start: int, length: int) -> tuple[Storage, Place]:
        outer, storages = self.window, Storages()
        literal = Literal(outer.file.path, outer.data[start : start + length])
        rules = outer.rules._replace(persistent=storages)
        window = Window(literal, rules)
        first = window.pickle(0)
        if first.value == MAGIC:
            legacy = read_legacy(window, first.end, storages.by_key)
            if type(legacy.root) is Storage:
                place = legacy.places[legacy.root.key]
                # Keys are addresses of the saving process: only the literal's place is unique.
                named = Storage(legacy.root.dtype, f"{start}", legacy.root.elements)
                return named, Place(start + (place.start or 0), place.bytes)
        what = "a bytes literal that should hold a storage holds something else"
        raise NotAStorage(outer.file.path, what, offset=start)
