"""Hashes computed before, kept under `$XDG_CACHE_HOME/mscope/hashes`: ours, not in HF's cache.

One line a file: what `facts.key` says of it, the algorithm, the hash. Lines are appended in
one write each, so two processes may add at once; the last line about a file counts.
"""

from __future__ import annotations

import contextlib
import os
import time

from modelscope_cli import places
from modelscope_cli.analysis.cache.facts import Stamp, algorithm_of, key

_MAX_BYTES = 16_000_000  # some 100,000 files; beyond it the older half is forgotten
_FIELDS = 7
# As git's index does: a file written this shortly before it was hashed could be written again
# without any change of its times.
_RACY_NS = 2_000_000_000


class Memory:
    """Hashes by file and algorithm. Where its own file cannot be read or written it is empty."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or places.kept("hashes")
        self._known: dict[tuple[tuple[int, ...], str], str] | None = None

    def get(self, stamp: Stamp, algorithm: str) -> str | None:
        """The hash of a file that has not changed since it was kept."""
        if self._known is None:
            self._known = self._read()
        return self._known.get((key(stamp), algorithm))

    def keep(self, stamp: Stamp, algorithm: str, digest: str) -> None:
        """Remember a hash, unless the file is so young that it may change unseen."""
        if self._known is not None:
            self._known[key(stamp), algorithm] = digest
        newest = max(stamp.mtime_ns, stamp.ctime_ns)
        if time.time_ns() - newest < _RACY_NS:
            return
        line = f"{' '.join(map(str, key(stamp)))} {algorithm} {digest}\n".encode()
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)

    def _read(self) -> dict[tuple[tuple[int, ...], str], str]:
        try:
            with open(self._path, "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(0 if size <= _MAX_BYTES else size - _MAX_BYTES // 2)
                data = stream.read(_MAX_BYTES)
        except OSError:
            return {}
        if size > _MAX_BYTES:
            data = data.partition(b"\n")[2]
            self._shorten(data)
        known = {}
        for line in data.splitlines():
            fields = line.decode("ascii", "replace").split(" ")
            if len(fields) == _FIELDS and algorithm_of(fields[6]) == fields[5]:
                with contextlib.suppress(ValueError):
                    known[tuple(map(int, fields[:5])), fields[5]] = fields[6]
        return known

    def _shorten(self, data: bytes) -> None:
        """Lines that another process adds meanwhile are lost: those files are hashed again."""
        beside = f"{self._path}.{os.getpid()}.tmp"
        with contextlib.suppress(OSError):
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(data)
            os.replace(beside, self._path)
