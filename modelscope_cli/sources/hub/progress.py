"""One line on a terminal while answers are waited for; nothing in a pipe."""

from __future__ import annotations

import os
import sys
import threading
import time

_QUIET = 0.4  # seconds before anything is drawn: most looks are over by then
_EVERY = 0.1


class Progress:
    """Counts requests asked and answered; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = self._done = 0
        self._drawn = 0
        self._next = time.monotonic() + _QUIET
        self.shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def asked(self, count: int = 1) -> None:
        """More requests are on their way."""
        with self._lock:
            self._asked += count

    def answered(self) -> None:
        """One of them came back."""
        with self._lock:
            self._done += 1
            if self.shown and time.monotonic() >= self._next:
                self._next = time.monotonic() + _EVERY
                self._draw(f"reading from the Hub: {self._done} of {self._asked} requests")

    def clear(self) -> None:
        """Take the line away: what follows is the answer."""
        with self._lock:
            if self._drawn:
                sys.stderr.write(f"\r{' ' * self._drawn}\r")
                sys.stderr.flush()
            self._drawn = 0
            self.shown = False

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._drawn)}")
        sys.stderr.flush()
        self._drawn = max(self._drawn, len(text))
