"""Where a report goes: stdout, files, notes; and whether stdout is a terminal."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import output
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Note
from modelscope_cli.output import Destination
from modelscope_cli.render import ENDINGS, FORMATS, RENDERERS
from modelscope_cli.report import Column, Report, Table


def _report(rows: int = 2, **changes: Any) -> Report:
    names = [f"w{number}" for number in range(rows)]
    report = Report(
        "test",
        None,
        "title",
        lambda folded: [Table([Column("name", "name", "name")], [[n, *()] for n in names])],
        lambda: {"rows": ({"name": name} for name in names)},
        ("name",),
        lambda: ({"name": name} for name in names),
    )
    return report._replace(**changes)


# Checked before anything is read


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x", "no output format has the ending ''"),
        ("x.yaml", "no output format has the ending '.yaml'"),
        (".json", "no output format has the ending ''"),
    ],
)
def test_what_has_no_format(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        output.check(Destination(files=[str(tmp_path / name)]))


@pytest.mark.parametrize("ending", [*ENDINGS, ".JSON", ".Md"])
def test_endings(tmp_path: Path, ending: str) -> None:
    output.check(Destination(files=[str(tmp_path / f"x{ending}")]), of_checks=True)


def test_every_format_that_is_a_file_has_an_ending() -> None:
    assert {row.name for row in ENDINGS.values()} == set(RENDERERS) - {"github"}


def test_formats_of_ci_services_are_for_findings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for what `mscope audit` finds"):
        output.check(Destination(files=[str(tmp_path / "x.sarif")]))


# Written


@pytest.mark.parametrize("format_", FORMATS)
def test_stdout(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert output.emit(_report(), Destination(format_)) == 0
    out = capsys.readouterr().out
    assert "w0" in out
    assert "w1" in out
    assert out.endswith("\n")


def test_the_exit_code_is_the_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.emit(_report(exit_code=1), Destination()) == 1


def test_files_beside_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("a.csv", "b.md", "c.json")]
    output.emit(_report(), Destination("jsonl", files))
    assert capsys.readouterr().out == '{"name": "w0"}\n{"name": "w1"}\n'
    assert (tmp_path / "a.csv").read_bytes() == b"name\nw0\nw1\n"
    assert (tmp_path / "b.md").read_text().startswith("## title\n")
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.md", "c.json"]


def test_a_file_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output.emit(_report(), Destination(files=["a.csv"]))
    assert (tmp_path / "a.csv").exists()


def test_a_file_has_the_usual_permissions(tmp_path: Path, capsys: object) -> None:
    mask = os.umask(0o027)
    try:
        output.emit(_report(), Destination(files=[str(tmp_path / "a.csv")]))
        assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027  # asking for it does not change it
    finally:
        os.umask(mask)


def test_half_a_file_is_never_seen(tmp_path: Path, capsys: object) -> None:
    target = tmp_path / "a.csv"
    target.write_text("before")
    seen = []

    def records() -> Iterator[Mapping[str, Any]]:
        yield {"name": "first"}
        seen.append(target.read_text())
        raise LookupError

    with pytest.raises(LookupError):
        output.emit(_report(records=records), Destination("table", [str(target)]))
    assert seen == ["before"]
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_link_is_replaced_not_written_through(tmp_path: Path, capsys: object) -> None:
    """As everything that replaces a file at once; the blob behind a cache's link stays whole."""
    (tmp_path / "blob").write_text("precious")
    (tmp_path / "a.csv").symlink_to("blob")
    output.emit(_report(), Destination(files=[str(tmp_path / "a.csv")]))
    assert (tmp_path / "blob").read_text() == "precious"
    assert not (tmp_path / "a.csv").is_symlink()


def test_a_large_answer_is_written_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counting()
    monkeypatch.setattr(sys, "stdout", stream)
    output.emit(_report(50_000), Destination("jsonl"))
    assert stream.getvalue().count("\n") == 50_000
    assert stream.writes < 30


# What cannot be written takes nothing else with it


@pytest.mark.parametrize(
    ("name", "said"),
    [("no/x.json", "there is no folder"), ("folder.json", "it is a folder")],
)
def test_a_place_where_no_file_can_be(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.json").mkdir()
    files = [str(tmp_path / each) for each in (name, "a.csv", "b.md")]
    output.check(Destination(files=files))  # the ending is one
    with pytest.raises(UsageError, match=said):
        output.emit(_report(), Destination("jsonl", files))
    assert capsys.readouterr().out == '{"name": "w0"}\n{"name": "w1"}\n'
    assert (tmp_path / "a.csv").exists()
    assert (tmp_path / "b.md").exists()


def test_every_place_that_fails_is_named(tmp_path: Path, capsys: object) -> None:
    files = [str(tmp_path / each) for each in ("no/x.json", "a.csv", "nor/y.md")]
    with pytest.raises(UsageError, match=r"no/x\.json: .*; .*nor/y\.md: "):
        output.emit(_report(), Destination(files=files))
    assert (tmp_path / "a.csv").exists()


def test_files_are_there_although_stdout_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def fileno(self) -> int:
            raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(UsageError, match="stdout cannot be written"):
        output.emit(_report(), Destination(files=[str(tmp_path / "a.csv")]))
    assert (tmp_path / "a.csv").read_bytes() == b"name\nw0\nw1\n"


# Notes


@pytest.mark.parametrize(
    ("quiet", "said"),
    [(False, "mscope: note: n\nmscope: warning: w\n"), (True, "mscope: warning: w\n")],
)
def test_notes(quiet: bool, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(notes=(Note("n"), Note("w", warning=True)))
    output.emit(report, Destination(quiet=quiet))
    captured = capsys.readouterr()
    assert captured.err == said
    assert captured.out.startswith("title")


# A terminal


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("color", "environ", "is_terminal"),
    [
        ("auto", {}, True),
        ("never", {}, True),
        ("auto", {"NO_COLOR": "1"}, True),
        ("auto", {"CI": "true"}, False),
        ("auto", {"CI": "1"}, False),
        ("auto", {"CI": "false"}, True),
        ("auto", {"CI": "0"}, True),
        ("auto", {"CI": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("auto", {"TERM": "xterm-256color"}, True),
        ("always", {"CI": "true", "TERM": "dumb"}, True),
    ],
)
def test_what_counts_as_a_terminal(
    color: str, environ: dict[str, str], is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", _Terminal())
    assert output.is_terminal(color, environ) is is_terminal
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output.is_terminal(color, environ) is (color == "always")


@pytest.mark.parametrize(
    ("fold", "terminal", "seen"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_folding_is_for_terminals(
    fold: bool | None, terminal: bool, seen: bool, capsys: object
) -> None:
    asked: list[bool] = []

    def sections(folded: bool) -> list[Table]:
        asked.append(folded)
        return []

    color = "always" if terminal else "auto"
    output.emit(_report(sections=sections, fold=fold), Destination("table", color=color))
    assert asked == [seen]


def test_a_drawn_table_in_a_pipe_is_as_wide_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "w." * 200
    columns = [Column(str(number), str(number), rank=number) for number in range(1, 9)]
    table = Table([Column("name", "name", "name"), *columns], [[name, *("value",) * 8]])
    output.emit(_report(sections=lambda folded: [table]), Destination("table", color="always"))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "value" in line]
    assert row.count("value") == 8
    assert name in row
    assert len(row) < 800
