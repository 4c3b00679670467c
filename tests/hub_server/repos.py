"""Repos that the server holds: commits, refs, files in git, in LFS or in Xet; gated or private."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Content:
    """A file's bytes; `path` on disk where they are too many, holes and all.

    `storage` is git, lfs or xet: the first is sent by the Hub itself, the others by a store of
    another origin.
    """

    def __init__(
        self, data: bytes = b"", *, path: Path | None = None, storage: str = "git"
    ) -> None:
        self._data = data
        self._path = path
        self.storage = storage
        self.size = len(data) if path is None else path.stat().st_size
        self.sha256 = self._named(hashlib.sha256())
        self.git = self._named(hashlib.sha1(b"blob %d\0" % self.size))

    def _named(self, digest: Any) -> str:
        """The hash; of a sparse file only one of its start and size, to save hours."""
        digest.update(self._data if self._path is None else self.read(0, 1_000_000))
        if self._path is not None:
            digest.update(str(self.size).encode())
        return str(digest.hexdigest())

    def read(self, start: int, length: int) -> bytes:
        """Bytes of it, fewer at the end."""
        if self._path is None:
            return self._data[start : start + length]
        with self._path.open("rb") as stream:
            stream.seek(start)
            return stream.read(length)

    @property
    def etag(self) -> str:
        """What names it: in LFS and Xet its sha256."""
        return self.git if self.storage == "git" else self.sha256


class Repo:
    """One model: files by commit, and which commits branches and tags are."""

    def __init__(self, repo_id: str, files: Mapping[str, Content], *, access: str = "public"):
        self.id = repo_id
        self.access = access  # public, gated, private, disabled
        self.commits: dict[str, Mapping[str, Content]] = {}
        self.refs: dict[str, str] = {}
        self.all_headers: dict[str, bytes] = {}  # answers of safetensors-metadata, by index
        self.moved_to: str | None = None
        self.commit(files)

    def commit(self, files: Mapping[str, Content], *refs: str) -> str:
        """Add a commit and move `refs` (main) to it; its name is returned."""
        text = f"{self.id} {len(self.commits)} {sorted(files)}"
        name = hashlib.sha1(text.encode()).hexdigest()
        self.commits[name] = dict(files)
        for ref in refs or ("main",):
            self.refs[ref] = name
        return name

    def find(self, revision: str) -> str | None:
        """The commit that a branch, tag, pull request or (short) commit names."""
        if revision in self.refs:
            return self.refs[revision]
        fits = [name for name in self.commits if len(revision) >= 7 and name.startswith(revision)]
        return fits[0] if len(fits) == 1 else None

    def serve_all_headers(
        self, index: str = "model.safetensors.index.json", *, spaced: bool = False
    ) -> None:
        """Answer for all shards in one request, as the official Hub does for `main`.

        `spaced`: in the JSON of another serializer.
        """
        files = self.commits[self.main]
        document = json.loads(files[index].read(0, files[index].size))
        headers = {}
        for shard in sorted(set(document["weight_map"].values())):
            length = int.from_bytes(files[shard].read(0, 8), "little")
            headers[shard] = json.loads(files[shard].read(8, length))
        answer = {"index": {"metadata": document.get("metadata")}, "headers": headers}
        text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)  # as JSON.stringify
        if spaced:
            text = json.dumps(answer, indent=1)
        self.all_headers[index] = text.encode()

    @property
    def main(self) -> str:
        """The commit that `main` is."""
        return self.refs["main"]


def content(name: str, data: bytes, storage: str = "lfs") -> Content:
    """As the Hub would keep it: weights in LFS or Xet, the rest in git."""
    small = not name.endswith((".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt"))
    return Content(data, storage="git" if small else storage)


def from_folder(folder: Path, storage: str = "lfs") -> dict[str, Content]:
    """Every file of a folder, holes kept as holes."""
    return {
        str(path.relative_to(folder)): Content(
            path=path, storage=content(path.name, b"", storage).storage
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sparse(path: Path, head: bytes, size: int, storage: str = "xet") -> Content:
    """A file that claims `size` bytes and holds only its first."""
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(size)
    return Content(path=path, storage=storage)
