"""Caches to look through: written by hand, and by the real huggingface_hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import constants, snapshot_download

from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache, blob_name
from tests.documents import document
from tests.hub.conftest import AddRepo, add, hub
from tests.hub_server import HubServer
from tests.running import Completed, Run

__all__ = ["add", "hub"]  # fixtures of the Hub's own tests

WEIGHTS = folders.weights("a", "b")
FILES = {
    "config.json": b'{"model_type": "bert", "hidden_size": 8}',
    "model.safetensors": WEIGHTS,
    "sub/tokenizer.json": b"{}",
}


class Told(NamedTuple):
    """What a command answered: the exit code, its document, and stderr."""

    code: int
    document: dict[str, Any]
    err: str

    def statuses(self) -> dict[str, str]:
        """Statuses of `cache verify` by path, or by `blobs/<name>`."""
        return {
            each["path"] or f"blobs/{each['blob']}": each["status"]
            for each in self.document["files"]
        }

    def note(self, path: str) -> str:
        """What is said about one file."""
        return str(next(each["note"] for each in self.document["files"] if each["path"] == path))

    def problems(self) -> list[str]:
        """What `cache doctor` found, in its order."""
        return [each["problem"] for each in self.document["findings"]]


Ask = Callable[..., Told]


@pytest.fixture
def ask(run: Run) -> Ask:
    """`ask("verify", "org/x")`: the JSON answer of `mscope cache verify org/x`."""

    def told(*argv: str, env: dict[str, str] | None = None) -> Told:
        done = run("cache", *argv, "--json", env=env)
        assert done.code in (0, 1), done.err
        return Told(done.code, document(done.out), done.err)

    return told


@pytest.fixture
def cache() -> Cache:
    """An empty cache where the program looks by itself."""
    return Cache(Path(os.environ["HF_HUB_CACHE"]))


@pytest.fixture
def snapshot(cache: Cache) -> Path:
    """`org/x` at MAIN, as a download leaves it: links made after their blobs."""
    folder = cache.add("org/x", MAIN, FILES, ("main",))
    settle(cache.hub)
    return folder


@pytest.fixture
def downloaded(hub: HubServer, add: AddRepo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`org/x`, downloaded whole by the real library; the snapshot's folder."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its protocol has another server
    add("org/x", FILES)
    return Path(snapshot_download("org/x", endpoint=hub.url))


def settle(hub: Path, age: int = 86_400) -> None:
    """Make blobs a day old, and their links as old: writes from now on are told apart."""
    for path in sorted(hub.rglob("*")):
        if path.is_symlink() or path.is_file():
            made = os.lstat(path).st_mtime - age
            os.utime(path, (made, made), follow_symlinks=False)


Forbid = Callable[[Path], None]


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """`forbid(folder)`: it can be listed no more. A mode would not keep root out."""
    closed: set[str] = set()

    def refusing(listing: Callable[..., Any]) -> Callable[..., Any]:
        def refused_if_closed(path: Any = ".") -> Any:
            if os.path.abspath(os.fspath(path)) in closed:
                raise PermissionError(13, "Permission denied", path)
            return listing(path)

        return refused_if_closed

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    return lambda folder: closed.add(str(folder))


def note_tree(snapshot: Path, files: dict[str, bytes]) -> Path:
    """`trees/<commit>.json` of a snapshot, as snapshot_download notes a commit's files."""
    noted = {}
    for name, data in files.items():
        blob = blob_name(data, large=not name.endswith(".json"))
        lfs = {"lfs_sha256": blob, "lfs_size": len(data)} if len(blob) == 64 else {}
        noted[name] = {"size": len(data), "blob_id": "0" * 40 if lfs else blob, **lfs}
    path = snapshot.parent.parent / "trees" / f"{snapshot.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"format_version": 1, "files": noted}))
    return path


def refused(run: Run, *argv: str) -> Completed:
    """A run that ends with an error; its message is in `err`."""
    done = run("cache", *argv)
    assert done.code not in (0, 1), done
    return done
