"""When a request is made again, and what is said when no more are: pure but for the waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import NamedTuple

STATUSES = (429, 500, 502, 503, 504)
_TRIES = {"status": 5, "time-out": 3, "slow": 2, "broken": 4, "connect": 2, "name": 1, "other": 1}
_FIRST_WAIT = 0.5  # seconds, doubled each time
_LONGEST_WAIT = 8.0
_LONGEST_ASKED = 60.0  # what a server may ask for with Retry-After; longer is the user's to decide


class Response(NamedTuple):
    """What came back, its body still to be read; names of `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]


class NoAnswer(Exception):
    """Why no whole answer came: a key of `_TRIES`, and the words of who noticed."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Gate:
    """Holds back every thread of a session while a server asks for quiet."""

    def __init__(self) -> None:
        self._opens = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the server's time is over."""
        while (rest := self._opens - monotonic()) > 0:
            pause(rest)

    def close_for(self, seconds: float, *, shared: bool) -> None:
        """Wait, alone, or all threads together."""
        if shared:
            with self._lock:
                self._opens = max(self._opens, monotonic() + seconds)
        else:
            pause(seconds)


def pause(seconds: float) -> None:
    """Sleep; tests replace it."""
    time.sleep(seconds)


def wait_before(
    tries: int, status: int, headers: Mapping[str, str], problem: NoAnswer | None
) -> float | None:
    """Seconds to wait after that many tries; None where it is time to give up."""
    kind = "status" if problem is None else problem.kind
    if tries >= _TRIES[kind]:
        return None
    backoff = min(_LONGEST_WAIT, float(_FIRST_WAIT * 2 ** (tries - 1)))
    asked = retry_after(status, headers)
    if asked is None:
        return backoff
    return None if asked > _LONGEST_ASKED else max(asked, 0.05)


def retry_after(status: int, headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a server asks to wait, by Retry-After (seconds or a date) or `ratelimit`."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    if text:
        from email.utils import parsedate_to_datetime

        try:
            at = parsedate_to_datetime(text).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None
        return max(0.0, at - (time.time() if now is None else now))
    return _window_end(headers.get("ratelimit", "")) if status == 429 else None


def _window_end(text: str) -> float | None:
    """`"api";r=0;t=55` of the draft for rate limit headers: 55 seconds."""
    fields = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    rest, seconds = fields.get("r", ""), fields.get("t", "")
    return float(seconds) if rest == "0" and seconds.isdecimal() and len(seconds) < 10 else None


def explained(problem: NoAnswer, host: str) -> tuple[str, str]:
    """The message and hint of a request that never was answered."""
    kind, text = problem.kind, problem.text
    if kind == "time-out":
        return (
            f"{host} did not answer in time",
            "try again; HF_HUB_DOWNLOAD_TIMEOUT=30 waits longer",
        )
    if kind == "slow":
        return f"{host} sends too slowly: {text}", "try again later"
    if "CERTIFICATE" in text.upper():
        return f"{host}: its certificate is not trusted: {text}", _CERTIFICATE
    if kind in ("connect", "name"):
        return f"{host} cannot be reached: {text}", "is there a network? a proxy is HTTPS_PROXY"
    return f"{host}: the connection broke: {text}", "try again"


_CERTIFICATE = "a captive portal or a company's proxy? SSL_CERT_FILE names its certificates"
