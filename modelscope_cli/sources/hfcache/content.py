"""Whether a snapshot's small documents still are what was downloaded: by names and notes."""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import Note
from modelscope_cli.hub_names import is_commit
from modelscope_cli.sources.hfcache.repo import names_in
from modelscope_cli.sources.local import LocalFile, LocalSource

_DOCUMENTS = ("config.json", "adapter_config.json", "params.json", "model_index.json")
_INDEX = ".index.json"
_LARGEST = 16_777_216  # bytes: DeepSeek-V3's index has 9 MB, hashed in 10 ms
_SHA256 = 64  # digits in the name of a blob in LFS; others have git's 40


def changed_documents(source: LocalSource) -> list[Note]:
    """A warning for every configuration or index that is not what was downloaded.

    What it should be is said by the blob that its link names, else by what the download noted of
    the commit. A file of its own is right, too, if its bytes are those of any blob of the repo.
    """
    names = [name for name, size in source.files().items() if _is_document(name, size)]
    snapshot = _Snapshot.of(source.root)
    if not names or snapshot is None:
        return []
    found = ((name, snapshot.change(os.path.join(source.root, name))) for name in names)
    return [
        Note(f"{name} {what}; what follows is about that file (mscope cache verify)", warning=True)
        for name, what in found
        if what is not None
    ]


def _is_document(name: str, size: int) -> bool:
    return (name in _DOCUMENTS or name.endswith(_INDEX)) and 0 <= size <= _LARGEST


class _Snapshot(NamedTuple):
    """A commit's folder in a repo's, and the hashes noted of its files."""

    repo: str
    folder: str
    noted: dict[str, str]

    @classmethod
    def of(cls, path: str) -> _Snapshot | None:
        """The snapshot that a folder is, or lies in."""
        folder, name = os.path.split(os.path.abspath(path))
        while name and not (is_commit(name) and os.path.basename(folder) == "snapshots"):
            folder, name = os.path.split(folder)
        if not name:
            return None
        repo = os.path.dirname(folder)
        return cls(repo, os.path.join(folder, name), _noted(repo, name))

    def change(self, path: str) -> str | None:
        """What happened to a document since its download; None where nothing shows."""
        blob, noted = _blob_of(path), self.noted.get(self._inner(path))
        if blob is not None and noted not in (None, blob):
            return f"is not what was downloaded: its link leads to another blob than {noted[:12]}…"
        known = blob or noted
        hashes = _hashes(path, known)
        if not hashes or known in hashes:
            return None
        if blob is not None:
            return f"was changed after its download: it no longer fits its blob's name {blob[:12]}…"
        if os.path.islink(path) or self._is_copy(hashes, known):
            return None
        return "was replaced after its download, by a file with other bytes"

    def _inner(self, path: str) -> str:
        return os.path.relpath(path, self.folder).replace(os.sep, "/")

    def _is_copy(self, hashes: set[str], known: str | None) -> bool:
        """Whether a file of which nothing was noted is some blob's copy, or all there ever was."""
        if known is not None:
            return False
        blobs = set(names_in(os.path.join(self.repo, "blobs")))
        return not any(map(_is_hash, blobs)) or not hashes.isdisjoint(blobs)


def _noted(repo: str, commit: str) -> dict[str, str]:
    if not os.path.lexists(os.path.join(repo, "trees", f"{commit}.json")):
        return {}
    from modelscope_cli.sources.hfcache import trees  # 2 ms, for no model outside of a cache

    listing = trees.read(repo, commit, [])
    return {} if listing is None else {path: each.hash for path, each in listing.known.items()}


def _blob_of(path: str) -> str | None:
    """The hash in the name of the blob that a file is a link to; None for another link or none."""
    try:
        blob = os.path.basename(os.readlink(path))
    except OSError:
        return None
    return blob if _is_hash(blob) else None


def _is_hash(name: str) -> bool:
    """40 or 64 hexadecimal digits."""
    return is_commit(name) or (len(name) == _SHA256 and is_commit(name[:40]))


def _hashes(path: str, known: str | None) -> set[str]:
    """The content's hash of the kind that is known, or of both kinds; none where unreadable."""
    import hashlib

    try:
        with LocalFile(path, path) as file:
            data = file.read_at(0, file.size)
    except MscopeError:
        return set()
    found = set()
    if known is None or len(known) == _SHA256:
        found.add(hashlib.sha256(data).hexdigest())
    if known is None or len(known) != _SHA256:
        found.add(hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest())
    return found
