"""The lock file: the same models give the same bytes, and only what we wrote is read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.locking import document
from modelscope_cli.locking.facts import LockedFile, LockedModel

FILE = LockedFile("a.bin", 3, "sha256", "0" * 64)
MODEL = LockedModel("./m", None, None, "torch", 1, None, 12, True, (FILE,))


def read(tmp_path: Path, text: str) -> dict[str, LockedModel]:
    path = tmp_path / "mscope.lock"
    path.write_text(text, encoding="utf-8")
    return document.read(str(path)).models


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    hub = LockedModel("org/n@main", "org/n", "a" * 40, None, 0, 0, 0, False)
    text = document.text([MODEL, hub])
    assert read(tmp_path, text) == {"./m": MODEL, "org/n@main": hub}
    assert tomllib.loads(text)["model"][0]["files"] == [
        {"path": "a.bin", "size": 3, "sha256": "0" * 64}
    ]


def test_order_does_not_matter() -> None:
    other = MODEL._replace(target="./a", files=(FILE._replace(path="z"), FILE))
    again = other._replace(files=(FILE, FILE._replace(path="z")))
    assert document.text([MODEL, other]) == document.text([again, MODEL])


def test_a_file_is_one_line_of_a_diff() -> None:
    changed = MODEL._replace(files=(FILE._replace(digest="1" * 64),))
    before, after = (document.text([each]).splitlines() for each in (MODEL, changed))
    assert len(set(before) ^ set(after)) == 2


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(_NAMES, _NAMES)
def test_any_name_survives(path: str, target: str) -> None:
    model = MODEL._replace(target=target, files=(FILE._replace(path=path),))
    text = document.text([model])
    assert text.isascii()
    (found,) = tomllib.loads(text)["model"]
    assert (found["target"], found["files"][0]["path"]) == (target, path)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="no text"):
        document.text([MODEL._replace(target="\udc80")])


_START = 'version = 1\n[[model]]\ntarget = "m"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< HEAD\n", "not valid TOML"),
        ("", "version is None"),
        ("version = 2\n", "version is 2"),
        ("version = 1\nmodels = []\n", "unknown key 'models'"),
        ("version = 1\nmodel = 3\n", "lists of tables"),
        ("version = 1\n[[model]]\n", "target is not a text"),
        (_START + "bytes = true\n", "bytes is not a whole number"),
        (_START + 'sha = "x"\n', "unknown key 'sha'"),
        (_START + 'files = [{path = "a", size = 1}]\n', "no hash"),
        (_START + 'files = [{path = "a", size = 1, sha256 = "AB"}]\n', "no hash"),
        (_START + 'files = [{size = 1, sha256 = "a"}]\n', "path is not a text"),
        (_START + _START.partition("\n")[2], "locked twice"),
    ],
)
def test_what_is_no_lock_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_no_lock_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no lock"):
        document.read(str(tmp_path / "mscope.lock"))
