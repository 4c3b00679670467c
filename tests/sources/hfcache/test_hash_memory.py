"""What is remembered of hashes: by size, time and inode; two processes at once; damaged files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelscope_cli.analysis.cache.facts import SHA256, Stamp
from modelscope_cli.sources.hfcache import hash_memory
from modelscope_cli.sources.hfcache.hash_memory import Memory
from tests.running import ROOT

OLD = Stamp(5, 10**18, 10**18, 0, 1, 2, 0o100644)
DIGEST = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mscope" / "hashes"


def test_kept_and_found_again(path: Path) -> None:
    assert Memory(str(path)).get(OLD, SHA256) is None
    Memory(str(path)).keep(OLD, SHA256, DIGEST)
    assert Memory(str(path)).get(OLD, SHA256) == DIGEST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "device", "inode"])
def test_a_file_that_changed_is_another(path: Path, field: str) -> None:
    Memory(str(path)).keep(OLD, SHA256, DIGEST)
    changed = OLD._replace(**{field: getattr(OLD, field) + 1})
    assert Memory(str(path)).get(changed, SHA256) is None
    assert Memory(str(path)).get(OLD._replace(atime_ns=9), SHA256) == DIGEST


def test_a_young_file_is_not_kept(path: Path) -> None:
    now = time.time_ns()
    Memory(str(path)).keep(OLD._replace(mtime_ns=now), SHA256, DIGEST)
    Memory(str(path)).keep(OLD._replace(ctime_ns=now), SHA256, DIGEST)
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [b"", b"\0" * 100, b"1 2 3\n", b"\xff\xfe\n", b"a b c d e sha256 " + b"0" * 64 + b"\n",
     b"1 2 3 4 5 md5 " + b"0" * 32 + b"\n", b"9" * 5000 + b" 1 1 1 1 sha256 " + b"0" * 64 + b"\n"],
)  # fmt: skip
def test_a_damaged_file_is_only_forgetful(path: Path, text: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(text)
    memory = Memory(str(path))
    assert memory.get(OLD, SHA256) is None
    if not text or text.endswith(b"\n"):
        memory.keep(OLD, SHA256, DIGEST)
        assert Memory(str(path)).get(OLD, SHA256) == DIGEST


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(str(tmp_path / "file" / "hashes"))
    memory.keep(OLD, SHA256, DIGEST)
    assert Memory(str(tmp_path / "file" / "hashes")).get(OLD, SHA256) is None


def test_it_does_not_grow_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_memory, "_MAX_BYTES", 5_000)
    memory = Memory(str(path))
    for inode in range(100):
        memory.keep(OLD._replace(inode=inode), SHA256, DIGEST)
    again = Memory(str(path))
    assert again.get(OLD._replace(inode=99), SHA256) == DIGEST
    assert again.get(OLD._replace(inode=0), SHA256) is None
    assert path.stat().st_size <= 2_500
    assert not list(path.parent.glob("*.tmp"))


_KEEP = """
import sys
from modelscope_cli.analysis.cache.facts import Stamp
from modelscope_cli.sources.hfcache.hash_memory import Memory
memory = Memory(sys.argv[1])
for inode in range(200):
    stamp = Stamp(5, 10**18, 10**18, 0, int(sys.argv[2]), inode, 0)
    memory.keep(stamp, "sha256", "%064x" % inode)
"""


def test_two_processes_at_once(path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([sys.executable, "-c", _KEEP, str(path), device], env=env)
        for device in "12"
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    memory = Memory(str(path))
    for device in (1, 2):
        for inode in range(200):
            stamp = OLD._replace(device=device, inode=inode)
            assert memory.get(stamp, SHA256) == f"{inode:064x}"
