"""Where mscope's own files lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelscope_cli import places


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_a_relative_cache_home_counts_for_nothing(value: str) -> None:
    home = Path(os.environ["HOME"])
    kept = places.kept("hub", environ={"XDG_CACHE_HOME": value})
    assert kept == str(home / ".cache" / "mscope" / "hub")


def test_what_is_kept_lies_in_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert places.kept() == str(tmp_path / "mscope")
    assert places.kept("hashes") == str(tmp_path / "mscope" / "hashes")


@pytest.mark.parametrize("name", ["gpus.json", "policy.toml", "builtin", "knowledge"])
def test_what_ships_is_there(name: str) -> None:
    assert os.path.exists(places.data(name))
