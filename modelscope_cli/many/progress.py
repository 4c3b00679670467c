"""One line on a terminal while many models are gone through; nothing in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

R = TypeVar("R")

_QUIET = 0.4  # seconds before anything is drawn
_EVERY = 0.1
_WIDTH = 20  # characters of the bar


class Bar:
    """How many models of how many."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._drawn = 0
        self._next = time.monotonic() + _QUIET
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def over(self, results: Iterable[R]) -> Generator[R, None, None]:
        """The same results, counted as they pass; the line is gone when they end."""
        try:
            for result in results:
                self._done += 1
                self._clear()  # whoever takes the result may write
                yield result
                self._draw()
        finally:
            self._clear()

    def _draw(self) -> None:
        if not self._shown or (now := time.monotonic()) < self._next:
            return
        self._next = now + _EVERY
        full = _WIDTH * self._done // max(self._total, 1)
        bar = "#" * full + "." * (_WIDTH - full)
        text = f"{self._what} [{bar}] {self._done:,} of {self._total:,} models"
        sys.stderr.write(f"\r{text}")
        sys.stderr.flush()
        self._drawn = len(text)

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\r{' ' * self._drawn}\r")
            sys.stderr.flush()
            self._drawn = 0
