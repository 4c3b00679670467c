"""The line that a terminal shows while models are gone through."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from modelscope_cli.many import progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    made = _Terminal()
    # Not sys.stderr itself: pytest sets its own between a fixture and the test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=made))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_QUIET", 0.0)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    return made


def test_a_bar_grows_and_is_gone_at_the_end(stderr: _Terminal) -> None:
    seen = []
    for each in progress.Bar("auditing", 4).over("abcd"):
        seen.append(each)
        assert not stderr.getvalue() or stderr.getvalue().endswith("\r")  # the line is free
    assert seen == list("abcd")
    written = stderr.getvalue().split("\r")
    assert "auditing [##########..........] 2 of 4 models" in written
    assert stderr.getvalue().endswith(" \r")


def test_nothing_is_drawn_in_a_pipe(stderr: _Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=pipe))
    assert list(progress.Bar("auditing", 2).over("ab")) == ["a", "b"]
    assert pipe.getvalue() == ""


def test_the_line_is_gone_where_the_rest_is_not_wanted(stderr: _Terminal) -> None:
    results = progress.Bar("auditing", 3).over("abc")
    next(results)
    next(results)
    results.close()
    assert stderr.getvalue().endswith("\r")
