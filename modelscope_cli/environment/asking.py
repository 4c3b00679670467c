"""Other programs asked a question, for a bounded time and with a bounded answer.

What they print is as untrusted as a file: it may be endless, binary or never come.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from subprocess import Popen

MAX_BYTES = 1_000_000
_PIECE = 65_536
_DYING_SECONDS = 2.0


class Answer(NamedTuple):
    """What a program printed. `problem` says why that is not an answer; None where it is one."""

    out: str
    err: str
    code: int | None
    problem: str | None = None


def ask(argv: Sequence[str], *, seconds: float, environ: Mapping[str, str] | None = None) -> Answer:
    """Run a program with nothing on its stdin; it and its children end after `seconds`."""
    import subprocess  # 3 ms

    try:
        process = subprocess.Popen(  # noqa: S603
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=None if environ is None else dict(environ),
            start_new_session=os.name == "posix",
        )
    except (OSError, ValueError) as error:
        return Answer("", "", None, f"cannot be started: {_reason(error)}")
    return _listen(process, seconds)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class _Reader(threading.Thread):
    """Takes one stream in, up to MAX_BYTES; a program that says more is ended."""

    def __init__(self, process: Popen[bytes], stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.stream = stream
        self.data = bytearray()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while len(self.data) <= MAX_BYTES and (piece := self.stream.read(_PIECE)):
                self.data += piece
        if self.overflowed:
            _kill(self.process)
        with contextlib.suppress(OSError):
            self.stream.close()

    @property
    def overflowed(self) -> bool:
        return len(self.data) > MAX_BYTES

    @property
    def text(self) -> str:
        return self.data[:MAX_BYTES].decode("utf-8", "replace")


def _listen(process: Popen[bytes], seconds: float) -> Answer:
    assert process.stdout is not None  # noqa: S101  (both are pipes)
    assert process.stderr is not None  # noqa: S101
    out, err = _Reader(process, process.stdout), _Reader(process, process.stderr)
    deadline = time.monotonic() + seconds
    try:
        for reader in (out, err):
            reader.start()
        for reader in (out, err):
            reader.join(max(0.0, deadline - time.monotonic()))
        late = out.is_alive() or err.is_alive() or not _ended(process, deadline - time.monotonic())
    finally:
        _kill(process)
        _ended(process, _DYING_SECONDS)
    for reader in (out, err):
        reader.join(_DYING_SECONDS)
    problem = None
    if out.overflowed or err.overflowed:
        problem = f"printed more than {MAX_BYTES:,} bytes"
    elif late:
        problem = f"did not end within {seconds:g} seconds"
    return Answer(out.text, err.text, process.returncode, problem)


def _ended(process: Popen[bytes], seconds: float) -> bool:
    import subprocess

    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: Popen[bytes]) -> None:
    """End a program and what it started, as far as that stayed in its group."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            # The group outlives its leader: a child of it may still hold the pipe open.
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
