"""Hugging Face caches by hand, as huggingface_hub lays them out: blobs, snapshots, refs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MAIN = "d76c4a5" + "0" * 33
OLD = "d76c4ff" + "1" * 33
OTHER = "0123456789abcdef0123456789abcdef01234567"


class Cache:
    """A hub folder to fill."""

    def __init__(self, hub: Path) -> None:
        self.hub = hub
        hub.mkdir(parents=True, exist_ok=True)

    def repo(self, repo_id: str) -> Path:
        return self.hub / "--".join(("models", *repo_id.split("/")))

    def add(
        self, repo_id: str, commit: str, files: dict[str, bytes], refs: tuple[str, ...] = ()
    ) -> Path:
        """A snapshot whose files are links to blobs; its folder is returned."""
        repo = self.repo(repo_id)
        snapshot = repo / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repo / "blobs").mkdir(exist_ok=True)
        for name, content in files.items():
            blob = repo / "blobs" / blob_name(content, large=not name.endswith(".json"))
            blob.write_bytes(content)
            pointer = snapshot / name
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        for ref in refs:
            self.ref(repo_id, ref, commit)
        return snapshot

    def ref(self, repo_id: str, name: str, content: str | bytes) -> Path:
        """A file under `refs/`, whatever its content."""
        path = self.repo(repo_id) / "refs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def written_through(hub: Path) -> None:
    """`org/model`, whose config.json was written through its link five days after the download."""
    files = {"config.json": b'{"hidden_size": 8}', "model.safetensors": b"weights" * 1000}
    snapshot = Cache(hub).add("org/model", MAIN, files, ("main",))
    for path in (*snapshot.iterdir(), *(snapshot.parent.parent / "blobs").iterdir()):
        os.utime(path, (_DOWNLOADED, _DOWNLOADED), follow_symlinks=False)
    (snapshot / "config.json").write_bytes(b'{"hidden_size": 4096}')
    os.utime(snapshot / "config.json", (_WRITTEN, _WRITTEN))


_DOWNLOADED = 1_778_320_800  # 2026-05-09 10:00 UTC
_WRITTEN = 1_778_799_480  # 2026-05-14 22:58 UTC


def blob_name(content: bytes, *, large: bool) -> str:
    """LFS files are named by sha256, others as git names them."""
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
