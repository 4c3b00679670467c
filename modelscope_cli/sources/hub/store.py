"""What was read of Hub models, kept on disk under its commit: immutable, bounded, our own.

`$XDG_CACHE_HOME/mscope/hub/<host>/models--org--name/<commit>.pack` holds a commit's file list and
the bytes read of its files; `refs.json` beside it which commit a branch was, and when.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from modelscope_cli import places
from modelscope_cli.errors import MscopeError
from modelscope_cli.hub_names import file_problem, is_commit, repo_id_problem
from modelscope_cli.sources.hub.listing import MAX_FILE_BYTES, Entry
from modelscope_cli.sources.local import LocalFile

MAX_BYTES = 1_000_000_000  # of all packs together; the longest unused go first
MAX_PACK_BYTES = 256_000_000
_KEPT = 0.8  # of MAX_BYTES, after some had to go
_MAGIC = b"mscope hub 1\n"
_MAX_REFS = 1000
_MAX_REFS_BYTES = 1_000_000
_MAX_SECONDS = 253_402_300_799  # since 1970: the last that a date can be made of
_PREFIX = "models--"

Pieces = dict[str, dict[int, bytes]]  # by path, by where in the file they start


class Pack(NamedTuple):
    """What is kept of one commit."""

    files: Mapping[str, Entry]
    pieces: Pieces


class Ref(NamedTuple):
    """What a branch or tag was, and when the Hub said so (seconds since 1970)."""

    commit: str
    asked: float


class Usage(NamedTuple):
    """One pack on disk, for a listing of the cache; `used` in seconds since 1970."""

    host: str
    id: str
    commit: str
    bytes: int
    used: float
    path: str


def folder() -> str:
    """Where packs lie: `$XDG_CACHE_HOME/mscope/hub`, by default below `~/.cache`."""
    return places.kept("hub")


class Store:
    """The packs of one Hub. What cannot be written is not kept; what is damaged is not there."""

    def __init__(self, endpoint: str) -> None:
        host = endpoint.partition("://")[2] or endpoint
        self._folder = os.path.join(folder(), quote(host, safe=""))

    def load(self, repo_id: str, commit: str) -> Pack | None:
        """What is kept of a commit; None where that is nothing."""
        path = self._path(repo_id, f"{commit}.pack")
        pack = _read_pack(path)
        if pack is not None:
            with contextlib.suppress(OSError):
                os.utime(path)
        return pack

    def save(self, repo_id: str, commit: str, pack: Pack) -> None:
        """Keep a commit, with what another process has kept of it meanwhile."""
        path = self._path(repo_id, f"{commit}.pack")
        there = _read_pack(path)
        if there is not None:
            pack = Pack(pack.files, _joined(there.pieces, pack.pieces))
        data = _packed(pack)
        if sum(map(len, data)) <= MAX_PACK_BYTES and _write(path, data):
            _make_room(path)

    def ref(self, repo_id: str, revision: str) -> Ref | None:
        """What a branch, tag or commit was when it was last asked for."""
        return self.refs(repo_id).get(revision)

    def refs(self, repo_id: str) -> dict[str, Ref]:
        """Every revision that was asked for."""
        try:
            found = json.loads(_bytes(self._path(repo_id, "refs.json"), _MAX_REFS_BYTES))
        except (ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {name: ref for name, value in found.items() if (ref := _ref(value)) is not None}

    def set_ref(self, repo_id: str, revision: str, commit: str) -> None:
        """Remember that the Hub has just said which commit a revision is."""
        refs: dict[str, Any] = {**self.refs(repo_id), revision: (commit, time.time())}
        latest = sorted(refs.items(), key=lambda item: item[1][1])[-_MAX_REFS:]
        _write(self._path(repo_id, "refs.json"), [json.dumps(dict(latest)).encode()])

    def commits(self, repo_id: str) -> list[str]:
        """Commits of which something is kept."""
        names = _names(self._path(repo_id, ""))
        found = (name.removesuffix(".pack") for name in names if name.endswith(".pack"))
        return sorted(filter(is_commit, found))

    def ids(self) -> list[str]:
        """Models of which something is kept."""
        return sorted(filter(None, map(_id_of, _names(self._folder))))

    def _path(self, repo_id: str, name: str) -> str:
        return os.path.join(self._folder, _PREFIX + repo_id.replace("/", "--"), name)


def usage() -> list[Usage]:
    """Every pack on disk, of all Hubs."""
    found = []
    for path, status in _packs(folder()):
        above, name = os.path.split(path)
        host, repo = os.path.split(above)
        commit, repo_id = name.removesuffix(".pack"), _id_of(repo)
        if repo_id is not None and is_commit(commit):
            host = unquote(os.path.basename(host))
            found.append(Usage(host, repo_id, commit, status.st_size, status.st_mtime, path))
    return found


def _id_of(name: str) -> str | None:
    repo_id = name.removeprefix(_PREFIX).replace("--", "/")
    return repo_id if name.startswith(_PREFIX) and repo_id_problem(repo_id) is None else None


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _packs(root: str) -> Iterator[tuple[str, os.stat_result]]:
    for host in _names(root):
        for repo in _names(os.path.join(root, host)):
            for name in _names(os.path.join(root, host, repo)):
                path = os.path.join(root, host, repo, name)
                if name.endswith((".pack", ".tmp")):
                    with contextlib.suppress(OSError):
                        yield path, os.stat(path)


def _make_room(written: str) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(written)))
    packs = list(_packs(root))
    total = sum(status.st_size for _, status in packs)
    if total <= MAX_BYTES:
        return
    for path, status in sorted(packs, key=lambda pack: pack[1].st_mtime):
        if path != written:
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= status.st_size
        if total <= MAX_BYTES * _KEPT:
            return


def _joined(a: Pieces, b: Pieces) -> Pieces:
    """Both together; of two pieces that start at one byte the longer."""
    both = {path: dict(pieces) for path, pieces in a.items()}
    for path, pieces in b.items():
        into = both.setdefault(path, {})
        for start, data in pieces.items():
            if len(data) >= len(into.get(start, b"")):
                into[start] = data
    return both


def _packed(pack: Pack) -> list[bytes]:
    rows, parts = [], []
    for path, pieces in pack.pieces.items():
        for start, data in pieces.items():
            rows.append((path, start, len(data)))
            parts.append(data)
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    head = json.dumps({"files": pack.files, "pieces": rows, "crc32": checksum}).encode()
    front = _MAGIC + len(head).to_bytes(8, "little") + zlib.crc32(head).to_bytes(4, "little")
    return [front, head, *parts]


def _bytes(path: str, most: int) -> bytes:
    """What a file holds; nothing where it is missing, too long, or a FIFO that would hang."""
    try:
        with LocalFile(path, path) as file:
            return file.read_at(0, file.size) if file.size <= most else b""
    except MscopeError:
        return b""


def _ref(value: Any) -> Ref | None:
    """One row of `refs.json`; None where it is damaged."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    commit, asked = value
    if not isinstance(commit, str) or not is_commit(commit):
        return None
    if type(asked) not in (int, float) or not 0 <= asked <= _MAX_SECONDS:  # nor is NaN
        return None
    return Ref(commit, float(asked))


def _read_pack(path: str) -> Pack | None:
    """A pack as `_packed` wrote it; None where it is missing or damaged."""
    data = _bytes(path, MAX_PACK_BYTES)
    at = len(_MAGIC) + 12
    length = int.from_bytes(data[at - 12 : at - 4], "little")
    head = data[at : at + length]
    if data[: at - 12] != _MAGIC or len(head) != length:
        return None
    if zlib.crc32(head) != int.from_bytes(data[at - 4 : at], "little"):
        return None
    try:
        return _unpacked(json.loads(head), memoryview(data)[at + length :])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # not as `_packed` writes it


def _unpacked(said: Any, rest: memoryview) -> Pack:
    """Raises ValueError, or what Python does, for what `_packed` never writes."""
    _require(zlib.crc32(rest) == said["crc32"])
    files = {path: _entry(path, *row) for path, row in said["files"].items()}
    pieces: Pieces = {}
    done = 0
    for path, start, size in said["pieces"]:
        _require(type(start) is int and type(size) is int and start >= 0 and size >= 0)
        _require(path not in files or start + size <= files[path].size)
        pieces.setdefault(path, {})[start] = bytes(rest[done : done + size])
        done += size
    _require(done == len(rest))
    return Pack(files, pieces)


def _entry(path: str, size: Any, oid: Any) -> Entry:
    _require(file_problem(path) is None and type(size) is int and 0 <= size < MAX_FILE_BYTES)
    _require(oid is None or isinstance(oid, str))
    return Entry(size, oid)


def _require(fits: bool) -> None:
    if not fits:
        raise ValueError


def _write(path: str, parts: list[bytes]) -> bool:
    """Write beside and rename: another process sees the old file or the new one, never half."""
    above = os.path.dirname(path)
    beside = f"{path}.{os.getpid()}.tmp"
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0)  # no FIFO's reader
    try:
        os.makedirs(above, mode=0o700, exist_ok=True)
        with open(os.open(beside, how, 0o600), "wb") as stream:
            stream.writelines(parts)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        return False
    return True
