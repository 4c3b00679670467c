"""Hashes of files, several at once: threads, as hashlib and reads let others run meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from modelscope_cli.analysis.cache.facts import GIT_SHA1, SHA256, Stamp, key
from modelscope_cli.facts import Unknown
from modelscope_cli.sources.hfcache.links import stamp

_CHUNK = 1 << 20
DEFAULT_JOBS = 4


class Job(NamedTuple):
    """A file to be hashed: as it was when it was found."""

    path: str
    stamp: Stamp
    algorithms: tuple[str, ...]


class Hashes(NamedTuple):
    """What came out: a hash for each algorithm asked for, or why there is none."""

    by_algorithm: dict[str, str]
    unknown: Unknown | None = None


def default_jobs() -> int:
    """min(4, the processors that this process may use)."""
    if hasattr(os, "sched_getaffinity"):
        return min(DEFAULT_JOBS, len(os.sched_getaffinity(0)))
    return min(DEFAULT_JOBS, os.cpu_count() or 1)


def run(
    jobs: Sequence[Job], threads: int | None, done: Callable[[int], None]
) -> Iterator[tuple[Job, Hashes]]:
    """Hash all files, largest first, each as soon as it is ready. `done` counts bytes, in threads.

    Closing the iterator, or Ctrl-C, stops all threads within a chunk.
    """
    count = min(threads or default_jobs(), len(jobs))
    largest_first = sorted(jobs, key=lambda job: -job.stamp.size)
    if count <= 1:
        for job in largest_first:
            yield job, _hash(job, done, threading.Event())
        return
    yield from _in_threads(largest_first, count, done)


def _in_threads(
    jobs: Sequence[Job], count: int, done: Callable[[int], None]
) -> Iterator[tuple[Job, Hashes]]:
    """Threads and a queue of our own: a Ctrl-C amid `as_completed` leaves its locks taken."""
    stop = threading.Event()
    left = SimpleQueue[Job]()
    ready = SimpleQueue[tuple[Job, Hashes | Exception]]()
    for job in jobs:
        left.put(job)
    work = (left, ready, done, stop)
    threads = [threading.Thread(target=_work, args=work) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            job, hashes = _next(ready)
            if isinstance(hashes, Exception):
                raise hashes
            yield job, hashes
    finally:
        stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()


def _next(ready: SimpleQueue[tuple[Job, Hashes | Exception]]) -> tuple[Job, Hashes | Exception]:
    """Wait in short turns: a signal that comes just before a wait begins does not end it."""
    while True:
        try:
            return ready.get(timeout=_TURN)
        except Empty:
            continue


_TURN = 0.1  # seconds


def _work(
    left: SimpleQueue[Job],
    ready: SimpleQueue[tuple[Job, Hashes | Exception]],
    done: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Hash what is left, until nothing is or somebody says stop."""
    while not stop.is_set():
        try:
            job = left.get_nowait()
        except Empty:
            return
        try:
            ready.put((job, _hash(job, done, stop)))
        except Exception as error:  # whoever waits must hear of it
            ready.put((job, error))


def _hash(job: Job, done: Callable[[int], None], stop: threading.Event) -> Hashes:
    """Read one file once; never blocks on a FIFO, and says so where the file changed meanwhile."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(job.path, flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        return Hashes({}, Unknown(error.strerror or str(error)))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or key(stamp(status)) != key(job.stamp):
            return Hashes({}, Unknown("it changed while the cache was read"))
        hashers = {name: _new(name, status.st_size) for name in job.algorithms}
        read = _feed(handle, list(hashers.values()), done, stop)
        if read != status.st_size or key(stamp(os.fstat(handle))) != key(job.stamp):
            return Hashes({}, Unknown("it changed while it was read"))
    except OSError as error:
        return Hashes({}, Unknown(error.strerror or str(error)))
    finally:
        os.close(handle)
    return Hashes({name: hasher.hexdigest() for name, hasher in hashers.items()})


def _feed(
    handle: int, hashers: Sequence[Any], done: Callable[[int], None], stop: threading.Event
) -> int:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    total = 0
    with open(handle, "rb", buffering=0, closefd=False) as stream:
        while (count := stream.readinto(buffer)) and not stop.is_set():
            for hasher in hashers:
                hasher.update(view[:count])
            total += count
            done(count)
    return total


def _new(algorithm: str, size: int) -> Any:
    if algorithm == SHA256:
        return hashlib.sha256()
    if algorithm != GIT_SHA1:
        raise ValueError(algorithm)
    # Git's name of a blob, no protection: `usedforsecurity` lets FIPS builds compute it.
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
