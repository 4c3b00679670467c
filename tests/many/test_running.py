"""Many models at once: answers in order, and nothing that breaks down stops the others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from modelscope_cli.many import running
from tests.running import run_python


def _double(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return 2 * item


def _lost(item: int, why: str) -> str:
    return f"{item}: {why}"


def _each(items: list[int], jobs: int) -> list[object]:
    work: Callable[[int], object] = _double
    return list(running.each(work, items, jobs, _lost))


def test_one_after_the_other_a_fault_is_an_answer() -> None:
    assert _each([1, 3, 2], 1) == [2, "3: a fault of mscope itself: ValueError: three", 4]


def test_a_fault_is_raised_where_somebody_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSCOPE_DEBUG", "1")
    with pytest.raises(ValueError, match="three"):
        _each([3], 1)


def test_jobs_follow_the_number_of_models() -> None:
    assert running.jobs_for(1, None) == 1
    assert running.jobs_for(3, 8) == 3
    assert running.jobs_for(1000, None) >= 1


# A process that starts no threads, as the program does: pytest's workers have some.
_PROGRAM = """
import os, signal, sys, time
from modelscope_cli.many import running

def work(item):
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "slow":
        time.sleep(0.3)
    if item == "raise":
        raise ValueError("no")
    return f"{item} done by {'me' if os.getpid() == int(sys.argv[1]) else 'another'}"

sys.argv[1] = str(os.getpid())
for result in running.each(work, sys.argv[2].split(), 2, lambda item, why: f"{item} lost: {why}"):
    print(result, flush=True)
"""
_ITEMS = "slow b die c raise d die die e " + " ".join(f"x{n}" for n in range(60)) + " die y z"


def test_processes_answer_in_order_and_a_dead_one_is_replaced() -> None:
    done = run_python("-c", _PROGRAM, "", _ITEMS)
    assert done.err == ""
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == _ITEMS.split()
    assert lines[0] == "slow done by another"
    assert lines[2] == "die lost: the process that read it ended (signal 9)"
    assert lines[4] == "raise lost: a fault of mscope itself: ValueError: no"
    assert lines[8] == "e done by another"
    assert lines[-3].startswith("die lost")
    assert sum(" lost: " in line for line in lines) == 5


def test_nobody_is_left_behind_when_the_answers_are_not_wanted() -> None:
    program = _PROGRAM.replace("print(result, flush=True)", "print(result); break") + (
        "import multiprocessing; print(len(multiprocessing.active_children()))\n"
    )
    started = time.monotonic()
    done = run_python("-c", program, "", "a slow slow slow")
    assert done.out.splitlines()[0] == "a done by another"
    assert done.out.splitlines()[-1] == "0"
    assert time.monotonic() - started < 20


def test_errors_survive_the_way_between_processes() -> None:
    import pickle

    from modelscope_cli.errors import MissingExtra, NotFound, TruncatedFile

    for error in (
        TruncatedFile("f", "cut", offset=3, tensor="t", hint="h"),
        NotFound("a", "b"),
        MissingExtra("x", "live"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert str(again) == str(error)
