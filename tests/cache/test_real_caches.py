"""Caches written by the real huggingface_hub: plain, LFS, shared store, without links, PRs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, scan_cache_dir, snapshot_download
from huggingface_hub.utils import _shared_blobs

from tests.cache.conftest import FILES, WEIGHTS, Ask
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.hub_server.repos import content
from tests.running import ROOT, Run

XET = "ab" * 32


def test_a_download_is_read_right(downloaded: Path, ask: Ask) -> None:
    told = ask("verify", "org/x")
    assert (told.code, told.statuses()) == (0, dict.fromkeys(FILES, "ok"))
    assert told.document["model"]["revision"] == downloaded.name
    algorithms = {each["path"]: each["algorithm"] for each in told.document["files"]}
    assert algorithms == {
        "config.json": "git-sha1",
        "model.safetensors": "sha256",
        "sub/tokenizer.json": "git-sha1",
    }
    assert ask("doctor").problems() == []


def test_sizes_are_those_that_the_library_counts(downloaded: Path, ask: Ask) -> None:
    theirs = scan_cache_dir(os.environ["HF_HUB_CACHE"])
    ours = ask("ls").document
    assert ours["total_bytes"] == theirs.size_on_disk
    (repo,) = ours["repos"]
    assert (repo["id"], repo["revisions"], repo["refs"]) == ("org/x", 1, ["main"])
    assert (repo["broken"], repo["incomplete"], repo["orphans"], repo["detached"]) == (0, 0, 0, 0)
    assert repo["last_used"].endswith("Z")


def test_pull_requests_and_old_revisions(hub: HubServer, downloaded: Path, ask: Ask) -> None:
    repo = hub.repos["org/x"]
    repo.commit({"config.json": content("config.json", b"{}")}, "refs/pr/1")
    snapshot_download("org/x", revision="refs/pr/1", endpoint=hub.url)
    repo.commit({**repo.commits[repo.main], "config.json": content("config.json", b'{"a": 1}')})
    snapshot_download("org/x", endpoint=hub.url)
    (listed,) = ask("ls").document["repos"]
    assert (listed["revisions"], listed["refs"], listed["detached"]) == (
        3,
        ["main", "refs/pr/1"],
        1,
    )
    shown = ask("show", "org/x").document["files"]
    by_path = {each["path"]: each for each in shown}
    assert by_path["model.safetensors"]["shared_with"] == [downloaded.name]
    assert by_path["config.json"]["shared_with"] == []
    told = ask("verify", "org/x", "--revision", "refs/pr/1")
    assert told.statuses() == {"config.json": "ok"}
    assert ask("verify", "org/x", "--all").document["summary"]["ok"] == 7
    assert ask("doctor").problems() == ["detached"]


def test_the_shared_store_has_two_hops(hub: HubServer, downloaded: Path, ask: Ask) -> None:
    cache = Path(os.environ["HF_HUB_CACHE"])
    blob = (downloaded / "model.safetensors").readlink().name
    path = cache / "models--org--x" / "blobs" / blob
    shared = _shared_blobs.publish_blob_to_shared_store(
        blob_path=str(path), xet_hash=XET, cache_dir=cache, expected_size=len(WEIGHTS)
    )
    assert shared
    assert path.is_symlink()
    files = {each["path"]: each for each in ask("show", "org/x").document["files"]}
    store = cache / "blobs" / XET[:2] / XET
    assert files["model.safetensors"]["hops"] == [str(path), str(store)]
    assert files["model.safetensors"]["blob"] == blob
    told = ask("verify", "org/x")
    assert (told.code, set(told.statuses().values())) == (0, {"ok"})
    second = cache / "models--org--y"
    (second / "blobs").mkdir(parents=True)
    _shared_blobs.try_link_from_shared_store(
        blob_path=str(second / "blobs" / blob),
        xet_hash=XET,
        cache_dir=cache,
        expected_size=len(WEIGHTS),
    )
    snapshot = second / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "m.safetensors").symlink_to(f"../../blobs/{blob}")
    shown = ask("show", "org/x", "model.safetensors").document["files"]
    assert shown[0]["shared_with"] == ["org/y"]
    usage = ask("ls").document
    total = sum(map(len, FILES.values()))
    assert usage["total_bytes"] == total
    assert [repo["bytes"] for repo in usage["repos"]] == [total, len(WEIGHTS)]
    os.chmod(store, 0o644)
    store.write_bytes(b"x" * len(WEIGHTS))
    assert ask("verify", "org/x").statuses()["model.safetensors"] == "modified"
    shutil.rmtree(second)
    shutil.rmtree(cache / "models--org--x")
    assert ask("ls").document["unused_store_bytes"] == len(WEIGHTS)


def test_a_cache_without_links(
    hub: HubServer, add: AddRepo, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    add("org/x", FILES)
    snapshot = Path(snapshot_download("org/x", endpoint=hub.url))
    assert not (snapshot / "config.json").is_symlink()
    told = ask("verify", "org/x")
    assert (told.code, set(told.statuses().values())) == (0, {"ok"})  # trees/ knows
    shown = ask("show", "org/x", "config.json").document["files"][0]
    assert (shown["hops"], shown["blob"], shown["size"]) == ([], None, len(FILES["config.json"]))
    (snapshot / "config.json").write_text("{}")
    assert ask("verify", "org/x").statuses()["config.json"] == "modified"
    shutil.rmtree(snapshot.parent.parent / "trees")
    told = ask("verify", "org/x")
    assert (told.code, set(told.statuses().values())) == (0, {"unverifiable"})
    assert ask("verify", "org/x", "--strict").code == 1
    assert ask("doctor").problems() == []


def test_single_files_are_no_missing_ones(
    hub: HubServer, add: AddRepo, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    add("org/x", FILES)
    snapshot_download("org/x", endpoint=hub.url, allow_patterns=["*.json"])
    told = ask("verify", "org/x")
    assert told.code == 0
    assert told.statuses() == {"config.json": "ok", "sub/tokenizer.json": "ok"}
    assert "1 file of" in told.err
    assert "were not downloaded" in told.err
    hf_hub_download("org/x", "model.safetensors", endpoint=hub.url)
    assert ask("verify", "org/x").document["summary"]["ok"] == 3


def test_a_file_that_went_after_its_download_is_missing(downloaded: Path, ask: Ask) -> None:
    blob = (downloaded / "model.safetensors").resolve()
    (downloaded / "model.safetensors").unlink()
    told = ask("verify", "org/x")
    assert (told.code, told.statuses()["model.safetensors"]) == (1, "missing")
    assert "its blob is still here" in told.note("model.safetensors")
    blob.unlink()
    told = ask("verify", "org/x")  # the lock that the download made is left
    assert (told.code, told.statuses()["model.safetensors"]) == (1, "missing")
    assert "hf download org/x --revision" in told.document["remedies"][0]


_DOWNLOAD = (
    "import sys\n"
    "from huggingface_hub import constants, hf_hub_download\n"
    "constants.HF_HUB_DISABLE_XET = True\n"
    "hf_hub_download('org/x', 'model.safetensors', endpoint=sys.argv[1])\n"
)


def test_a_download_that_was_killed(hub: HubServer, add: AddRepo, ask: Ask) -> None:
    add("org/x", FILES)
    hub.fault("X-Signature", "hang", times=9)
    process = subprocess.Popen(
        [sys.executable, "-c", _DOWNLOAD, hub.url],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    blobs = Path(os.environ["HF_HUB_CACHE"]) / "models--org--x" / "blobs"
    try:
        deadline = time.monotonic() + 30
        while not list(blobs.glob("*.incomplete")) and time.monotonic() < deadline:
            time.sleep(0.05)
        (unfinished,) = blobs.glob("*.incomplete")
        told = ask("doctor", "--fix", "--yes")  # its lock is held: left alone
        assert told.document["findings"][0]["reason"] == "in use: a download holds its lock"
        assert unfinished.exists()
    finally:
        process.kill()
        process.wait()
    told = ask("verify", "org/x")
    assert (told.code, told.document["summary"]["incomplete"]) == (0, 1)
    assert ask("verify", "org/x", "--strict").code == 1
    assert ask("ls").document["repos"][0]["incomplete"] == 1
    told = ask("doctor", "--fix", "--yes")
    assert told.problems() == ["incomplete"]
    assert told.document["findings"][0]["fixed"] is True
    assert not unfinished.exists()


def test_moved_and_copied_caches(downloaded: Path, ask: Ask, tmp_path: Path) -> None:
    hub = Path(os.environ["HF_HUB_CACHE"])
    moved = tmp_path / "moved"
    shutil.copytree(hub, moved, symlinks=True)
    told = ask("verify", "org/x", "--cache-dir", str(moved))
    assert set(told.statuses().values()) == {"ok"}
    told = ask("verify", str(moved / "models--org--x" / "snapshots" / downloaded.name))
    assert set(told.statuses().values()) == {"ok"}
    shown = ask("show", str(moved / downloaded.relative_to(hub) / "config.json"))
    assert shown.document["files"][0]["hops"][0].startswith(str(moved))
    copied = tmp_path / "copied"
    shutil.copytree(hub, copied, symlinks=False)
    told = ask("verify", "org/x", "--cache-dir", str(copied))
    assert {told.statuses()[path] for path in FILES} == {"ok"}
    assert told.document["summary"]["orphan"] == 3  # every file twice
    shutil.rmtree(copied / "models--org--x" / "trees")
    told = ask("verify", "org/x", "--cache-dir", str(copied))
    assert {told.statuses()[path] for path in FILES} == {"ok"}
    assert "a copy of the blob" in told.note("config.json")


def test_absolute_links_of_a_moved_cache_are_pointed_back(
    downloaded: Path, ask: Ask, tmp_path: Path
) -> None:
    hub = Path(os.environ["HF_HUB_CACHE"])
    link = downloaded / "config.json"
    target = link.resolve()
    link.unlink()
    link.symlink_to(target)
    moved = tmp_path / "moved"
    hub.rename(moved)
    told = ask("verify", "org/x", "--cache-dir", str(moved))
    assert told.statuses()["config.json"] == "dangling"
    told = ask("doctor", "--cache-dir", str(moved), "--fix", "--yes")
    assert (told.code, told.problems()) == (0, ["dangling"])
    assert ask("verify", "org/x", "--cache-dir", str(moved)).code == 0
    assert not (moved / downloaded.relative_to(hub) / "config.json").readlink().is_absolute()


def test_the_hub_is_asked_with_remote(hub: HubServer, downloaded: Path, ask: Ask) -> None:
    shutil.rmtree(downloaded.parent.parent / "trees")
    told = ask("verify", "org/x", "--remote")
    assert (told.code, set(told.statuses().values())) == (0, {"ok"})
    blobs = downloaded.parent.parent / "blobs"
    forged = b'{"forged": 1}'
    name = content("x.json", forged).etag
    (blobs / name).write_bytes(forged)
    (downloaded / "config.json").unlink()
    (downloaded / "config.json").symlink_to(f"../../blobs/{name}")
    assert ask("verify", "org/x").statuses()["config.json"] == "ok"  # as far as the disk knows
    told = ask("verify", "org/x", "--remote")
    assert (told.code, told.statuses()["config.json"]) == (1, "replaced")


def test_the_whole_cache_against_the_hub(
    hub: HubServer, downloaded: Path, ask: Ask, run: Run
) -> None:
    assert ask("verify", "--all", "--remote").document["summary"]["ok"] == 3
    del hub.repos["org/x"]
    done = run("cache", "verify", "org/x", "--remote")
    assert done.code == 3
    assert "org/x" in done.err


def test_a_file_that_the_commit_does_not_have(hub: HubServer, downloaded: Path, ask: Ask) -> None:
    """Its blob is right by its name, and nobody has uploaded it under this commit."""
    extra = b"print('extra')"
    name = content("x.py", extra).etag
    (downloaded.parent.parent / "blobs" / name).write_bytes(extra)
    (downloaded / "extra.py").symlink_to(f"../../blobs/{name}")
    for argv in (["org/x"], ["org/x", "--remote"], [f"{downloaded}/extra.py", "--remote"]):
        told = ask("verify", *argv)
        assert (told.code, told.statuses()["extra.py"]) == (0, "unverifiable")
        assert told.note("extra.py") == "its commit has no such file"
    assert ask("doctor").problems() == ["unverifiable"]
    shutil.rmtree(downloaded.parent.parent / "trees")
    assert ask("verify", "org/x").statuses()["extra.py"] == "ok"  # as far as the disk knows
    told = ask("verify", "org/x", "--remote", "--strict")
    assert (told.code, told.statuses()["extra.py"]) == (1, "unverifiable")
    (downloaded / "extra.py").write_bytes(b"changed since")
    assert ask("verify", "org/x", "--remote").statuses()["extra.py"] == "modified"


def test_the_others_are_answered_where_one_repo_is_gone(
    hub: HubServer, downloaded: Path, add: AddRepo, ask: Ask
) -> None:
    add("org/y", {"config.json": b"{}", "a.json": b"[]"})
    gone = Path(snapshot_download("org/y", endpoint=hub.url))
    (gone / "a.json").write_bytes(b"changed")
    (gone.parent.parent.parent / "datasets--org--d" / "snapshots" / gone.name).mkdir(parents=True)
    del hub.repos["org/y"]
    told = ask("verify", "--all", "--remote")
    assert told.code == 1
    statuses = {(each["repo"], each["path"]): each["status"] for each in told.document["files"]}
    assert statuses == {
        **{("org/x", path): "ok" for path in FILES},
        ("org/y", "config.json"): "unverifiable",
        ("org/y", "a.json"): "modified",
    }
    assert f"org/y, {gone.name[:7]}: not compared with the Hub" in told.err
    assert "org/d" in told.err
    assert "models only" in told.err


def test_the_other_revisions_are_answered_where_one_is_gone(
    hub: HubServer, downloaded: Path, ask: Ask
) -> None:
    repo = hub.repos["org/x"]
    repo.commit({"config.json": content("config.json", b"{}")}, "refs/pr/1")
    snapshot_download("org/x", revision="refs/pr/1", endpoint=hub.url)
    del repo.commits[downloaded.name]
    told = ask("verify", "org/x", "--all", "--remote")
    assert (told.code, told.document["summary"]["ok"]) == (0, 1)
    assert told.document["summary"]["unverifiable"] == len(FILES)


def test_remote_and_offline_exclude_each_other(
    hub: HubServer, downloaded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = run("cache", "verify", "org/x", "--remote")
    assert done.code == 2
    assert "offline" in done.err.lower()
    assert hub.log == []


@pytest.mark.parametrize("damage", ["changed", "shorter", "replaced", "emptied"])
def test_what_hf_cache_verify_finds_is_found_here(
    hub: HubServer, downloaded: Path, ask: Ask, damage: str
) -> None:
    path = downloaded / "model.safetensors"
    if damage == "replaced":
        path.unlink()
        path.write_bytes(b"other")
    else:
        data = {"changed": WEIGHTS[:-1] + b"\1", "shorter": WEIGHTS[:-4], "emptied": b""}
        path.write_bytes(data[damage])
    api = HfApi(hub.url)
    theirs = api.verify_repo_checksums("org/x", cache_dir=os.environ["HF_HUB_CACHE"])
    assert [each["path"] for each in theirs.mismatches] == ["model.safetensors"]
    told = ask("verify", "org/x")
    assert told.code == 1
    (bad,) = [each for each in told.document["files"] if each["status"] not in ("ok", "orphan")]
    assert bad["path"] == "model.safetensors"
    if damage != "replaced":
        assert (bad["expected"], bad["actual"]) == (
            theirs.mismatches[0]["expected"],
            theirs.mismatches[0]["actual"],
        )


def test_what_hf_cache_verify_misses(hub: HubServer, downloaded: Path, ask: Ask) -> None:
    (downloaded / "model.safetensors").resolve().unlink()
    api = HfApi(hub.url)
    theirs = api.verify_repo_checksums("org/x", cache_dir=os.environ["HF_HUB_CACHE"])
    assert not theirs.mismatches
    told = ask("verify", "org/x")
    assert (told.code, told.statuses()["model.safetensors"]) == (1, "dangling")


def test_remedies_bring_the_download_back(
    hub: HubServer, downloaded: Path, ask: Ask, tmp_path: Path
) -> None:
    (downloaded / "config.json").write_text('{"mine": true}')
    path = downloaded / "model.safetensors"
    path.unlink()
    path.write_bytes(b"mine too")
    (remedy,) = [
        line for line in ask("verify", "org/x").document["remedies"] if "only copy" in line
    ]
    save, again = remedy.removeprefix("these may be your only copy: ").split(
        "; once they are safe there: "
    )
    subprocess.run(save, shell=True, check=True, cwd=tmp_path)
    (saved,) = tmp_path.glob("org--x-*")
    assert (saved / "config.json").read_text() == '{"mine": true}'
    assert (saved / "model.safetensors").read_bytes() == b"mine too"
    remove, download = again.split("; ")
    subprocess.run(remove, shell=True, check=True)
    assert download.startswith("hf download org/x --revision ")
    snapshot_download("org/x", revision=downloaded.name, force_download=True, endpoint=hub.url)
    assert ask("verify", "org/x").code == 0
