"""`mscope cache doctor`: what it lists, what it mends, and what it never touches."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.builders.hfcache import MAIN, OLD, Cache
from tests.cache.conftest import FILES, WEIGHTS, Ask, note_tree, refused, settle
from tests.running import Run

JUNK = hashlib.sha256(b"junk").hexdigest()


def _state(hub: Path) -> dict[str, str]:
    """Every path below the cache: its link's target, or its bytes."""
    return {
        str(path.relative_to(hub)): os.readlink(path)
        if path.is_symlink()
        else str(path.read_bytes())
        for path in sorted(hub.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def blobs(cache: Cache) -> Path:
    """The folder of `org/x`'s blobs."""
    return cache.repo("org/x") / "blobs"


def test_nothing_wrong(snapshot: Path, run: Run) -> None:
    done = run("cache", "doctor")
    assert done.code == 0
    assert "nothing wrong was found" in done.out


def test_a_dangling_link_whose_blob_is_here(snapshot: Path, ask: Ask, blobs: Path) -> None:
    before = _state(blobs.parent)
    link = snapshot / "config.json"
    name = link.readlink().name
    link.unlink()
    link.symlink_to(f"/somewhere/else/models--org--x/blobs/{name}")
    told = ask("doctor")
    assert (told.code, told.problems()) == (1, ["dangling"])
    assert "a blob of that name is here" in told.document["findings"][0]["what"]
    assert told.document["findings"][0]["remedy"] == "mscope cache doctor --fix"
    assert ask("doctor", "--fix", "--yes").code == 0
    assert _state(blobs.parent) == before


def test_a_missing_link_is_made_again(snapshot: Path, ask: Ask, blobs: Path) -> None:
    link = snapshot / "sub" / "tokenizer.json"
    note_tree(snapshot, FILES)
    before = _state(blobs.parent)
    link.unlink()
    assert ask("doctor", "--fix", "--yes").problems() == ["missing"]
    assert _state(blobs.parent) == before


def test_a_dangling_link_without_a_blob_goes(snapshot: Path, ask: Ask) -> None:
    (snapshot / "config.json").resolve().unlink()
    remedy = ask("doctor").document["findings"][0]["remedy"]
    assert f"hf download org/x --revision {MAIN}; or mscope cache doctor --fix" in remedy
    told = ask("doctor", "--fix", "--yes")
    assert (told.code, told.problems()) == (0, ["dangling"])
    assert not os.path.lexists(snapshot / "config.json")
    assert ask("doctor").problems() == []


def test_a_copy_in_place_of_its_link_becomes_a_link_again(
    snapshot: Path, ask: Ask, blobs: Path
) -> None:
    before = _state(blobs.parent)
    path = snapshot / "model.safetensors"
    path.unlink()
    path.write_bytes(WEIGHTS)
    told = ask("doctor", "--dry-run")
    assert (told.problems(), told.document["findings"][0]["fix"]) == (["replaced"], "relink")
    assert not path.is_symlink()
    assert ask("doctor", "--fix", "--yes").code == 0
    assert _state(blobs.parent) == before


def test_a_good_copy_beside_a_bad_blob_is_left_alone(snapshot: Path, ask: Ask, blobs: Path) -> None:
    path = snapshot / "model.safetensors"
    path.resolve().write_bytes(b"changed")
    path.unlink()
    path.write_bytes(WEIGHTS)
    before = _state(blobs.parent)
    told = ask("doctor", "--fix", "--yes")
    assert told.code == 1
    assert all(each["fixed"] is None for each in told.document["findings"])
    assert _state(blobs.parent) == before


def test_leftovers_go(snapshot: Path, ask: Ask, blobs: Path) -> None:
    before = _state(blobs.parent)
    (blobs / JUNK).write_bytes(b"junk")
    (blobs / f"{'a' * 64}.0123abcd.incomplete").write_bytes(b"half")
    told = ask("doctor")
    assert (told.code, sorted(told.problems())) == (0, ["incomplete", "orphan"])
    told = ask("doctor", "--fix", "--yes")
    assert [each["bytes"] for each in told.document["findings"]] == [4, 4]
    assert _state(blobs.parent) == before


def test_an_orphan_with_other_bytes_may_be_the_users(
    snapshot: Path, ask: Ask, blobs: Path, tmp_path: Path
) -> None:
    (blobs / JUNK).write_bytes(b"written here by somebody")
    told = ask("doctor", "--fix", "--yes")
    assert "not those of its name" in told.document["findings"][0]["what"]
    assert (blobs / JUNK).exists()
    ask("doctor", "--fix", "--yes", "--keep", str(tmp_path / "kept"))
    assert not (blobs / JUNK).exists()
    (saved,) = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert saved.read_bytes() == b"written here by somebody"


@pytest.mark.parametrize("lost", ["moved", "gone"])
def test_no_link_is_made_to_a_changed_blob(
    snapshot: Path, ask: Ask, blobs: Path, tmp_path: Path, lost: str
) -> None:
    """Changed through its link, with its old date and size, before the link went."""
    note_tree(snapshot, FILES)
    link = snapshot / "config.json"
    blob = link.resolve()
    status = blob.stat()
    mine = FILES["config.json"].replace(b"8", b"9")
    blob.write_bytes(mine)
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))
    link.unlink()
    if lost == "moved":
        link.symlink_to(f"/old/hub/models--org--x/blobs/{blob.name}")
    before = _state(blobs.parent)
    for argv in (["doctor"], ["doctor", "--fix", "--yes"]):
        told = ask(*argv)
        assert (told.code, told.problems()) == (1, ["modified"])
        (finding,) = told.document["findings"]
        assert (finding["fix"], finding["path"]) == (None, str(link))
        assert "the blob of its name holds other bytes" in finding["what"]
    assert _state(blobs.parent) == before
    verified = ask("verify", "org/x")
    assert verified.statuses() == {**dict.fromkeys(FILES, "ok"), "config.json": "modified"}
    assert verified.document["remedies"] == [finding["remedy"]]
    save, _, again = (
        finding["remedy"]
        .removeprefix("these may be your only copy: ")
        .partition("; once they are safe there: ")
    )
    subprocess.run(save, shell=True, check=True, cwd=tmp_path)
    (saved,) = tmp_path.glob("org--x-*")
    assert saved.read_bytes() == mine
    assert again == f"hf download org/x --revision {MAIN} --force-download"


def test_keep_saves_a_changed_blob_that_no_link_leads_to(
    snapshot: Path, ask: Ask, tmp_path: Path
) -> None:
    link = snapshot / "config.json"
    blob = link.resolve()
    blob.write_bytes(b"mine")
    link.unlink()
    link.symlink_to(f"/old/hub/models--org--x/blobs/{blob.name}")
    told = ask("doctor", "--fix", "--yes", "--keep", str(tmp_path / "kept"))
    assert (told.code, told.problems()) == (0, ["modified"])
    saved = tmp_path / "kept" / "models--org--x" / MAIN / "config.json"
    assert saved.read_bytes() == b"mine"
    assert not blob.exists()
    assert not os.path.lexists(link)


def test_a_blob_that_cannot_be_read_gets_no_link(
    snapshot: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = snapshot / "config.json"
    name = link.resolve().name
    link.unlink()
    link.symlink_to(f"/old/hub/models--org--x/blobs/{name}")
    _unreadable(monkeypatch)
    told = ask("doctor", "--fix", "--yes")
    assert told.problems() == ["dangling"]
    assert "Permission denied" in told.document["findings"][0]["what"]
    assert told.document["findings"][0]["remedy"].startswith("not in the cache any more: hf")
    assert str(link.readlink()).startswith("/old")


def test_no_link_is_made_to_a_blob_that_changes_meanwhile(
    snapshot: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.commands import cache_doctor

    path = snapshot / "model.safetensors"
    blob = path.resolve()
    path.unlink()
    path.write_bytes(WEIGHTS)

    def written_meanwhile(*_: object, **__: object) -> bool:
        blob.write_bytes(b"something else")
        return True

    monkeypatch.setattr(cache_doctor, "_listed_and_agreed", written_meanwhile)
    assert "its blob has changed since it was hashed" in run("cache", "doctor", "--fix").out
    assert path.read_bytes() == WEIGHTS


def test_a_blob_that_is_named_meanwhile_stays(
    snapshot: Path, run: Run, blobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download links to a blob that it finds, and does not touch it."""
    from modelscope_cli.commands import cache_doctor

    (blobs / JUNK).write_bytes(b"junk")

    def linked_meanwhile(*_: object, **__: object) -> bool:
        (snapshot / "junk.bin").symlink_to(f"../../blobs/{JUNK}")
        return True

    monkeypatch.setattr(cache_doctor, "_listed_and_agreed", linked_meanwhile)
    assert "a snapshot may name it by now" in run("cache", "doctor", "--fix").out
    assert (snapshot / "junk.bin").read_bytes() == b"junk"


def test_a_link_to_another_right_blob_takes_nothing_away(
    snapshot: Path, ask: Ask, cache: Cache, tmp_path: Path
) -> None:
    """The blob is another revision's: right by its name, and no user's."""
    older = cache.add("org/x", OLD, {"config.json": b"{}"}, ("v1",))
    note_tree(snapshot, FILES)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to((older / "config.json").readlink())
    settle(cache.hub)
    told = ask("doctor", "--full", "--fix", "--yes", "--keep", str(tmp_path / "kept"))
    assert told.problems()[0] == "replaced"
    assert (older / "config.json").read_bytes() == b"{}"


def _unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelscope_cli.sources.hfcache import hashing

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashing, "_feed", forbidden)


def test_what_full_could_not_check_is_said(
    snapshot: Path, run: Run, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unreadable(monkeypatch)
    told = ask("doctor", "--full")
    assert (told.code, told.problems()) == (0, ["unverifiable"] * 3)
    assert (told.document["files"], told.document["hashed"]) == (3, 0)
    assert {each["what"] for each in told.document["findings"]} == {"Permission denied"}
    assert "nothing wrong was found" not in run("cache", "doctor", "--full").out


def test_full_says_what_nothing_vouches_for(snapshot: Path, ask: Ask, blobs: Path) -> None:
    """A cache without links whose download noted nothing."""
    for path in [each for each in snapshot.rglob("*") if each.is_symlink()]:
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    for path in blobs.iterdir():
        path.unlink()
    assert ask("doctor").problems() == []
    told = ask("doctor", "--full")
    assert (told.code, told.problems()) == (0, ["unverifiable"] * 3)
    assert "mscope cache verify org/x --all --remote" in told.document["findings"][0]["remedy"]


@pytest.mark.parametrize("noted", [True, False])
def test_links_out_of_the_cache_are_said(
    snapshot: Path, ask: Ask, tmp_path: Path, noted: bool
) -> None:
    if noted:
        note_tree(snapshot, FILES)
    place = (snapshot / "config.json").resolve().rename(tmp_path / "elsewhere")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(place)
    for argv in (["doctor"], ["doctor", "--full"]):
        told = ask(*argv)
        assert (told.code, told.problems()) == (0, ["odd" if noted else "unverifiable"])
        assert f"out of the cache, to {place}" in str(told.document["findings"])


def test_a_remedy_of_an_orphan_is_one_that_helps(
    snapshot: Path, ask: Ask, blobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remedies(*argv: str) -> dict[str, str]:
        found = ask("doctor", *argv).document["findings"]
        return {os.path.basename(each["path"]): each["remedy"] for each in found}

    changed, right = "b" * 64, JUNK
    (blobs / changed).write_bytes(b"mine")
    (blobs / right).write_bytes(b"junk")
    (blobs / "notes").write_bytes(b"no hash")
    os.mkfifo(blobs / ("c" * 64))
    fix = "mscope cache doctor --fix"
    assert remedies() == {
        changed: fix,
        right: fix,
        "notes": "look at it: --fix leaves it alone",
        "c" * 64: "look at it: --fix leaves it alone",
    }
    after = remedies("--fix", "--yes")
    assert after[changed] == f"{fix} --keep DIR saves it in DIR, then removes it"
    assert not (blobs / right).exists()
    _unreadable(monkeypatch)
    assert remedies("--fix", "--yes")[changed] == "look at it: --fix leaves it alone"


def test_a_modified_blob_is_never_touched(snapshot: Path, ask: Ask, blobs: Path) -> None:
    (snapshot / "config.json").write_bytes(b'{"mine": 1}')
    before = _state(blobs.parent)
    told = ask("doctor", "--fix", "--yes")
    assert (told.code, told.problems()) == (1, ["modified"])
    assert told.document["findings"][0]["fix"] is None
    assert "nothing of this is safe to mend without you" in told.err
    assert "cp -rL" in told.document["findings"][0]["remedy"]
    assert _state(blobs.parent) == before


def test_keep_saves_before_it_takes_away(
    snapshot: Path, ask: Ask, cache: Cache, tmp_path: Path
) -> None:
    older = cache.add("org/x", OLD, {"other.json": FILES["config.json"]}, ("v1",))
    settle(cache.hub, 0)
    (snapshot / "config.json").write_bytes(b'{"mine": 1}')
    kept = tmp_path / "kept"
    told = ask("doctor", "--fix", "--yes", "--keep", str(kept))
    assert (told.code, told.problems()) == (0, ["modified", "modified"])
    assert f"hf download org/x --revision {MAIN}" in str(told.document["findings"])
    saved = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert saved == {
        f"models--org--x/{MAIN}/config.json",
        f"models--org--x/{OLD}/other.json",
    }
    assert all((kept / name).read_bytes() == b'{"mine": 1}' for name in saved)
    assert not os.path.lexists(snapshot / "config.json")
    assert not os.path.lexists(older / "other.json")
    assert ask("doctor").problems() == []


def test_what_was_saved_before_is_not_written_over(
    snapshot: Path, ask: Ask, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "models--org--x" / MAIN
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("saved earlier")
    (snapshot / "config.json").write_bytes(b'{"mine": 1}')
    ask("doctor", "--fix", "--yes", "--keep", str(tmp_path / "kept"))
    assert (kept / "config.json").read_text() == "saved earlier"
    assert (kept / "config.json.2").read_bytes() == b'{"mine": 1}'


def test_a_full_or_forbidden_place_to_keep_changes_nothing(
    snapshot: Path, ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "models--org--x").write_text("a file where a folder should be")
    (snapshot / "config.json").write_bytes(b'{"mine": 1}')
    told = ask("doctor", "--fix", "--yes", "--keep", str(tmp_path))
    assert told.code == 1
    assert told.document["findings"][0]["fixed"] is False
    assert (snapshot / "config.json").read_bytes() == b'{"mine": 1}'


@pytest.mark.parametrize(
    ("answer", "gone"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_nothing_goes_unasked(
    snapshot: Path, run: Run, blobs: Path, answer: str, gone: bool
) -> None:
    (blobs / JUNK).write_bytes(b"junk")
    done = run("cache", "doctor", "--fix", stdin=answer)
    assert f"remove  {blobs / JUNK}" in done.err
    assert "do 1 thing listed above? [y/N]" in done.err
    assert (blobs / JUNK).exists() != gone
    assert ("nothing was changed" in done.err) != gone


def test_a_dry_run_changes_nothing(snapshot: Path, run: Run, blobs: Path) -> None:
    (blobs / JUNK).write_bytes(b"junk")
    (snapshot / "config.json").resolve().unlink()
    before = _state(blobs.parent)
    for argv in (["--dry-run"], ["--fix", "--dry-run"], ["--fix", "--dry-run", "--yes"]):
        done = run("cache", "doctor", *argv)
        assert done.code == 1
        assert done.out.count("removed") == 2
    assert _state(blobs.parent) == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--keep", "x"], "--keep needs --fix"),
        (["--yes"], "--yes needs --fix"),
        (["--fix", "--keep", ""], "empty string"),
        (["--fix", "--keep", "hub/inside"], "lies in the cache itself"),
        (["--cache-dir", "/no/such/folder"], "no HF cache"),
    ],
)
def test_wrong_usage(snapshot: Path, cache: Cache, run: Run, argv: list[str], words: str) -> None:
    argv = [str(cache.hub / "inside") if word == "hub/inside" else word for word in argv]
    done = refused(run, "doctor", *argv)
    assert done.code == (3 if "HF cache" in words else 2)
    assert words in done.err


def test_fixing_is_no_standing_setting(
    snapshot: Path, run: Run, blobs: Path, tmp_path: Path
) -> None:
    (blobs / JUNK).write_bytes(b"junk")
    run("cache", "doctor", env={"MSCOPE_FIX": "1", "MSCOPE_YES": "1"})
    assert (blobs / JUNK).exists()
    (tmp_path / "mscope.toml").write_text("[cache_doctor]\nfix = true\n")
    done = run("cache", "doctor", "--config", str(tmp_path / "mscope.toml"))
    assert done.code == 2


def test_a_held_lock_keeps_everything(snapshot: Path, ask: Ask, cache: Cache, blobs: Path) -> None:
    from huggingface_hub.utils._fixes import WeakFileLock

    name = f"{'a' * 64}.0123abcd.incomplete"
    (blobs / name).write_bytes(b"half")
    lock = cache.hub / ".locks" / "models--org--x" / f"{'a' * 64}.lock"
    lock.parent.mkdir(parents=True)
    with WeakFileLock(lock):
        told = ask("doctor", "--fix", "--yes")
        assert told.document["findings"][0]["reason"] == "in use: a download holds its lock"
        assert (blobs / name).exists()
    assert ask("doctor", "--fix", "--yes").document["findings"][0]["fixed"] is True


def test_what_changes_meanwhile_is_left_alone(
    snapshot: Path, run: Run, blobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.commands import cache_doctor

    (blobs / JUNK).write_bytes(b"junk")

    def written_meanwhile(*_: object, **__: object) -> bool:
        (blobs / JUNK).write_bytes(b"precious")
        return True

    monkeypatch.setattr(cache_doctor, "_listed_and_agreed", written_meanwhile)
    done = run("cache", "doctor", "--fix")
    assert "it has changed since it was found" in done.out
    assert (blobs / JUNK).read_bytes() == b"precious"


def test_a_repo_behind_a_link_is_looked_at_and_not_changed(
    snapshot: Path, ask: Ask, cache: Cache, blobs: Path, tmp_path: Path
) -> None:
    (blobs / JUNK).write_bytes(b"junk")
    elsewhere = tmp_path / "models--org--x"
    cache.repo("org/x").rename(elsewhere)
    cache.repo("org/x").symlink_to(elsewhere)
    told = ask("doctor", "--fix", "--yes")
    assert told.problems() == ["orphan"]
    assert (elsewhere / "blobs" / JUNK).exists()
    assert ask("verify", "org/x").document["summary"]["ok"] == 3


def test_a_read_only_cache(snapshot: Path, ask: Ask, blobs: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (blobs / JUNK).write_bytes(b"junk")
    blobs.chmod(0o555)
    try:
        told = ask("doctor", "--fix", "--yes")
    finally:
        blobs.chmod(0o755)
    assert told.document["findings"][0]["reason"] == "Permission denied"


def test_other_kinds_of_repo_and_other_caches_in_remedies(
    cache: Cache, ask: Ask, tmp_path: Path
) -> None:
    there = Cache(tmp_path / "my cache")
    snapshot = there.add("org/x", MAIN, {"a.json": b"{}"}, ("main",))
    settle(there.hub)
    there.repo("org/x").rename(there.hub / "datasets--org--x")
    (
        there.hub / "datasets--org--x" / snapshot.relative_to(there.repo("org/x")) / "a.json"
    ).write_text("no")
    told = ask("doctor", "--cache-dir", str(there.hub))
    assert told.problems() == ["modified"]
    remedy = told.document["findings"][0]["remedy"]
    assert "hf download org/x --repo-type dataset --revision" in remedy
    assert f"--cache-dir '{there.hub}'" in remedy
