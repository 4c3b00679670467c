"""Links of the HF cache, followed hop by hop without opening anything."""

from __future__ import annotations

import os
import stat

from modelscope_cli.analysis.cache.facts import (
    DANGLING,
    FORBIDDEN,
    LOOP,
    SPECIAL,
    Chain,
    Stamp,
)
from modelscope_cli.sources.local import kind_of

_MAX_HOPS = 40  # Linux follows no more


class Follower:
    """Follows links; remembers which folders are links themselves.

    `homes` are the folders whose files count as the cache's own.
    """

    def __init__(self, homes: tuple[str, ...]) -> None:
        self._real: dict[str, str] = {}
        self._homes = tuple(os.path.join(os.path.realpath(home), "") for home in homes)

    def follow(self, path: str) -> Chain:
        """Where `path` leads; never raises."""
        hops: list[str] = []
        link: Stamp | None = None
        place, seen = path, {path}
        while True:
            try:
                status = os.lstat(place)
                if not stat.S_ISLNK(status.st_mode):
                    return self._ended(path, hops, link, place, status)
                link = link or stamp(status)
                target = os.readlink(place)
            except OSError as error:
                return self._broken(path, hops, link, error)
            place = self._next(os.path.dirname(place), target)
            hops.append(place)
            if place in seen or len(hops) > _MAX_HOPS:
                text = "links that lead in a circle"
                return Chain(path, tuple(hops[:2]), link, None, LOOP, text, self._outside(place))
            seen.add(place)

    def real(self, folder: str) -> str:
        """`folder` without links, remembered."""
        found = self._real.get(folder)
        if found is None:
            found = self._real[folder] = os.path.realpath(folder)
        return found

    def _next(self, folder: str, target: str) -> str:
        """The place a link names: spelled as the folder was, unless that would mislead."""
        spelled = os.path.normpath(os.path.join(folder, target))
        true = os.path.normpath(os.path.join(self.real(folder), target))
        same = self.real(os.path.dirname(spelled)) == self.real(os.path.dirname(true))
        return spelled if same else true

    def _outside(self, place: str) -> bool:
        folder = os.path.join(self.real(os.path.dirname(place)), "")
        return not folder.startswith(self._homes)

    def _ended(
        self, path: str, hops: list[str], link: Stamp | None, place: str, status: os.stat_result
    ) -> Chain:
        outside = self._outside(place)
        if stat.S_ISREG(status.st_mode):
            return Chain(path, tuple(hops), link, stamp(status), outside=outside)
        text = f"{kind_of(status.st_mode)}, no file"
        return Chain(path, tuple(hops), link, None, SPECIAL, text, outside)

    def _broken(self, path: str, hops: list[str], link: Stamp | None, error: OSError) -> Chain:
        outside = bool(hops) and self._outside(hops[-1])
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return Chain(path, tuple(hops), link, None, DANGLING, "is not there", outside)
        text = error.strerror or str(error)
        return Chain(path, tuple(hops), link, None, FORBIDDEN, text, outside)


def stamp(status: os.stat_result) -> Stamp:
    """The part of a status that the cache commands look at."""
    return Stamp(
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_atime_ns,
        status.st_dev,
        status.st_ino,
        status.st_mode,
    )
