"""What could not be looked at: nothing is called orphaned, detached, missing or right for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders.hfcache import MAIN, OLD, OTHER, Cache
from tests.cache.conftest import FILES, Ask, Forbid, note_tree, refused, settle
from tests.running import Run

INCOMPLETE = f"{'a' * 64}.0123abcd.incomplete"


def _state(hub: Path) -> dict[str, str]:
    """Every path below a folder: its link's target, or its bytes. Links are not followed."""
    found = {}
    for folder, _, names in os.walk(hub):
        for name in names:
            path = Path(folder, name)
            text = os.readlink(path) if path.is_symlink() else str(path.read_bytes())
            found[str(path.relative_to(hub))] = text
    return found


def _elsewhere(path: Path, place: Path) -> None:
    """Move a folder away and put a link to it in its place; what it holds still works."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for link in path.rglob("*"):
        if link.is_symlink():
            target = link.resolve()
            link.unlink()
            link.symlink_to(target)
    path.rename(place)
    path.symlink_to(place)


def _forbidden(part: str) -> Callable[[Path, Forbid, Path], None]:
    return lambda repo, forbid, _: forbid(repo / part)


def _linked(part: str) -> Callable[[Path, Forbid, Path], None]:
    return lambda repo, _, place: _elsewhere(repo / part, place / "moved")


def _nested(repo: Path, forbid: Forbid, place: Path) -> None:
    _elsewhere(repo / "snapshots" / MAIN / "sub", place / "sub")


def _no_folder(repo: Path, forbid: Forbid, place: Path) -> None:
    (repo / "snapshots").rename(place)
    (repo / "snapshots").write_text("a file where a folder should be")


HIDING = {
    "snapshots": _forbidden("snapshots"),
    "snapshot": _forbidden(f"snapshots/{MAIN}"),
    "folder of it": _forbidden(f"snapshots/{MAIN}/sub"),
    "snapshots elsewhere": _linked("snapshots"),
    "snapshot elsewhere": _linked(f"snapshots/{MAIN}"),
    "folder of it elsewhere": _nested,
    "no folder": _no_folder,
}


@pytest.fixture
def repo(cache: Cache, snapshot: Path) -> Path:
    """`org/x` with an unfinished download beside its snapshot."""
    path = cache.repo("org/x")
    (path / "blobs" / INCOMPLETE).write_bytes(b"half")
    return path


@pytest.mark.parametrize("how", HIDING)
def test_nothing_is_orphaned_or_removed_where_a_snapshot_is_not_seen(
    repo: Path, ask: Ask, forbid: Forbid, tmp_path: Path, how: str
) -> None:
    HIDING[how](repo, forbid, tmp_path / "place")
    before = _state(repo)
    told = ask("doctor", "--fix", "--yes", "--keep", str(tmp_path / "kept"))
    assert _state(repo) == before
    assert "orphan" not in told.problems()
    remedies = [each["remedy"] for each in told.document["findings"]]
    assert any("no blob counts as orphaned" in each for each in remedies)
    (unfinished,) = [x for x in told.document["findings"] if x["problem"] == "incomplete"]
    assert (unfinished["fix"], unfinished["fixed"]) == (None, None)
    assert "nothing is removed while" in unfinished["remedy"]


@pytest.mark.parametrize("how", HIDING)
def test_the_number_of_orphans_is_unknown(
    repo: Path, ask: Ask, forbid: Forbid, run: Run, tmp_path: Path, how: str
) -> None:
    HIDING[how](repo, forbid, tmp_path / "place")
    (listed,) = ask("ls").document["repos"]
    assert listed["orphans"] is None
    assert str(repo / "snapshots") in listed["unknown"]["orphans"]
    assert "orphaned: unknown" in run("cache", "ls").out
    verified = ask("verify", "--all")
    assert verified.document["summary"]["orphan"] == 0
    assert verified.document["summary"]["missing"] == 0
    assert str(repo / "snapshots") in verified.err
    assert "org/x: whether blobs are orphaned is not known" in verified.err


def test_a_repo_that_cannot_be_entered(
    repo: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = os.lstat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{repo}{os.sep}"):
            raise PermissionError(13, "Permission denied", path)
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", refused)
    (listed,) = ask("ls").document["repos"]
    assert (listed["orphans"], listed["snapshots"]) == (None, [])


def test_links_that_cannot_be_looked_at_hide_what_they_name(
    repo: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may be listed and not entered: names without links."""
    inside = str(repo / "snapshots" / MAIN)
    lstat = os.lstat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{inside}{os.sep}"):
            raise PermissionError(13, "Permission denied", path)
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", refused)
    before = _state(repo)
    told = ask("doctor", "--fix", "--yes")
    assert "orphan" not in told.problems()
    assert _state(repo) == before


@pytest.mark.parametrize("noted", [True, False])
def test_a_snapshot_that_may_not_be_read_is_not_missing(
    snapshot: Path, ask: Ask, forbid: Forbid, noted: bool
) -> None:
    if noted:
        note_tree(snapshot, FILES)
    forbid(snapshot)
    told = ask("verify", "org/x")
    paths = list(FILES) if noted else ["."]
    assert (told.code, told.statuses()) == (0, dict.fromkeys(paths, "unverifiable"))
    assert "Permission denied" in told.note(paths[0])
    assert ask("verify", "org/x", "--strict").code == 1
    told = ask("doctor")
    assert told.problems().count("unverifiable") == len(paths)
    assert "missing" not in told.problems()


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("how", ["snapshots", "snapshots elsewhere", "snapshot elsewhere"])
def test_a_model_whose_snapshot_cannot_be_looked_at(
    repo: Path, run: Run, forbid: Forbid, tmp_path: Path, command: str, how: str
) -> None:
    HIDING[how](repo, forbid, tmp_path / "place")
    done = refused(run, command, "org/x")
    assert done.code == 3
    assert ("Permission denied" if how == "snapshots" else "somewhere else") in done.err
    assert "no snapshot" not in done.err


def test_show_says_what_it_could_not_list(
    snapshot: Path, ask: Ask, run: Run, forbid: Forbid
) -> None:
    forbid(snapshot / "sub")
    told = ask("show", "org/x")
    assert {each["path"] for each in told.document["files"]} == set(FILES) - {"sub/tokenizer.json"}
    assert "warning: sub: Permission denied" in told.err
    done = refused(run, "show", "org/x", "sub/tokenizer.json")
    assert "cannot be looked at: Permission denied" in done.err


def test_a_folder_of_a_snapshot_that_may_not_be_read(
    snapshot: Path, ask: Ask, forbid: Forbid
) -> None:
    note_tree(snapshot, FILES)
    forbid(snapshot / "sub")
    told = ask("verify", "org/x")
    expected = {**dict.fromkeys(FILES, "ok"), "sub/tokenizer.json": "unverifiable"}
    assert told.statuses() == expected
    assert "not downloaded" not in told.err


def test_blobs_that_cannot_be_listed_take_no_link_away(
    snapshot: Path, ask: Ask, forbid: Forbid, cache: Cache
) -> None:
    link = snapshot / "config.json"
    link.unlink()
    link.symlink_to(f"../../blobs/{'1' * 40}")
    forbid(cache.repo("org/x") / "blobs")
    told = ask("doctor", "--fix", "--yes")
    assert "dangling" in told.problems()
    assert link.is_symlink()


def test_a_link_to_a_disk_that_is_not_there_today_stays(snapshot: Path, ask: Ask) -> None:
    link = snapshot / "config.json"
    link.unlink()
    link.symlink_to(f"/mnt/not-mounted/blobs/{'1' * 40}")
    told = ask("doctor", "--fix", "--yes")
    assert (told.problems()[0], link.is_symlink()) == ("dangling", True)
    assert "hf download" in told.document["findings"][0]["remedy"]


def test_blobs_named_on_other_ways_are_no_orphans(snapshot: Path, ask: Ask, cache: Cache) -> None:
    """Through a second link, a folder of the user's own, a hard link, another repo."""
    blobs = cache.repo("org/x") / "blobs"
    names = [str(digit) * 64 for digit in range(4)]
    for name in names:
        (blobs / name).write_text(name)
    settle(cache.hub)
    mine = cache.hub / "mine"
    mine.symlink_to(blobs / names[0])
    (snapshot / "a.txt").symlink_to(mine)
    (snapshot.parent / "mine").mkdir()
    (snapshot.parent / "mine" / "b.txt").symlink_to(f"../../blobs/{names[1]}")
    os.link(blobs / names[2], snapshot / "c.txt")
    other = cache.add("org/y", OTHER, {"a.json": b"{}"}, ("main",))
    (other / "d.txt").symlink_to(blobs / names[3])
    assert "orphan" not in ask("doctor", "--full").problems()
    assert [each["orphans"] for each in ask("ls").document["repos"]] == [0, 0]


def _garbage(refs: Path) -> None:
    (refs / "main").write_text("nonsense")


def _newline(refs: Path) -> None:
    (refs / "main").write_text(f"{MAIN}\n")


def _other_commit(refs: Path) -> None:
    (refs / "main").write_text(OTHER)


def _folder(refs: Path) -> None:
    (refs / "main").unlink()
    (refs / "main").mkdir()


def _linked_folder(refs: Path) -> None:
    (refs / "main").unlink()
    (refs / "main").symlink_to("..")


def _dangling(refs: Path) -> None:
    (refs / "main").unlink()
    (refs / "main").symlink_to("nowhere")


def _empty(refs: Path) -> None:
    (refs / "main").write_text("")


BROKEN = (_garbage, _newline, _other_commit, _folder, _linked_folder, _dangling, _empty)


@pytest.mark.parametrize("harm", BROKEN)
def test_a_broken_ref_is_found_and_nobody_detached_for_it(
    snapshot: Path, ask: Ask, cache: Cache, run: Run, harm: Callable[[Path], None]
) -> None:
    refs = cache.repo("org/x") / "refs"
    harm(refs)
    told = ask("doctor")
    (finding,) = told.document["findings"]
    assert (told.code, finding["problem"], finding["path"]) == (0, "ref", str(refs / "main"))
    assert "hf download org/x --revision main" in finding["remedy"]
    assert "prune" not in str(told.document)
    (listed,) = ask("ls").document["repos"]
    assert (listed["detached"], listed["snapshots"][0]["detached"]) == (None, None)
    assert str(refs / "main") in listed["unknown"]["detached"]
    assert listed["orphans"] == 0
    assert "detached: unknown" in run("cache", "ls").out


def test_refs_that_cannot_be_read(snapshot: Path, ask: Ask, cache: Cache, forbid: Forbid) -> None:
    forbid(cache.repo("org/x") / "refs")
    told = ask("doctor")
    assert told.problems() == ["ref"]
    assert "Permission denied" in told.document["findings"][0]["what"]
    assert "prune" not in str(told.document)
    assert ask("ls").document["repos"][0]["detached"] is None


def test_what_other_refs_name_is_not_detached_anyway(
    snapshot: Path, ask: Ask, cache: Cache
) -> None:
    cache.add("org/x", OLD, FILES)
    _garbage(cache.ref("org/x", "v1", "").parent)
    cache.ref("org/x", "v2", MAIN)
    cache.ref("org/x", "v1", OLD)
    by_commit = {
        each["commit"]: each["detached"] for each in ask("ls").document["repos"][0]["snapshots"]
    }
    assert by_commit == {MAIN: False, OLD: False}


def test_a_download_that_only_asked_leaves_a_right_ref(
    snapshot: Path, ask: Ask, cache: Cache
) -> None:
    """huggingface_hub moves main and writes `.no_exist` where the new commit lacks a file."""
    cache.ref("org/x", "main", OTHER)
    (cache.repo("org/x") / ".no_exist" / OTHER).mkdir(parents=True)
    assert ask("doctor").problems() == ["detached"]


def test_without_any_ref_a_revision_is_detached(cache: Cache, ask: Ask) -> None:
    cache.add("org/x", MAIN, FILES)
    settle(cache.hub)
    assert ask("doctor").problems() == ["detached"]
    (cache.repo("org/x") / "refs" / "refs" / "pr").mkdir(parents=True)
    assert ask("doctor").problems() == ["detached"]
