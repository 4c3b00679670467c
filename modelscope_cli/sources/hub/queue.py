"""Requests made at once by threads that never keep a program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from modelscope_cli.sources.hub.progress import Progress

WORKERS = 64

T = TypeVar("T")


class Queue:
    """Threads are started as work comes, up to `workers`."""

    def __init__(self, workers: int | None, progress: Progress) -> None:
        self._workers = min(workers or WORKERS, WORKERS)
        self._threads = 0
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._progress = progress
        self.stopped = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have `call` made by a thread; its answer or error is the future's."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # whoever waits gets it
                future.set_exception(error)
            self._progress.answered()

        self._progress.asked()
        self._work.put(run)
        if self._threads < self._workers:
            self._threads += 1
            threading.Thread(target=self._loop, daemon=True, name="mscope-hub").start()
        return future

    def stop(self) -> None:
        """Make no more requests: what is under way may end by itself."""
        self.stopped = True
        for _ in range(self._threads):
            self._work.put(lambda: None)

    def _loop(self) -> None:
        while not self.stopped:
            self._work.get()()
