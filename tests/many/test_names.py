"""Which models a run is about: typed, listed and cached ones, each once."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from modelscope_cli.errors import UsageError
from modelscope_cli.many import names
from modelscope_cli.opening import How
from tests.builders import hfcache


def gathered(typed: list[str], lists: list[str], *, cached: bool = False) -> list[str]:
    return [each.model for each in names.gather(typed, lists, How(), cached=cached)]


def test_typed_ones_come_first_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("# all of them\n\nb\r\n  org/c@v1  \na\nb\n")
    assert gathered(["a"], [str(tmp_path / "l")]) == ["a", "b", "org/c@v1"]


def test_a_list_from_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("x\ny\n"))
    assert gathered([], ["-"]) == ["x", "y"]
    assert names.listed(["-"]) == ["x", "y"]  # who looks again is told the same
    with pytest.raises(UsageError, match="twice"):
        gathered([], ["-", "-"])


def test_a_mark_of_the_byte_order_is_no_part_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l").write_text("a\nb\n", encoding="utf-8-sig")
    assert gathered([], [str(tmp_path / "l")]) == ["a", "b"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeffx\n"))
    assert gathered([], ["-"]) == ["x"]


def test_a_list_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        gathered([], [str(tmp_path / "none")])
    with pytest.raises(UsageError, match="cannot be read"):
        gathered([], [str(tmp_path)])


def test_snapshots_of_the_cache_are_opened_by_their_paths_and_offline(tmp_path: Path) -> None:
    hfcache.written_through(tmp_path)
    found = names.gather([], [], How(cache_dir=str(tmp_path), refresh=True), cached=True)
    assert found
    for each in found:
        assert Path(each.model).is_dir()
        assert Path(each.model).parent.name == "snapshots"
        assert each.how.offline
        assert not each.how.refresh


def test_an_empty_cache_has_no_models(tmp_path: Path) -> None:
    assert gathered([], [], cached=True) == []
