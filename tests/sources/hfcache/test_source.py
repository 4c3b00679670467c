"""Models in the HF cache: what huggingface_hub finds there we find, and what is broken we name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelscope_cli.errors import MscopeError, NotARegularFile, NotFound, UsageError
from modelscope_cli.hub_names import is_commit
from modelscope_cli.sources.hfcache.repo import BadRef, CachedRepo
from modelscope_cli.sources.hfcache.source import (
    Snapshot,
    cache_dir,
    cached_ids,
    folder_name,
    open_snapshot,
    within,
)
from modelscope_cli.target import HubTarget, parse
from tests.builders.hfcache import MAIN, OLD, OTHER, Cache

DAY = 86_400


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "hub")


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """One repo with branches, a tag, a pull request and a commit without a name."""
    config = {"config.json": b"{}", "model.safetensors": b"weights", "unet/config.json": b"[]"}
    cache.add("org/name", MAIN, config, refs=("main", "refs/pr/1", "v1.0"))
    cache.add("org/name", OLD, {"config.json": b'{"old": 1}'}, refs=("feature/x", OLD[:7]))
    cache.add("org/name", OTHER, {"config.json": b"{}"})
    cache.add("gpt2", MAIN, {"config.json": b"{}"}, refs=("main",))
    return cache


def opened(cache: Cache, text: str, revision: str | None = None) -> Snapshot:
    target = parse(text, revision=revision)
    assert isinstance(target, HubTarget)
    return open_snapshot(str(cache.hub), target, text)


def failure(cache: Cache, text: str, kind: type[MscopeError] = NotFound) -> str:
    with pytest.raises(kind) as caught:
        opened(cache, text)
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("revision", "commit"),
    [
        (None, MAIN),
        ("main", MAIN),
        ("v1.0", MAIN),
        ("refs/pr/1", MAIN),
        ("feature/x", OLD),
        (OTHER, OTHER),
        (OTHER[:4], OTHER),
        (OTHER[:12].upper(), OTHER),
        (OLD[:7], OLD),
    ],
)
def test_revisions(filled: Cache, revision: str | None, commit: str) -> None:
    source, file, _ = opened(filled, "org/name", revision)

    assert file is None
    assert source.ref.kind == "cache"
    assert source.ref.id == "org/name"
    assert source.ref.target == "org/name"
    assert source.ref.revision == commit
    assert source.ref.path == source.root == str(filled.repo("org/name") / "snapshots" / commit)
    assert "config.json" in source.files()


def test_a_model_without_an_organisation(filled: Cache) -> None:
    assert opened(filled, "gpt2").source.ref.id == "gpt2"


def test_files_are_read_through_their_links(filled: Cache) -> None:
    source = opened(filled, "org/name").source

    assert source.files() == {"config.json": 2, "model.safetensors": 7}
    assert source.folders() == ["unet"]
    with source.open("model.safetensors") as file:
        assert file.read_at(0, 7) == b"weights"


def test_a_file_of_the_repo(filled: Cache) -> None:
    source, file, _ = opened(filled, "org/name/unet/config.json")

    assert file == "config.json"
    assert source.root.endswith("unet")
    assert source.ref.path == os.path.join(source.root, "config.json")


def test_a_folder_of_the_repo(filled: Cache) -> None:
    source, file, _ = opened(filled, "org/name/unet")

    assert file is None
    assert source.files() == {"config.json": 2}


@pytest.mark.parametrize(
    ("days", "said"),
    [(0.5, "today"), (1.2, "1 day ago"), (200.0, "200 days ago"), (-3.0, "today")],
)
def test_the_note_tells_how_old_a_branch_is(filled: Cache, days: float, said: str) -> None:
    os.utime(filled.repo("org/name") / "refs" / "main", (0, 1_700_000_000))
    note = open_snapshot(
        str(filled.hub), HubTarget("org/name"), now=1_700_000_000 + days * DAY
    ).note

    assert note is not None
    assert note.text == f"main = d76c4a5, fetched {said}"


def test_a_commit_needs_no_note(filled: Cache) -> None:
    assert opened(filled, "org/name", OTHER).note is None


def test_a_short_commit_that_fits_several(filled: Cache) -> None:
    said = failure(filled, "org/name@d76c", UsageError)

    assert "fits 2 commits" in said
    assert MAIN in said
    assert OLD in said


def test_a_repo_that_is_not_there(filled: Cache) -> None:
    said = failure(filled, "hf://meta/name")

    assert f"meta/name is not in the HF cache at {filled.hub}" in said
    assert "did you mean org/name?" in said
    assert "hf download meta/name brings it here" in said
    assert "no file or folder of that name here" in failure(filled, "meta/name")
    assert "did you mean org/name?" in failure(filled, "org/nam")


def test_a_cache_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="which does not exist"):
        open_snapshot(str(tmp_path / "hub"), HubTarget("org/name"))


@pytest.mark.parametrize("revision", ["v2", "0123456789", "refs", "refs/pr", "feature", "abc"])
def test_a_revision_that_is_not_there(filled: Cache, revision: str) -> None:
    said = failure(filled, f"org/name@{revision}".replace("0123456789", "9876543210"))

    assert "is not in the HF cache" in said
    assert "main = d76c4a5" in said
    assert "refs/pr/1 = d76c4a5" in said
    assert OTHER[:7] in said
    assert "--revision" in said


def test_a_branch_whose_snapshot_is_gone(cache: Cache) -> None:
    cache.add("org/name", OLD, {"config.json": b"{}"})
    cache.ref("org/name", "main", MAIN)

    said = failure(cache, "org/name")
    assert "main = d76c4a5 is not in the HF cache" in said
    assert f"it holds {OLD[:7]};" in said


def test_a_file_that_is_not_there(filled: Cache) -> None:
    said = failure(filled, "org/name/model.safetensor")
    assert "model.safetensor is not in its cached snapshot d76c4a5" in said
    assert "did you mean model.safetensors?" in said

    missing = filled.repo("org/name") / ".no_exist" / MAIN / "adapter_config.json"
    missing.parent.mkdir(parents=True)
    missing.touch()
    said = failure(filled, "org/name/adapter_config.json")
    assert "org/name has no adapter_config.json at d76c4a5" in said


@pytest.mark.parametrize(
    "content",
    [
        "",
        "garbage",
        f"{MAIN}\n",
        f"../../models--org--name/snapshots/{MAIN}",
        "..",
        MAIN.upper(),
        b"\xff\xfe\x00",
        "x" * 5000,
        "\x1b[31m::error::x",
    ],
    ids=range(9),
)
def test_refs_that_hold_no_commit(filled: Cache, content: str | bytes) -> None:
    filled.ref("org/name", "main", content)

    assert "refs/main" in failure(filled, "org/name", BadRef).replace(os.sep, "/")
    assert "main" not in CachedRepo(str(filled.repo("org/name")), "org/name").refs()


def test_a_ref_with_a_line_break_is_explained(filled: Cache) -> None:
    filled.ref("org/name", "main", f"{MAIN}\n")
    assert "huggingface_hub finds no snapshot" in failure(filled, "org/name", BadRef)


def test_revisions_cannot_leave_the_refs(filled: Cache) -> None:
    with pytest.raises(UsageError):
        open_snapshot(str(filled.hub), HubTarget("org/name", "../../../secret"))


def test_a_ref_that_is_a_fifo_is_not_waited_for(filled: Cache) -> None:
    path = filled.repo("org/name") / "refs" / "main"
    path.unlink()
    os.mkfifo(path)
    failure(filled, "org/name", NotARegularFile)


@pytest.mark.parametrize("place", ["refs/main", f"snapshots/{MAIN}", "."])
@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_broken_links_are_named(cache: Cache, place: str, target: str) -> None:
    repo = cache.repo("org/name")
    if place != ".":
        cache.add("org/name", OLD, {"config.json": b"{}"})
        cache.ref("org/name", "other", OLD)
        if place != "refs/main":
            cache.ref("org/name", "main", MAIN)
    path = repo if place == "." else repo / place
    path.symlink_to(path if target == "loop" else "nowhere")

    said = failure(cache, "org/name")
    assert path.name in said
    assert "link" in said


def test_a_broken_link_in_a_snapshot_is_named_when_opened(filled: Cache) -> None:
    snapshot = filled.repo("org/name") / "snapshots" / MAIN
    (snapshot / "gone.bin").symlink_to("../../blobs/gone")

    source, file, _ = opened(filled, "org/name/gone.bin")
    assert file == "gone.bin"
    assert source.files()["gone.bin"] == -1
    with pytest.raises(NotFound, match="dangling link"):
        source.open("gone.bin")


def test_a_file_in_the_place_of_a_folder(cache: Cache) -> None:
    cache.repo("org/name").touch()
    assert "not in the HF cache" in failure(cache, "hf://org/name").replace("is not", "not")

    cache.repo("org/other").mkdir()
    (cache.repo("org/other") / "snapshots").touch()
    cache.ref("org/other", "main", MAIN)
    assert "main = d76c4a5 is not in the HF cache" in failure(cache, "org/other")


def test_a_shared_blob_store_takes_two_hops(cache: Cache) -> None:
    snapshot = cache.add("org/name", MAIN, {"model.safetensors": b"weights"}, refs=("main",))
    blob = (snapshot / "model.safetensors").resolve()
    shared = cache.hub / "blobs" / "ab" / "abcd"
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))

    assert opened(cache, "org/name").source.files() == {"model.safetensors": 7}


def test_a_tree_of_refs_without_end_is_looked_at_for_a_while_only(cache: Cache) -> None:
    cache.add("org/name", MAIN, {"config.json": b"{}"})
    for number in range(1500):
        cache.ref("org/name", f"b{number}", MAIN)

    assert len(CachedRepo(str(cache.repo("org/name")), "org/name").refs()) == 1000
    assert "and 992 more" in failure(cache, "org/name@nope")


def test_names_in_the_cache_are_not_trusted(cache: Cache) -> None:
    for name in ("models--a--b", "models--gpt2", "models--a--b--c", "models--\x1b[31m--x"):
        (cache.hub / name).mkdir()
    for name in ("models--", "datasets--x--y", "models--..--..", "version.txt", "models----x"):
        (cache.hub / name).mkdir()

    assert cached_ids(str(cache.hub)) == ["a/b", "gpt2"]


def test_paths_inside_a_cache(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = filled.repo("org/name")
    snapshot = repo / "snapshots" / OLD
    for path in (repo, repo / "snapshots", f"{repo}/", repo / "blobs" / ".."):
        found = within(str(path), "typed")
        assert found is not None
        assert found.source.ref.revision == MAIN
        assert found.source.ref.kind == "cache"
        assert found.source.ref.id == "org/name"
        assert found.source.ref.target == "typed"
        assert found.note is not None
    monkeypatch.chdir(snapshot)
    for path in (snapshot, ".", f"{snapshot}/"):
        found = within(str(path), "typed")
        assert found is not None
        assert found.source.ref.revision == OLD
        assert found.source.root == str(snapshot)


def test_a_file_and_a_folder_inside_a_snapshot(filled: Cache) -> None:
    snapshot = filled.repo("org/name") / "snapshots" / MAIN

    found = within(str(snapshot / "unet"), "typed")
    assert found is not None
    assert (found.file, found.source.root) == (None, str(snapshot / "unet"))

    found = within(str(snapshot / "model.safetensors"), "typed")
    assert found is not None
    assert (found.file, found.source.root) == ("model.safetensors", str(snapshot))
    assert found.source.ref.revision == MAIN


def test_the_only_snapshot_stands_for_a_repo_without_main(cache: Cache) -> None:
    cache.add("org/name", OLD, {"config.json": b"{}"})
    found = within(str(cache.repo("org/name")), "typed")
    assert found is not None
    assert found.source.ref.revision == OLD
    assert found.note is not None
    assert found.note.text == f"no refs/main: the only snapshot, {OLD[:7]}, is taken"

    cache.add("org/name", MAIN, {"config.json": b"{}"})
    with pytest.raises(UsageError, match="no refs/main, and 2 snapshots"):
        within(str(cache.repo("org/name")), "typed")


def test_a_repo_folder_without_a_snapshot(cache: Cache) -> None:
    (cache.repo("org/name") / "blobs").mkdir(parents=True)
    with pytest.raises(NotFound, match="any snapshot is not in the HF cache"):
        within(str(cache.repo("org/name")), "typed")
    cache.ref("org/name", "main", MAIN)
    with pytest.raises(NotFound, match="main = d76c4a5 is not in the HF cache"):
        within(str(cache.repo("org/name")), "typed")


def test_paths_that_are_in_no_cache(tmp_path: Path, filled: Cache) -> None:
    for name in ("models--org--name/x", "models--a--b--c/snapshots/x", "models--org--name"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        assert within(str(tmp_path / name), "typed") is None
    assert within(str(filled.repo("org/name") / "blobs"), "typed") is None
    assert within(str(filled.repo("org/name") / "snapshots" / "main"), "typed") is None
    assert within(str(tmp_path), "typed") is None


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"XDG_CACHE_HOME": "/xdg"},
        {"XDG_CACHE_HOME": "/xdg", "HF_HOME": "/hf"},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$HOME/hf"},
        {"HF_HOME": ""},
        {"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"},
        {"HF_HUB_CACHE": "~/$NAME/hub", "HF_HOME": "/hf", "NAME": "x"},
        {"HF_HUB_CACHE": "relative"},
    ],
)
def test_the_environment_is_read_as_huggingface_hub_reads_it(
    environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert cache_dir() == (theirs.stdout.decode().strip(), None)
    assert cache_dir(None, os.environ) == cache_dir()


def test_a_cache_folder_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "hf"
    assert cache_dir(str(home)) == (str(home), None)
    (home / "hub").mkdir(parents=True)
    found, note = cache_dir(str(home))
    assert found == str(home / "hub")
    assert note is not None
    assert "is an HF_HOME" in note.text
    assert cache_dir(str(home / "hub")) == (str(home / "hub"), None)
    (home / "models--org--name").mkdir()
    assert cache_dir(str(home)) == (str(home), None)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir("~/x") == (str(tmp_path / "x"), None)
    with pytest.raises(UsageError):
        cache_dir("")


def test_huggingface_hub_finds_the_same(filled: Cache) -> None:
    from huggingface_hub import scan_cache_dir

    scanned = scan_cache_dir(filled.hub)
    assert not scanned.warnings
    assert sorted(repo.repo_id for repo in scanned.repos) == cached_ids(str(filled.hub))
    for repo in scanned.repos:
        ours = CachedRepo(str(filled.repo(repo.repo_id)), repo.repo_id)
        assert folder_name(repo.repo_id) == repo.repo_path.name
        assert set(ours.commits()) == {revision.commit_hash for revision in repo.revisions}
        assert ours.refs() == {
            ref: revision.commit_hash for revision in repo.revisions for ref in revision.refs
        }
        for revision in repo.revisions:
            source = opened(filled, repo.repo_id, revision.commit_hash).source
            assert source.root == str(revision.snapshot_path)
            assert source.files() == {
                file.file_name: file.size_on_disk
                for file in revision.files
                if file.file_path.parent == revision.snapshot_path
            }


@pytest.mark.parametrize("revision", [None, "main", "refs/pr/1", "feature/x", OTHER, OLD[:7], "v9"])
def test_huggingface_hub_loads_the_same_file(filled: Cache, revision: str | None) -> None:
    from huggingface_hub import try_to_load_from_cache

    theirs = try_to_load_from_cache("org/name", "config.json", filled.hub, revision)
    if theirs is None:
        with pytest.raises(NotFound):
            opened(filled, "org/name", revision)
        return
    assert isinstance(theirs, str)
    assert opened(filled, "org/name/config.json", revision).source.ref.path == theirs


def test_a_cache_written_by_huggingface_hub(tmp_path: Path) -> None:
    from huggingface_hub import file_download

    for repo_id, revision in (("org/name", "refs/pr/7"), ("gpt2", "main"), ("org/name", "v1")):
        folder = tmp_path / file_download.repo_folder_name(repo_id=repo_id, repo_type="model")
        blob = folder / "blobs" / ("0" * 40)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"{}")
        pointer = file_download._get_pointer_path(str(folder), MAIN, "sub/config.json")
        Path(pointer).parent.mkdir(parents=True, exist_ok=True)
        file_download._create_symlink(str(blob), pointer, new_blob=True)
        file_download._cache_commit_hash_for_specific_revision(str(folder), revision, MAIN)

        target = HubTarget(repo_id, revision, "sub/config.json")
        source, file, note = open_snapshot(str(tmp_path), target)
        assert (source.ref.path, source.ref.revision, file) == (pointer, MAIN, "config.json")
        assert note is not None
        assert source.files() == {"config.json": 2}


def test_the_commits_of_these_tests_are_commits() -> None:
    assert is_commit(MAIN)
    assert is_commit(OLD)
    assert MAIN[:5] == OLD[:5]
