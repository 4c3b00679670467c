"""A model known by its list of files alone: names and sizes, no bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelscope_cli.errors import NotFound
from modelscope_cli.facts import ModelRef
from modelscope_cli.sources.base import Extent, OpenFile


class ListedSource:
    """The files at and below `folder` of a repo, as a source that cannot open them."""

    def __init__(self, sizes: Mapping[str, int], ref: ModelRef, folder: str = "") -> None:
        self.ref = ref
        self._before = f"{folder}/" if folder else ""
        self._files: dict[str, dict[str, int]] = {"": {}}
        self._folders: dict[str, dict[str, None]] = {}
        for path in sorted(sizes):
            if path.startswith(self._before):
                above, _, name = path[len(self._before) :].rpartition("/")
                self._files.setdefault(above, {})[name] = sizes[path]
                while above:
                    above, _, name = above.rpartition("/")
                    self._folders.setdefault(above, {})[name] = None

    def files(self, folder: str = "") -> dict[str, int]:
        """Files directly in `folder` and their sizes, by name. Raises NotFound."""
        above, _, name = folder.rpartition("/")
        if folder and name not in self._folders.get(above, {}):
            raise NotFound(f"{self.ref.id} has no folder {self._before}{folder}")
        return dict(self._files.get(folder, {}))

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in `folder`."""
        return sorted(self._folders.get(folder, {}))

    def open(self, path: str) -> OpenFile:
        """Raises NotFound: only the names are known."""
        raise NotFound(f"{self.ref.id}: {path} is not here")

    def expect(self, wanted: Sequence[Extent]) -> None:
        """Nothing can be asked for."""
