"""Real interactive shells in a pseudo-terminal, typed into as a person does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

_PATIENCE_SECONDS = 60
_MARK = "\x1f"  # no shell echoes this byte by itself
TAB = "\t"
ALL = "\x1b*"  # readline's insert-completions; bound to the same in zsh below
_CLEAR = "\x15"
_TELL = "\x18\x0c"

# A child that makes the terminal its own: without one an interactive shell has no line editor.
_LAUNCH = (
    "import fcntl, os, sys, termios; os.setsid(); "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)

_BASH_RC = r"""
PS1='$ '
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
tell() { printf '\037%s\037' "$READLINE_LINE"; }
bind -x '"\C-x\C-l": tell'
@setup@
printf '\037\037'
"""

_ZSH_RC = r"""
PS1='$ '
unsetopt beep
tell() { printf '\037%s\037' "$BUFFER" }
zle -N tell
bindkey -e
bindkey '^X^L' tell
bindkey '^U' kill-whole-line
zle -C all-matches complete-word _generic
zstyle ':completion:all-matches:*' insert yes
zstyle ':completion:all-matches::::' completer _all_matches _complete
bindkey '^[*' all-matches
@setup@
printf '\037\037'
"""


class InteractiveShell:
    """One shell that waits at its prompt."""

    def __init__(self, argv: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "vt100"},
            cwd=cwd,
        )
        os.close(theirs)
        self._seen = ""

    def __enter__(self) -> InteractiveShell:
        try:
            self._until_mark()  # the rc file ends with one
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the shell, however it feels about that."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ours)

    def line_after(self, typed: str, key: str = TAB) -> str:
        """The command line as it stands after `typed` and `key` on an empty prompt."""
        os.write(self._ours, (_CLEAR + typed + key + _TELL).encode())
        return self._until_mark()

    def candidates(self, typed: str) -> set[str]:
        """What the last word of `typed` can become: all of them are put on the line, and read."""
        before = typed.rpartition(" ")[0]
        return set(self.line_after(typed, ALL).removeprefix(before).split())

    def _until_mark(self) -> str:
        """What stands between the next two marks."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._seen.count(_MARK) < 2:
            ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
            try:
                data = os.read(self._ours, 65536) if ready else b""
            except OSError:  # Linux's way to say that the other side is gone
                data = b""
            if not data:
                raise AssertionError(f"the shell said no more after {self._seen!r}")
            self._seen += data.decode("utf-8", "replace")
        _, told, self._seen = self._seen.split(_MARK, 2)
        return told


class Fish:
    """fish, which tells what it would complete when asked with `complete -C`."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self._env = {**env}
        self._cwd = cwd

    def line_after(self, typed: str) -> str:
        """The command line as it stands when the last word of `typed` has one candidate."""
        (candidate,) = self.candidates(typed)
        return f"{typed.rpartition(' ')[0]} {candidate} "

    def candidates(self, typed: str) -> set[str]:
        """What the last word of `typed` can become."""
        done = subprocess.run(
            ["fish", "-c", "complete -C $TYPED"],
            env={**self._env, "TYPED": typed},
            cwd=self._cwd,
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
        return {line.split("\t")[0] for line in done.stdout.splitlines()}


def bash(setup: str, env: Mapping[str, str], cwd: Path) -> InteractiveShell:
    """An interactive bash in `cwd` that has run `setup` and nothing of the machine's."""
    rc = _written(cwd.parent / "bashrc", _BASH_RC, setup)
    return InteractiveShell(["bash", "--noprofile", "--rcfile", str(rc), "-i"], env, cwd)


def zsh(setup: str, env: Mapping[str, str], cwd: Path) -> InteractiveShell:
    """The same with zsh; `setup` switches its completion system on."""
    rc = _written(cwd.parent / ".zshrc", _ZSH_RC, setup)
    return InteractiveShell(["zsh", "-d", "-i"], {**env, "ZDOTDIR": str(rc.parent)}, cwd)


def _written(path: Path, rc: str, setup: str) -> Path:
    path.write_text(rc.replace("@setup@", setup), encoding="utf-8")
    return path
