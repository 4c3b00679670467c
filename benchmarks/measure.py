"""Two commands timed in turn as whole processes: A B A B, the ratio pair by pair."""

from __future__ import annotations

import os
import pty
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

Command = Sequence[str]


class Paired(NamedTuple):
    """Medians over the runs: seconds of each command, and the ratio of a pair."""

    ours: float
    theirs: float
    ratio: float


def paired(ours: Command, theirs: Command, runs: int, *, terminal: bool = False) -> Paired:
    """Run both in turn after a warm-up; output is read and thrown away, as a pipe's reader does."""
    run = _on_terminal if terminal else _into_pipe
    run(ours)
    run(theirs)
    seconds = [(run(ours), run(theirs)) for _ in range(runs)]
    return Paired(
        statistics.median(a for a, _ in seconds),
        statistics.median(b for _, b in seconds),
        statistics.median(a / b for a, b in seconds),
    )


def peak_memory(command: Command) -> int:
    """Bytes of memory the command held at its peak."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    _into_pipe(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if after <= before:
        return _peak_in_a_child(command)
    return after * 1024


def _peak_in_a_child(command: Command) -> int:
    """`ru_maxrss` is the largest of all children so far: ask in a process without others."""
    program = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        ["python3", "-c", program, *command], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _into_pipe(command: Command) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _on_terminal(command: Command) -> float:
    """With a pseudo-terminal of 200 columns as stdout."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "LINES": "50", "TERM": "xterm-256color"}
    environment.pop("CI", None)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env=environment)
    os.close(follower)
    _drain(leader)
    code = process.wait()
    seconds = time.perf_counter() - started
    os.close(leader)
    if code != 0:
        raise subprocess.CalledProcessError(code, list(command))
    return seconds


def _drain(leader: int) -> None:
    """Read until the last writer is gone, which Linux reports as an error."""
    try:
        while os.read(leader, 65_536):
            pass
    except OSError:
        return
