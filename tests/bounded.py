"""What hostile input may cost: CPU seconds, whatever machine it is and whatever else it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_RUNS = 8
_T = TypeVar("_T")

# A walk like that of a pickle's opcodes, and how long it is taken to last on the machine on which
# the bounds were set. That was not measured there: it is inferred from four million opcodes in half
# a second. A quiet machine of today takes about twice as long, so a bound is twice as long there.
_STEPS = 200_000
_STEPS_SECONDS = 0.0125


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """The result of `work`, which takes less than so many seconds of CPU.

    Neighbours that share caches and cores make a run of the same work slower, never quicker. Where
    it took too long it is run again, and held against what the machine does at that moment.
    """
    least = float("inf")
    for _ in range(_RUNS):
        took, result = _timed(work)
        if took >= seconds:
            took *= _STEPS_SECONDS / _timed(_walk)[0]
        least = min(least, took)
        if least < seconds:
            return result
    raise AssertionError(f"{least:.2f} s of CPU at the least, where {seconds} s are allowed")


def _timed(work: Callable[[], _T]) -> tuple[float, _T]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _push(stack: list[None], position: int) -> int:
    stack.append(None)
    return position


def _pop(stack: list[None], position: int) -> int:
    stack.pop()
    return position


_HANDLERS = {0: _push, 1: _pop}


def _walk() -> None:
    data = b"\0\1" * (_STEPS // 2)
    stack: list[None] = []
    position = 0
    while position < _STEPS:
        position = _HANDLERS[data[position]](stack, position + 1)
