"""What is kept on disk: whole or not at all, bounded, safe with two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
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


BAD_TIMES = (
    "y",
    "NaN",
    "1e999",
    "-1e999",
    "-1",
    "1e18",
    "9" * 30,
    "1" * 5000,
    "true",
    "null",
    "[]",
)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"main": 1}', '{"main": ["x", 1]}', "[" * 100_000]
    + [f'{{"main": ["{COMMIT}", {asked}]}}' for asked in BAD_TIMES],
    ids=lambda text: text[-30:],
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


def _forged(head: object, rest: bytes = b"") -> bytes:
    """A pack whose checksums are right."""
    if isinstance(head, dict) and "crc32" not in head:
        head = {**head, "crc32": zlib.crc32(rest)}
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    length, checksum = len(text).to_bytes(8, "little"), zlib.crc32(text).to_bytes(4, "little")
    return b"mscope hub 1\n" + length + checksum + text + rest


def _with(files: object = None, pieces: object = None) -> dict[str, object]:
    return {
        "files": {"a": [10, None]} if files is None else files,
        "pieces": [] if pieces is None else pieces,
    }


# No lists of files and pieces, sizes, hashes, paths, starts and lengths: each in its place.
NO_PACKS: list[object] = [[], 1, None, "x", {}, b"[" * 100_000, {"files": {}}, {"pieces": []}]
NO_FILES: list[object] = [[], 5, {"a": 5}, {"a": []}, {"a": "xy"}, {"a": [1]}, {"a": {}}]
NO_SIZES: list[object] = [-1, 1.5, "1", None, True, 2**60, []]
NO_HASHES: list[object] = [5, [], {}]
NO_PATHS = ["../x", "/x", "a//b", ""]
NO_PIECES: list[object] = [5, {"a": 1}, [5], [[]], ["abc"], [["a", 0, 0, 0]], [[[], 0, 0]]]
NO_STARTS: list[object] = [-5, "0", None, 1.0, 11]
NO_LENGTHS: list[object] = [-5, "0", 1e9, 5, 11]
NONSENSE: list[object] = [
    *NO_PACKS,
    {**_with(), "crc32": []},
    *map(_with, NO_FILES),
    *(_with({"a": [size, None]}) for size in NO_SIZES),
    *(_with({"a": [1, oid]}) for oid in NO_HASHES),
    *(_with({path: [1, None]}) for path in NO_PATHS),
    *(_with(pieces=pieces) for pieces in NO_PIECES),
    *(_with(pieces=[["a", start, 0]]) for start in NO_STARTS),
    *(_with(pieces=[["a", 0, length]]) for length in NO_LENGTHS),
]


@pytest.mark.parametrize("head", NONSENSE, ids=lambda head: repr(head)[:60])
def test_nonsense_in_a_sound_pack_is_damage(store: Store, head: object) -> None:
    store.save("org/x", COMMIT, PACK)
    path = next(Path(hub_store.folder()).rglob("*.pack"))
    path.write_bytes(_forged(_with(pieces=[["a", 2, 3]]), b"xyz"))
    assert store.load("org/x", COMMIT) == Pack({"a": Entry(10)}, {"a": {2: b"xyz"}})
    path.write_bytes(_forged(head))
    assert store.load("org/x", COMMIT) is None
    store.save("org/x", COMMIT, PACK)
    assert store.load("org/x", COMMIT) == PACK


@pytest.mark.parametrize("name", [f"{COMMIT}.pack", "refs.json"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "dangling"])
def test_what_is_no_file(store: Store, name: str, kind: str) -> None:
    store.save("org/x", COMMIT, PACK)
    store.set_ref("org/x", "main", COMMIT)
    path = next(Path(hub_store.folder()).rglob(name))
    path.unlink()
    put: dict[str, Callable[[], None]] = {
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
        "dangling": lambda: path.symlink_to("nowhere"),
    }
    put[kind]()
    assert (store.load("org/x", COMMIT) is None) == name.endswith(".pack")
    assert (store.ref("org/x", "main") is None) == (name == "refs.json")
    os.mkfifo(f"{path}.{os.getpid()}.tmp")
    store.save("org/x", COMMIT, PACK)  # the FIFO in its way is removed
    store.save("org/x", COMMIT, PACK)
    store.set_ref("org/x", "main", COMMIT)
    store.set_ref("org/x", "main", COMMIT)
    if kind != "folder":
        assert store.load("org/x", COMMIT) == PACK
        assert store.ref("org/x", "main") is not None


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
