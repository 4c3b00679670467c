"""The Hub's rules for names, compared with huggingface_hub's own validator."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from hypothesis import example, given
from hypothesis import strategies as st

from modelscope_cli.hub_names import (
    file_problem,
    is_commit,
    repo_id_problem,
    revision_problem,
    special_ref,
)

NEAR_NAMES = st.text(st.sampled_from("aZ0_-./@ é\n"), max_size=12)
LONG_NAMES = st.builds(
    lambda org, name: f"{org * 'a'}/{name * 'b'}", st.integers(94, 98), st.integers(94, 98)
)


@given(NEAR_NAMES | LONG_NAMES | st.text(max_size=20))
@example("a" * 96)
@example("a" * 97)
@example("foo.git")
@example("foo--bar/x")
@example("foo..bar")
@example("org/name\n")
@example("_/_")
@example("café")
@example("a/b/c")
def test_repo_ids_are_judged_as_huggingface_hub_does(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
        allowed = True
    except HFValidationError:
        allowed = False

    assert (repo_id_problem(repo_id) is None) == allowed


@pytest.mark.parametrize(
    "revision",
    ["main", "v1.0", "refs/pr/1", "feature/x", "d76c4a5", "a" * 40, "ветка", "a-b_c+d=e%"],
)
def test_revisions_that_can_be(revision: str) -> None:
    assert revision_problem(revision) is None


@pytest.mark.parametrize(
    "revision",
    [
        *("", "../x", "a/../b", "a//b", "/a", "a/", ".a", "a/.b", "a.lock", "a b", "a\nb", "a."),
        *("a:b", "a~1", "a^", "a?", "a*", "a[", "a\\b", "a@{1}", "x" * 256, "\udc80", "a\x1b[m"),
    ],
)
def test_revisions_that_cannot_be(revision: str) -> None:
    assert revision_problem(revision) is not None


@pytest.mark.parametrize("path", ["a", "a/b.json", "unet/x y.bin", "a@b", "...", "a:b", "日本"])
def test_paths_that_can_be_in_a_repo(path: str) -> None:
    assert file_problem(path) is None


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", ".", "a\\b", "a\0", " a"])
def test_paths_that_cannot_be_in_a_repo(path: str) -> None:
    assert file_problem(path) is not None


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("refs/pr/1", "refs/pr/1"),
        ("refs/pr/12/a/b", "refs/pr/12"),
        ("refs/convert/parquet/x", "refs/convert/parquet"),
        ("refs/pr/x", None),
        ("refs/heads/main", None),
        ("refs/pr/", None),
        ("refs/pr", None),
        ("main", None),
    ],
)
def test_refs_that_hold_slashes(text: str, ref: str | None) -> None:
    assert special_ref(text) == ref


def test_what_a_commit_looks_like() -> None:
    assert is_commit("0123456789abcdef0123456789abcdef01234567")
    assert is_commit("d76c4a5", 5)
    assert not is_commit("d76c4a5")
    assert not is_commit("d76", 5)
    assert not is_commit("g" * 40)
    assert not is_commit("a" * 41)
