"""What readers say of every weight file of a model, not only of those that would be loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from modelscope_cli.errors import FormatError, MscopeError
from modelscope_cli.facts import ModelFacts
from modelscope_cli.formats import base, weight_sets
from modelscope_cli.sources.base import OpenFile
from modelscope_cli.sources.tree import FILE, Entry

MOST_FILES = 2_000  # read for their headers; DeepSeek-V3 has 163
_HEAD_BYTES = 32


def found(
    opened: ModelFacts | MscopeError,
    entries: Sequence[Entry],
    open_file: Callable[[str], OpenFile],
) -> list[MscopeError]:
    """The error that reading met, and those of weight files that it did not come to."""
    first = [opened] if isinstance(opened, MscopeError) else []
    read = set() if first else {file.path for file in opened.files}  # type: ignore[union-attr]
    left = [path for path in weights(entries) if path not in read][:MOST_FILES]
    defects = {str(each): each for each in (*first, *_defects(left, open_file))}
    return list(defects.values())


def weights(entries: Sequence[Entry]) -> Iterator[str]:
    """Paths of files that are weights by their names, a trainer's state left out."""
    by_folder: dict[str, list[str]] = {}
    for each in entries:
        if each.kind == FILE and each.size >= 0:
            folder, _, name = each.path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
    for folder, names in by_folder.items():
        for weight_set in weight_sets.find(names):
            yield from (f"{folder}/{name}".lstrip("/") for name in weight_set.files)


def _defects(paths: Sequence[str], open_file: Callable[[str], OpenFile]) -> Iterator[MscopeError]:
    for path in paths:
        try:
            with open_file(path) as file:
                head = file.read_at(0, min(file.size, _HEAD_BYTES))
                base.refuse_pointer(path, head)
                if (found := base.by_content(head[:16]) or _promised(path)) is not None:
                    found.reader().read(file)
        except FormatError as error:
            yield error
        except MscopeError as error:  # gone or forbidden: named by whoever lists the files
            yield error


def _promised(path: str) -> base.Format | None:
    """What a name promises where the content tells nothing.

    Many programs call their files `.bin` (OpenVINO, CTranslate2): only a name that libraries
    look for makes one a checkpoint.
    """
    name = path.rpartition("/")[2]
    promised = base.by_ending(name)
    if promised is None or promised.name != "torch":
        return promised
    return promised if weight_sets.of_file(name).rank is not None else None
