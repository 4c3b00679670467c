"""One function over many models: in several processes, answers in the order of the models.

Reading headers is work for the processor, which threads of Python cannot share.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from modelscope_cli.sources.hfcache.hashing import default_jobs

T = TypeVar("T")
R = TypeVar("R")


def each(
    work: Callable[[T], R], items: Sequence[T], jobs: int, lost: Callable[[T, str], R]
) -> Iterator[R]:
    """`work` of every item. Whatever breaks down with one of them, the others are answered."""
    _let_garbage_be_collected()
    guarded = _Guarded(work, lost)
    count = min(jobs, len(items))
    if count > 1 and _may_fork():
        yield from _Pool(guarded, items, count).results()
    else:
        yield from map(guarded, items)


def jobs_for(count: int, asked: int | None) -> int:
    """How many models are read at once: as asked, else by their number and the processors."""
    if asked is not None:
        return min(asked, count)
    return default_jobs() if count >= _WORTH_PROCESSES else 1


_WORTH_PROCESSES = 8  # models: below, starting processes takes as long as they save


_MOST_AT_ONCE = 16


def _let_garbage_be_collected() -> None:
    """For one answer the program leaves garbage be; thousands of models make too much of it."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _may_fork() -> bool:
    """Whether processes can be had that start in no time: not amid threads, nor off Linux."""
    return sys.platform.startswith("linux") and threading.active_count() == 1


class _Guarded(Generic[T, R]):
    """A function that never raises: a fault of ours ends one model, not all."""

    def __init__(self, work: Callable[[T], R], lost: Callable[[T, str], R]) -> None:
        self._work = work
        self.lost = lost

    def __call__(self, item: T) -> R:
        try:
            return self._work(item)
        except Exception as error:
            if os.environ.get("MSCOPE_DEBUG") == "1":
                raise
            return self.lost(item, f"a fault of mscope itself: {type(error).__name__}: {error}")


class _Pool(Generic[T, R]):
    """Processes that take a few items at a time; one that dies is replaced.

    What it had is tried again one by one, so that only the item it died of is lost.
    """

    def __init__(self, work: _Guarded[T, R], items: Sequence[T], count: int) -> None:
        import multiprocessing

        self._context = multiprocessing.get_context("fork")
        self._work = work
        self._items = items
        self._left = deque(range(len(items)))
        self._alone: deque[int] = deque()  # of a process that died: perhaps of one of these
        self._count = count
        self._busy: dict[Any, tuple[list[int], Any]] = {}  # by connection: items, the process
        self._ready: dict[int, R] = {}

    def results(self) -> Iterator[R]:
        """Every answer, in order, each as soon as those before it are there."""
        try:
            for _ in range(self._count):
                self._start()
            for number in range(len(self._items)):
                while number not in self._ready:
                    self._hear()
                yield self._ready.pop(number)
        finally:
            self._end()

    def _next(self) -> list[int]:
        """Items for a process: many while many are left, so that asking costs little."""
        if self._alone:
            return [self._alone.popleft()]
        most = max(1, min(_MOST_AT_ONCE, len(self._left) // (4 * self._count)))
        return [self._left.popleft() for _ in range(min(most, len(self._left)))]

    def _start(self) -> None:
        if not self._left and not self._alone:
            return
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_worker, args=(theirs, self._work, self._items), daemon=True
        )
        process.start()
        theirs.close()
        self._give(ours, process)

    def _give(self, connection: Any, process: Any) -> None:
        """The next items; where none are left the process is let go."""
        numbers = self._next()
        with suppress(OSError):  # it died meanwhile: reading its pipe will say so
            connection.send(numbers)
        if numbers:
            self._busy[connection] = (numbers, process)
        else:
            connection.close()
            process.join()

    def _hear(self) -> None:
        from multiprocessing import connection as connections

        heard: list[Any] = connections.wait(list(self._busy))
        for connection in heard:
            numbers, process = self._busy.pop(connection)
            try:
                self._ready.update(zip(numbers, connection.recv(), strict=True))
            except (EOFError, OSError):
                self._died(numbers, connection, process)
                self._start()
                continue
            self._give(connection, process)

    def _died(self, numbers: list[int], connection: Any, process: Any) -> None:
        connection.close()
        process.join()
        if len(numbers) > 1:
            self._alone.extend(numbers)
            return
        why = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit {process.exitcode}"
        text = f"the process that read it ended ({why})"
        self._ready[numbers[0]] = self._work.lost(self._items[numbers[0]], text)

    def _end(self) -> None:
        """Nobody waits any more: processes that still read are stopped."""
        for connection, (_, process) in self._busy.items():
            process.terminate()
            process.join()
            connection.close()
        self._busy.clear()


def _worker(connection: Any, work: _Guarded[Any, Any], items: Sequence[Any]) -> None:
    """Answer for one item after another; Ctrl-C is the parent's to obey."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TERM"] = "dumb"  # the parent draws the one line of progress
    while True:
        try:
            numbers = connection.recv()
        except (EOFError, OSError):
            return
        if not numbers:
            return
        connection.send([work(items[number]) for number in numbers])
