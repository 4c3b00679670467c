"""The pickles of a model: every file looked into once, whatever its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from modelscope_cli.errors import MscopeError
from modelscope_cli.formats.containers.names import promises
from modelscope_cli.formats.containers.search import Searched, search
from modelscope_cli.sources.tree import FILE, Entry

if TYPE_CHECKING:
    from modelscope_cli.sources.base import OpenFile


def find(
    files: Iterable[Entry], open_file: Callable[[str], OpenFile], *, by_name: bool
) -> Mapping[str, Searched]:
    """Files with pickles in them, or that could not be looked into; by their paths.

    `by_name`: only those whose names promise a pickle or an archive are opened, for each costs
    a request. A link out of the model is not followed.
    """
    found: dict[str, Searched] = {}
    for entry in files:
        if entry.kind != FILE or entry.outside or (by_name and not promises(entry.path)):
            continue
        try:
            with open_file(entry.path) as file:
                searched = search(file, far=by_name)
        except MscopeError:
            continue  # that it cannot be opened is another family's to say
        if searched.pickles or searched.unseen:
            found[entry.path] = searched
    return found
