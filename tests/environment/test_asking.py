"""Programs that are asked: bounded in time and in what is taken of their answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelscope_cli.environment.asking import MAX_BYTES, ask
from tests.builders.environments import script

_QUICK = 10.0  # seconds; far less than anything below would take by itself


def test_an_answer_comes_whole(tmp_path: Path) -> None:
    program = script(tmp_path / "p", 'echo "out $1"; echo err >&2; exit 3')
    assert ask([str(program), "x y"], seconds=_QUICK) == ("out x y\n", "err\n", 3, None)


def test_what_is_not_there_or_cannot_run_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x7fELF nothing")
    (tmp_path / "data").chmod(0o755)
    for path in ("nothing", "data"):
        answer = ask([str(tmp_path / path)], seconds=_QUICK)
        assert answer.problem is not None
        assert answer.problem.startswith("cannot be started: ")
    problem = ask(["a\0b"], seconds=_QUICK).problem
    assert problem is not None


@pytest.mark.parametrize("stream", ["1", "2"])
def test_endless_output_is_cut_off_at_once(stream: str, tmp_path: Path) -> None:
    program = script(
        tmp_path / "p", f"while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done >&{stream}"
    )
    start = time.monotonic()
    answer = ask([str(program)], seconds=60)
    assert answer.problem == f"printed more than {MAX_BYTES:,} bytes"
    assert len(answer.out) + len(answer.err) <= MAX_BYTES
    assert time.monotonic() - start < 30


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    program = script(tmp_path / "p", f"echo begun; (sleep 3; echo >{alive}) & sleep 60")
    start = time.monotonic()
    answer = ask([str(program)], seconds=0.5)
    assert answer.problem == "did not end within 0.5 seconds"
    assert answer.out == "begun\n"
    assert time.monotonic() - start < _QUICK
    time.sleep(3.5)
    assert not alive.exists()


def test_a_child_left_behind_does_not_hold_the_answer_up(tmp_path: Path) -> None:
    program = script(tmp_path / "p", "echo done; sleep 60 &")
    start = time.monotonic()
    answer = ask([str(program)], seconds=1)
    assert answer.out == "done\n"
    assert time.monotonic() - start < _QUICK


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    program = script(tmp_path / "p", f"cat {tmp_path / 'bytes'}")
    answer = ask([str(program)], seconds=_QUICK)
    assert answer.problem is None
    assert "\ufffd" in answer.out


def test_a_signal_is_a_code_below_zero(tmp_path: Path) -> None:
    program = script(tmp_path / "p", "kill -SEGV $$")
    assert ask([str(program)], seconds=_QUICK).code == -11


def test_nothing_waits_for_the_keyboard(tmp_path: Path) -> None:
    program = script(tmp_path / "p", "cat; echo over")
    assert ask([str(program)], seconds=_QUICK).out == "over\n"


def test_an_environment_can_be_given(tmp_path: Path) -> None:
    program = script(tmp_path / "p", 'echo "$ONLY"')
    environ = {"ONLY": "this", "PATH": os.environ["PATH"]}
    assert ask([str(program)], seconds=_QUICK, environ=environ).out == "this\n"
