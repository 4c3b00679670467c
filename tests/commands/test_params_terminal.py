"""`mscope params` on a terminal: what fits, what is hidden, and that nothing is cut."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import output
from tests.documents import document
from tests.running import Golden, Run
from tests.terminal import Screen, screen, unstyled


def _shown(lines: list[str]) -> str:
    """Names whole again: continuation lines are indented by two."""
    text = "\n".join(lines)
    return re.sub(r"(\S*\.)(?: .*)?\n  (?=\S)", r"\1", text)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal(work: Path, columns: int, golden: Golden) -> None:
    found = screen("params", "builtin:huozi3", columns=columns, cwd=work)
    assert found.code == 0
    assert found.width <= columns
    golden(f"params/terminal-{columns}.txt", "\n".join(found.lines) + "\n")
    assert "x256" in found.raw  # folded
    assert "\x1b[" in found.raw
    for shape in ("[57002, 4096]", "[14336, 4096]", "[4096]", "[8, 4096]"):
        assert shape in found.raw
    assert "model.layers.{0..31}.block_sparse_moe.experts.{0..7}.w1.weight" in _shown(found.lines)
    assert "total of 995 tensors" in found.raw
    assert "46,907,609,088" in found.raw


@pytest.mark.parametrize("columns", [40, 60, 72, 80, 100, 120, 200, 400])
@pytest.mark.parametrize("model", ["m", "parts", "nf4", "builtin:clip-vit-large-patch14-336"])
@pytest.mark.parametrize("argv", [["--fold"], ["--no-fold"], ["--by", "module"]])
def test_nothing_is_wider_than_the_terminal(
    run: Run,
    work: Path,
    columns: int,
    model: str,
    argv: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output, "drawn_width", lambda: columns)
    done = run("params", model, "--color", "always", *argv, cwd=work, env={"TERM": "xterm"})
    drawn = Screen(done.code, done.out, unstyled(done.out))
    assert drawn.width <= columns
    if "--by" in argv:
        return
    rows = document(run("params", model, "--json", cwd=work).out)["tensors"]
    if columns >= 72:
        for row in rows:
            assert str(row["shape"]) in done.out
            assert row["dtype"] in done.out
    if "--no-fold" in argv:
        text = re.sub(r"\s+", "", "".join(line[: _name_end(drawn.lines)] for line in drawn.lines))
        assert all(row["name"] in text for row in rows)


def _name_end(lines: list[str]) -> int:
    """Where the column of names ends: the next title begins after two blanks."""
    header = next(line for line in lines if re.match(r"(component +)?name", line))
    match = re.search(r"name +", header)
    assert match
    return match.end()


@pytest.mark.parametrize("env", [{"CI": "true"}, {"TERM": "dumb"}])
def test_a_terminal_that_nobody_looks_at(work: Path, env: dict[str, str], params: Any) -> None:
    found = screen("params", "m", columns=80, cwd=work, **env)
    assert found.raw == params().out


@pytest.mark.parametrize(
    ("argv", "env"), [([], {"NO_COLOR": "1"}), (["--color", "never"], {})], ids=["env", "option"]
)
def test_a_terminal_without_colour(work: Path, argv: list[str], env: dict[str, str]) -> None:
    found = screen("params", "m", *argv, columns=100, cwd=work, **env)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", found.raw)
    assert "{0..11}" in found.raw  # still drawn and folded


def test_colour_in_a_pipe_where_it_was_asked_for(params: Any) -> None:
    assert "\x1b[36m" in params("--color", "always").out


def test_other_formats_on_a_terminal(work: Path, params: Any) -> None:
    for format_ in ("json", "csv", "md"):
        found = screen("params", "m", "-f", format_, columns=80, cwd=work)
        assert found.raw == params("-f", format_).out
