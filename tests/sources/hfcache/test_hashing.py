"""Hashes in threads: right for any size, bounded in memory, and every failure is an answer."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.cache.facts import GIT_SHA1, SHA256
from modelscope_cli.sources.hfcache import hashing
from modelscope_cli.sources.hfcache.links import stamp


def _job(path: Path, *algorithms: str) -> hashing.Job:
    return hashing.Job(str(path), stamp(os.lstat(path)), algorithms or (SHA256,))


def _run(jobs: list[hashing.Job], threads: int = 2) -> dict[str, hashing.Hashes]:
    return {job.path: hashes for job, hashes in hashing.run(jobs, threads, lambda count: None)}


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=25)
def test_hashes_are_git_s_and_hashlib_s(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], threads: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    jobs = []
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
        jobs.append(_job(folder / str(number), SHA256, GIT_SHA1))
    found = _run(jobs, threads)
    for job, content in zip(jobs, contents, strict=True):
        assert found[job.path].by_algorithm == {
            SHA256: hashlib.sha256(content).hexdigest(),
            GIT_SHA1: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        }


@pytest.mark.parametrize("size", [0, 1, hashing._CHUNK - 1, hashing._CHUNK, 2 * hashing._CHUNK + 7])
def test_sizes_around_a_chunk(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(os.urandom(size))
    counted: list[int] = []
    ((_, hashes),) = hashing.run([_job(path)], 1, counted.append)
    assert hashes.by_algorithm[SHA256] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(counted) == size


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    jobs = []
    for number in range(4):
        with (tmp_path / str(number)).open("wb") as out:
            out.truncate(64 * 2**20)
        jobs.append(_job(tmp_path / str(number)))
    tracemalloc.start()
    _run(jobs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * hashing._CHUNK


def test_what_cannot_be_hashed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"before")
    job = _job(path)
    path.write_bytes(b"something after")
    assert "changed" in str(_run([job])[job.path].unknown)
    path.unlink()
    assert "No such file" in str(_run([job])[job.path].unknown)
    path.symlink_to("/dev/zero")
    assert _run([job])[job.path].unknown is not None
    path.unlink()
    os.mkfifo(path)
    assert _run([job])[job.path].unknown is not None


def test_a_fault_in_a_thread_is_heard_of(tmp_path: Path) -> None:
    jobs = []
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"x")
        jobs.append(_job(tmp_path / str(number), "md5"))
    with pytest.raises(ValueError, match="md5"):
        _run(jobs)


def test_threads_end_with_the_iterator(tmp_path: Path) -> None:
    import threading

    before = threading.active_count()
    jobs = []
    for number in range(6):
        with (tmp_path / str(number)).open("wb") as out:
            out.truncate(256 * 2**20)
        jobs.append(_job(tmp_path / str(number)))
    iterator = hashing.run(jobs, 2, lambda count: None)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_jobs_by_default_are_few() -> None:
    assert 1 <= hashing.default_jobs() <= 4
