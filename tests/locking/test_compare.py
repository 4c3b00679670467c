"""What is not as it was locked, and what is no difference."""

from __future__ import annotations

from modelscope_cli.locking import compare
from modelscope_cli.locking.facts import LockedFile, LockedModel

A = LockedFile("a", 1, "sha256", "0" * 64)
B = LockedFile("b", 2, "git-sha1", "1" * 40)
MODEL = LockedModel("m", "m", "c" * 40, "torch", 1, 2, 3, True, (A, B))


def whats(locked: LockedModel, found: LockedModel) -> list[str]:
    return [each.what for each in compare.drifts(locked, found)]


def test_the_same_is_no_drift() -> None:
    assert whats(MODEL, MODEL._replace(files=(B, A))) == []


def test_fields_come_first_and_then_files_by_path() -> None:
    found = MODEL._replace(
        revision="d" * 40,
        bytes=4,
        files=(A._replace(size=2), LockedFile("0", 0, "sha256", "2" * 64)),
    )
    assert whats(MODEL, found) == ["revision", "bytes", "0", "a", "b"]
    assert list(compare.lines(compare.drifts(MODEL, found)))[:3] == [
        "  m",
        f"- revision: {'c' * 40}",
        f"+ revision: {'d' * 40}",
    ]


def test_a_partial_snapshot_lacks_files_of_the_same_commit_only() -> None:
    partial = MODEL._replace(complete=False, files=(A,), parameters=None)
    assert whats(MODEL, partial) == []
    assert whats(partial, MODEL) == []
    assert whats(MODEL, partial._replace(revision="d" * 40)) == ["revision", "parameters", "b"]
    changed = partial._replace(files=(A._replace(digest="9" * 64),))
    assert whats(MODEL, changed) == ["a"]


def test_a_whole_folder_lacks_files_by_mistake() -> None:
    assert whats(MODEL, MODEL._replace(files=(A,))) == ["b"]


def test_a_sentence_is_a_diff_in_one_line() -> None:
    gone, new = compare.drifts(MODEL._replace(files=(A,)), MODEL._replace(files=(B,)))
    assert compare.sentence(gone) == f"not as locked: - a: 1 bytes, sha256 {'0' * 64}"
    assert compare.sentence(new) == f"not as locked: + b: 2 bytes, git-sha1 {'1' * 40}"
    (changed,) = compare.drifts(MODEL, MODEL._replace(files=(A._replace(size=2), B)))
    assert compare.sentence(changed) == (
        f"not as locked: - a: 1 bytes, sha256 {'0' * 64} + a: 2 bytes, sha256 {'0' * 64}"
    )


def test_what_is_no_file_is_said_in_words() -> None:
    pipe = LockedFile("a", 0, "kind", "a FIFO")
    (drift,) = compare.drifts(MODEL, MODEL._replace(files=(pipe, B)))
    assert drift.found == "a FIFO"
