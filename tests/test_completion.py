"""Completion without a shell: the scripts, the cutting of a bash line, what is let through."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli import completion
from modelscope_cli.completion import Line, bash_line
from modelscope_cli.errors import UsageError
from tests.running import ROOT, Run

_FILES = {"bash": "mscope.bash", "zsh": "_mscope", "fish": "mscope.fish"}
_BREAKS = " \t\n\"'@><=;|&(:"  # bash's default COMP_WORDBREAKS


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_committed_script_is_what_the_program_prints(shell: str, run: Run) -> None:
    committed = (ROOT / "completions" / _FILES[shell]).read_text(encoding="utf-8")
    done = run("--show-completion", shell)
    assert (done.code, done.out) == (0, committed)


def test_every_committed_script_is_known() -> None:
    assert {path.name for path in (ROOT / "completions").iterdir()} == set(_FILES.values())


def test_a_shell_without_a_script_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="bash, zsh, fish") as refused:
        completion.script("fisch")
    assert refused.value.hint == "did you mean fish?"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mscope", Line([], "mscope")),
        ("mscope ", Line([], "")),
        ("mscope params builtin:hu", Line(["params"], "builtin:hu", 8)),
        ("mscope params --format=js", Line(["params"], "--format=js", 9)),
        ("mscope params a:b@c", Line(["params"], "a:b@c", 4)),
        ("mscope params 'builtin:hu", Line(["params"], "builtin:hu")),
        ("mscope params 'a:'b", Line(["params"], "a:b")),
        ("mscope params a:'b", Line(["params"], "a:b", 2)),
        ("mscope params builtin\\:hu", Line(["params"], "builtin:hu")),
        ("mscope params 'two words' \"\" x", Line(["params", "two words", ""], "x")),
    ],
)
def test_a_bash_line_is_cut_where_bash_cuts_it(text: str, line: Line) -> None:
    assert bash_line(text, _BREAKS) == line


def test_without_the_break_nothing_stays() -> None:
    assert bash_line("mscope params builtin:hu", " \t\n") == Line(["params"], "builtin:hu", 0)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_quoted_words_come_back(words: list[str]) -> None:
    line = bash_line(f"mscope {shlex.join(words)} ", _BREAKS)
    assert line == Line(words, "", 0)


@pytest.mark.parametrize("shell", completion.SHELLS)
@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ("pa", ["params", "pack"]),
        ("params --outp", ["--output"]),
        ("params -f json", ["json", "jsonl"]),
        ("--show-completion z", ["zsh"]),
        ("-V conf", ["config"]),
        ("params --no-such-option --outp", ["--output"]),
    ],
)
def test_candidates(shell: str, words: str, candidates: list[str], run: Run) -> None:
    argv = [f"mscope {words}", _BREAKS] if shell == "bash" else words.split(" ")
    done = run(*argv, env={"_MSCOPE_COMPLETE": shell})
    assert (done.code, done.err) == (0, "")
    assert [line.split("\t")[0] for line in done.out.splitlines()][1:] == candidates


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("params ", "files"),
        ("params -o ", "files"),
        ("config --diff ", "files"),
        ("params --match ", "words"),
        ("params -f ", "words"),
        ("params --o", "words"),
    ],
)
def test_where_file_names_may_stand(words: str, kind: str, run: Run) -> None:
    done = run(*words.split(" "), env={"_MSCOPE_COMPLETE": "fish"})
    assert done.out.splitlines()[0] == kind


@pytest.mark.parametrize("name", ["x$(touch gone)", "x;id", "x\x1b[31m", "x\ny", "x`id`", "x y"])
def test_a_hostile_name_in_the_cache_stays_out_of_the_shell(
    name: str, tmp_path: Path, run: Run
) -> None:
    for repo in (name, "xfine"):
        (tmp_path / f"models--org--{repo}" / "snapshots").mkdir(parents=True)
    env = {"_MSCOPE_COMPLETE": "zsh", "HF_HUB_CACHE": str(tmp_path)}
    done = run("params", "org/x", env=env)
    assert done.out == "files\norg/xfine\t\n"
