"""The program on a terminal of a given width, as a person sees it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len

from tests.running import ROOT

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_SECONDS = 30


class Screen(NamedTuple):
    """What came out: with its styles, and as plain lines without the blanks that end them."""

    code: int
    raw: str
    lines: list[str]

    @property
    def width(self) -> int:
        """The widest line in terminal cells."""
        return max(map(cell_len, self.lines))


def unstyled(text: str) -> list[str]:
    """The lines of drawn text without styles, and without the blanks that end them."""
    return [line.rstrip() for line in _STYLE.sub("", text).splitlines()]


def screen(*argv: str, columns: int, cwd: Path | None = None, **env: str) -> Screen:
    """`mscope argv` with stdout on a pseudo-terminal that is `columns` wide."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelscope_cli", *argv],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=environment,
    )
    os.close(terminal)
    raw = b""
    with contextlib.suppress(OSError):  # EIO, when the last writer is gone
        while data := os.read(controller, 65_536):
            raw += data
    os.close(controller)
    text = raw.decode().replace("\r\n", "\n")
    return Screen(process.wait(_SECONDS), text, unstyled(text))
