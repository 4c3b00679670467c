"""What is kept on disk: whole or not at all, bounded, safe with two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_cli.sources.hub import store as hub_store
from modelscope_cli.sources.hub.listing import Entry
from modelscope_cli.sources.hub.store import Pack, Store
from tests.running import ROOT

COMMIT = "d76c4a5" + "0" * 33
PACK = Pack({"a.json": Entry(3, "x"), "b": Entry(10**12)}, {"a.json": {0: b"{ }"}, "b": {8: b"yz"}})


@pytest.fixture
def store() -> Store:
    return Store("https://huggingface.co")


def test_round_trip(store: Store) -> None:
    assert store.load("org/x", COMMIT) is None
    store.save("org/x", COMMIT, PACK)
    assert store.load("org/x", COMMIT) == PACK
    assert store.commits("org/x") == [COMMIT]
    assert store.ids() == ["org/x"]
    assert Store("http://127.0.0.1:1").load("org/x", COMMIT) is None  # another Hub


def test_what_is_kept_grows(store: Store) -> None:
    store.save("org/x", COMMIT, PACK)
    store.save("org/x", COMMIT, Pack(PACK.files, {"b": {0: b"w", 8: b"yzz"}}))
    found = store.load("org/x", COMMIT)
    assert found is not None
    assert found.pieces == {"a.json": {0: b"{ }"}, "b": {0: b"w", 8: b"yzz"}}


def test_refs(store: Store) -> None:
    assert store.ref("org/x", "main") is None
    store.set_ref("org/x", "main", COMMIT)
    store.set_ref("org/x", "refs/pr/1", "1" * 40)
    found = store.ref("org/x", "main")
    assert found is not None
    assert found.commit == COMMIT
    assert set(store.refs("org/x")) == {"main", "refs/pr/1"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"main": 1}', '{"main": ["x", 1]}', f'{{"main": ["{COMMIT}", "y"]}}']
)
def test_broken_refs(store: Store, text: str) -> None:
    store.set_ref("org/x", "main", COMMIT)
    next(Path(hub_store.folder()).rglob("refs.json")).write_text(text)
    assert store.ref("org/x", "main") is None


def test_every_damage_is_noticed(store: Store) -> None:
    store.save("org/x", COMMIT, PACK)
    path = next(Path(hub_store.folder()).rglob("*.pack"))
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at])
        assert store.load("org/x", COMMIT) is None
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert store.load("org/x", COMMIT) is None
    path.write_bytes(data + b"x")
    assert store.load("org/x", COMMIT) is None


def test_it_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_store, "MAX_BYTES", 10_000)
    for number in range(9):
        store.save("org/x", f"{number}" * 40, Pack({}, {"a": {0: bytes(2000)}}))
        os.utime(next(Path(hub_store.folder()).rglob(f"{number}*.pack")), (number, number))
    kept = store.commits("org/x")
    assert f"{8}" * 40 in kept
    assert "0" * 40 not in kept
    assert sum(usage.bytes for usage in hub_store.usage()) <= 10_000
    monkeypatch.setattr(hub_store, "MAX_PACK_BYTES", 1000)
    store.save("org/y", COMMIT, Pack({}, {"a": {0: bytes(2000)}}))
    assert store.load("org/y", COMMIT) is None


def test_usage(store: Store) -> None:
    store.save("org/x", COMMIT, PACK)
    Store("http://127.0.0.1:80").save("gpt2", COMMIT, PACK)
    found = {(each.host, each.id, each.commit) for each in hub_store.usage()}
    assert found == {("huggingface.co", "org/x", COMMIT), ("127.0.0.1:80", "gpt2", COMMIT)}
    assert all(each.bytes == Path(each.path).stat().st_size for each in hub_store.usage())


def test_only_its_owner_reads_it(store: Store) -> None:
    store.save("org/x", COMMIT, PACK)
    path = next(Path(hub_store.folder()).rglob("*.pack"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


_WRITER = """
import sys
from modelscope_cli.sources.hub.listing import Entry
from modelscope_cli.sources.hub.store import Pack, Store
store, name = Store("https://huggingface.co"), sys.argv[1]
for number in range(60):
    store.save("org/x", "a" * 40, Pack({name: Entry(1)}, {f"{name}{number}": {0: bytes(20000)}}))
    assert store.load("org/x", "a" * 40) is not None
    store.set_ref("org/x", name, "a" * 40)
"""


def test_two_processes(store: Store) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", _WRITER, name], env=environment) for name in "pq"
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    found = store.load("org/x", "a" * 40)
    assert found is not None
    assert found.pieces
    assert not list(Path(hub_store.folder()).rglob("*.tmp"))
