"""Caches that nobody's download wrote: findings and notes, never tracebacks or harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders.hfcache import MAIN, Cache
from tests.cache.conftest import FILES, Ask
from tests.hostile import TEXTS, harm
from tests.running import ROOT, Run

COMMANDS = (["ls"], ["show", "org/x"], ["verify", "org/x"], ["verify", "--all"], ["doctor"])
FIX = ["doctor", "--fix", "--yes"]


def _all_survive(run: Run, *others: list[str]) -> dict[str, str]:
    """Every command runs through; what each one printed."""
    printed = {}
    for argv in (*COMMANDS, *others):
        done = run("cache", *argv)
        assert done.code in (0, 1), (argv, done.err)
        assert harm(done.out) is None
        assert harm(done.err) is None
        printed[" ".join(argv)] = done.out + done.err
    return printed


@pytest.mark.parametrize("kind", ["snapshot", "blob"])
def test_a_fifo_is_not_waited_for(snapshot: Path, ask: Ask, run: Run, kind: str) -> None:
    path = snapshot / "config.json"
    place = path if kind == "snapshot" else path.resolve()
    place.unlink()
    os.mkfifo(place)
    told = ask("verify", "org/x")
    assert (told.code, told.statuses()["config.json"]) == (1, "replaced")
    assert "a FIFO" in told.note("config.json")
    _all_survive(run, FIX)
    assert os.path.lexists(place)


def test_links_to_devices_are_not_read(snapshot: Path, ask: Ask, run: Run) -> None:
    path = snapshot / "config.json"
    path.unlink()
    path.symlink_to("/dev/zero")
    told = ask("verify", "org/x")
    assert told.statuses()["config.json"] == "replaced"
    assert "a character device" in told.note("config.json")
    _all_survive(run, FIX)


def test_links_in_a_circle(snapshot: Path, ask: Ask, run: Run) -> None:
    blob = (snapshot / "config.json").resolve()
    blob.unlink()
    blob.symlink_to(f"../snapshots/{MAIN}/config.json")
    told = ask("verify", "org/x")
    assert told.statuses()["config.json"] == "dangling"
    assert told.note("config.json") == "links that lead in a circle"
    _all_survive(run, FIX)


def test_a_link_out_of_the_cache_is_reported_and_never_followed_to_delete(
    snapshot: Path, ask: Ask, run: Run, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = snapshot / "config.json"
    blob = path.resolve()
    blob.unlink()
    blob.symlink_to(precious)
    told = ask("verify", "org/x")
    assert told.statuses()["config.json"] == "unverifiable"
    assert str(precious) in told.note("config.json")
    shown = ask("show", "org/x", "config.json").document["files"][0]
    assert shown["hops"][-1] == str(precious)
    assert shown["trouble"] == "leads out of the cache"
    assert ask("ls").document["total_bytes"] == sum(map(len, FILES.values())) - len(
        FILES["config.json"]
    )
    _all_survive(run, [*FIX, "--keep", str(tmp_path / "kept")])
    path.unlink()
    _all_survive(run, [*FIX, "--keep", str(tmp_path / "kept")])
    assert precious.read_text() == "precious"


def test_folders_behind_links_are_not_walked(
    snapshot: Path, run: Run, ask: Ask, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("a")
    (snapshot / "more").symlink_to(outside)
    repo = snapshot.parent.parent
    (repo / "blobs").rename(outside / "blobs")
    (repo / "blobs").symlink_to(outside / "blobs")
    _all_survive(run, FIX)
    assert (outside / "a").exists()
    assert len(list((outside / "blobs").iterdir())) == 3
    assert "is a link to somewhere else" in str(ask("doctor").document["findings"])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"files": []}', '{"format_version": 1, "files": {"a": 1}}',
     '{"format_version": 1, "files": {"../../a": {"size": 1, "blob_id": "%s"}}}' % ("0" * 40),
     '{"format_version": 1, "files": {"a": {"size": "x", "blob_id": 5}}}',
     "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_broken_trees(snapshot: Path, run: Run, ask: Ask, text: str) -> None:
    trees = snapshot.parent.parent / "trees"
    trees.mkdir()
    (trees / f"{MAIN}.json").write_text(text)
    _all_survive(run, FIX)
    assert ask("verify", "org/x").code == 0
    assert "odd" in ask("doctor").problems()


def test_a_newer_kind_of_trees_is_left_alone(snapshot: Path, ask: Ask) -> None:
    trees = snapshot.parent.parent / "trees"
    trees.mkdir()
    (trees / f"{MAIN}.json").write_text(json.dumps({"format_version": 9, "files": {}}))
    assert ask("doctor").problems() == []


def test_foreign_files(snapshot: Path, cache: Cache, run: Run, ask: Ask) -> None:
    repo = cache.repo("org/x")
    (cache.hub / "notes.txt").write_text("x")
    (cache.hub / "models--").mkdir()
    (cache.hub / "models--a--b--c").write_text("x")
    (repo / "stray").write_text("x")
    (repo / "snapshots" / "main").mkdir()
    (repo / "snapshots" / ".DS_Store").write_text("x")
    (repo / "blobs" / "folder").mkdir()
    (repo / "blobs" / "W").write_text("no hash")
    (repo / "refs" / "broken").write_text("nonsense")
    _all_survive(run, FIX)
    found = [each["path"] for each in ask("doctor").document["findings"]]
    names = {os.path.basename(path) for path in found}
    assert names >= {"notes.txt", "models--", "stray", "main", "folder", "broken", "W"}
    assert (repo / "blobs" / "W").exists()  # nothing says that it is not wanted


@pytest.mark.parametrize("text", [text for text in TEXTS if "\0" not in text and "/" not in text])
def test_names_that_would_do_harm(text: str, snapshot: Path, run: Run, ask: Ask) -> None:
    name = text[:200]
    if name in (".", ".."):
        return
    try:
        (snapshot / name).write_text("x")
        (snapshot / f"{name}.json").symlink_to(f"../../blobs/{name}")
        (snapshot.parent.parent / name).write_text("x")
    except OSError:
        pytest.skip("the file system cannot hold that name")
    printed = _all_survive(run)
    assert printed["verify org/x"]
    assert name in ask("verify", "org/x").statuses()


def test_a_remedy_quotes_names_for_the_shell(snapshot: Path, ask: Ask, tmp_path: Path) -> None:
    (snapshot / "a b; touch $(pwned)").write_text("x")
    (remedy,) = ask("verify", "org/x").document["remedies"]
    assert "'" in remedy
    assert "a b; touch $(pwned)'" in remedy


def test_a_folder_that_may_not_be_read(snapshot: Path, run: Run, ask: Ask) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (snapshot / "sub").chmod(0)
    try:
        _all_survive(run)
        assert "Permission denied" in str(ask("doctor").document["findings"])
    finally:
        (snapshot / "sub").chmod(0o755)


def test_a_file_that_may_not_be_read(
    snapshot: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.sources.hfcache import hashing

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashing, "_feed", forbidden)
    told = ask("verify", "org/x")
    assert (told.code, set(told.statuses().values())) == (0, {"unverifiable"})
    assert told.note("config.json") == "Permission denied"


def test_a_file_that_changes_while_it_is_read(
    snapshot: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.sources.hfcache import hashing

    feed = hashing._feed

    def slow(*args: object) -> int:
        (snapshot / "config.json").write_bytes(b"something else")
        return feed(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "_feed", slow)
    told = ask("verify", "org/x", "-j", "1")
    assert told.statuses()["config.json"] == "unverifiable"
    assert "changed while" in told.note("config.json")


def test_a_cache_that_goes_while_it_is_read(
    snapshot: Path, run: Run, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from modelscope_cli.sources.hfcache import layout as cache_layout

    read = cache_layout._RepoReader._refs

    def gone(self: object, repo_id: str) -> dict[str, str]:
        shutil.rmtree(cache.repo("org/x") / "blobs", ignore_errors=True)
        return read(self, repo_id)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_layout._RepoReader, "_refs", gone)
    _all_survive(run)


def test_an_empty_hub_folder(cache: Cache, ask: Ask) -> None:
    assert ask("ls").document["repos"] == []
    assert ask("doctor").problems() == []
    assert ask("verify", "--all").document["files"] == []


_SLOW = (
    "import faulthandler, sys, time\n"
    "faulthandler.dump_traceback_later(15, exit=True)\n"  # says where it hangs
    "from modelscope_cli.sources.hfcache import hashing\n"
    "def feed(*_):\n"
    "    print('ready', flush=True)\n"
    "    while not _[3].is_set(): time.sleep(0.01)\n"
    "    return 0\n"
    "hashing._feed = feed\n"
    "from modelscope_cli.__main__ import run\n"
    "run()\n"
)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_ctrl_c_while_hashing(snapshot: Path, jobs: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, "cache", "verify", "org/x", "-j", jobs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"ready")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out.replace(b"ready", b"").strip(), err) == (b"", b"")
    assert time.monotonic() - started < 5


def test_a_reader_that_has_seen_enough(snapshot: Path) -> None:
    for argv in COMMANDS:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelscope_cli", "cache", *argv, "-q"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(20) == 0
