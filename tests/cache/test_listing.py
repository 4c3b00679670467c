"""`mscope cache ls` and `cache show`, and how MODEL names a place in the cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.builders.hfcache import MAIN, OLD, OTHER, Cache
from tests.cache.conftest import FILES, Ask, refused
from tests.running import Run
from tests.terminal import screen

TOTAL = sum(map(len, FILES.values()))


def test_ls_counts_every_byte_once(cache: Cache, snapshot: Path, ask: Ask) -> None:
    cache.add("org/x", OLD, {**FILES, "config.json": b"{}"})
    blobs = cache.repo("org/x") / "blobs"
    (blobs / ("a" * 64)).write_bytes(b"left over")
    (blobs / f"{'b' * 64}.01234567.incomplete").write_bytes(b"half")
    (snapshot / "sub" / "tokenizer.json").unlink()
    (snapshot / "sub" / "tokenizer.json").symlink_to("../../../blobs/gone")
    cache.add("org/other", OTHER, {"a.json": b"{}"}, ("main", "v1"))
    document = ask("ls").document
    other, repo = document["repos"]
    assert (repo["revisions"], repo["refs"], repo["detached"]) == (2, ["main"], 1)
    assert (repo["broken"], repo["incomplete"], repo["orphans"]) == (1, 1, 1)
    assert repo["bytes"] == TOTAL + 9 + 4
    assert other["refs"] == ["main", "v1"]
    assert document["total_bytes"] == repo["bytes"] + 2
    by_commit = {each["commit"]: each for each in repo["snapshots"]}
    assert by_commit[OLD]["detached"]
    assert not by_commit[MAIN]["detached"]


def test_ls_for_people(snapshot: Path, run: Run) -> None:
    done = run("cache", "ls")
    assert (done.code, done.err) == (0, "")
    assert "org/x" in done.out
    assert "main" in done.out
    drawn = screen("cache", "ls", columns=80)
    assert drawn.code == 0
    assert drawn.width <= 80


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl", "md"])
@pytest.mark.parametrize("argv", [["ls"], ["show", "org/x"], ["verify", "org/x"], ["doctor"]])
def test_every_format(snapshot: Path, run: Run, argv: list[str], format_: str) -> None:
    done = run("cache", *argv, "-f", format_)
    assert (done.code, done.err) == (0, "")
    assert done.out or (argv, format_) == (["doctor"], "jsonl")  # nothing was found


def test_other_kinds_of_repo(cache: Cache, ask: Ask) -> None:
    (cache.hub / "datasets--org--d" / "snapshots" / MAIN).mkdir(parents=True)
    (cache.hub / "spaces--s" / "snapshots").mkdir(parents=True)
    kinds = {each["id"]: each["kind"] for each in ask("ls").document["repos"]}
    assert kinds == {"org/d": "dataset", "s": "space"}


def test_ls_shows_what_mscope_keeps_itself(snapshot: Path, ask: Ask) -> None:
    assert ask("ls").document["mscope"] is None
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "mscope" / "hub"
    folder.mkdir(parents=True)
    (folder / "pack").write_bytes(b"12345")
    assert ask("ls").document["mscope"] == {"path": str(folder.parent), "bytes": 5}


def test_no_cache_at_all(run: Run) -> None:
    """What checks a cache needs one; what lists it finds it empty, unless it was named."""
    for argv in (["ls", "--cache-dir", "./none"], ["doctor"], ["verify", "--all"]):
        done = refused(run, *argv)
        assert done.code == 3
        assert "there is no HF cache at" in done.err


def test_no_cache_yet_is_an_empty_one(run: Run, ask: Ask) -> None:
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "mscope" / "hub"
    folder.mkdir(parents=True)
    (folder / "pack").write_bytes(b"12345")
    told = ask("ls")
    assert (told.code, told.document["repos"], told.document["total_bytes"]) == (0, [], 0)
    assert told.document["mscope"] == {"path": str(folder.parent), "bytes": 5}
    assert "there is no such folder" in told.err
    assert str(folder.parent) in run("cache", "ls").out


@pytest.mark.parametrize("command", [["cache", "verify"], ["cache", "show"], ["params"]])
def test_a_cache_folder_that_is_none(run: Run, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    for name, words in (("file", "which is no folder"), ("none", "which does not exist")):
        place = ["--cache-dir", str(tmp_path / name)]
        offline = ["--offline"] if command == ["params"] else []
        done = run(*command, "org/x", *place, *offline)
        assert done.code == 3
        assert words in done.err
    assert run("cache", "ls", "--cache-dir", str(tmp_path / "file")).code == 3


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_cache_that_may_not_be_entered(
    snapshot: Path, run: Run, cache: Cache, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    stat = os.stat

    def refused_inside(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{cache.hub}{os.sep}"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused_inside)
    done = run("cache", command, "org/x")
    assert done.code == 3
    assert "Permission denied" in done.err


@pytest.mark.parametrize(
    ("model", "kind"),
    [("datasets/a/b", "dataset"), ("spaces/a/b", "Space"), ("hf://datasets/a/b", "dataset")],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_datasets_and_spaces_are_no_models(
    snapshot: Path, run: Run, command: str, model: str, kind: str
) -> None:
    done = refused(run, command, model)
    assert (done.code, kind in done.err) == (3, True), done.err


def test_show_goes_hop_by_hop(snapshot: Path, ask: Ask) -> None:
    shown = {each["path"]: each for each in ask("show", "org/x").document["files"]}
    assert set(shown) == set(FILES)
    for path, each in shown.items():
        blob = (snapshot / path).resolve()
        assert each["hops"] == [str(blob)]
        assert (each["blob"], each["size"]) == (blob.name, len(FILES[path]))
        assert each["mtime"].endswith("Z")


@pytest.mark.parametrize(
    ("argv", "paths"),
    [
        (["org/x"], set(FILES)),
        (["org/x@main"], set(FILES)),
        ([f"org/x@{MAIN[:10]}"], set(FILES)),
        (["org/x", "--revision", MAIN], set(FILES)),
        (["org/x", "config.json"], {"config.json"}),
        (["org/x", "sub"], {"sub/tokenizer.json"}),
        (["org/x/config.json"], {"config.json"}),
        (["hf://org/x"], set(FILES)),
        (["{repo}"], set(FILES)),
        (["{repo}/snapshots"], set(FILES)),
        (["{snapshot}"], set(FILES)),
        (["{snapshot}/sub"], {"sub/tokenizer.json"}),
        (["{snapshot}", "sub/tokenizer.json"], {"sub/tokenizer.json"}),
        (["{snapshot}/sub/tokenizer.json"], {"sub/tokenizer.json"}),
        (["{blob}"], {"config.json"}),
    ],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_how_a_place_is_named(
    snapshot: Path, ask: Ask, command: str, argv: list[str], paths: set[str]
) -> None:
    if command == "verify" and len(argv) == 2 and not argv[1].startswith("-"):
        argv = [f"{argv[0]}/{argv[1]}"]
    places = {
        "repo": snapshot.parent.parent,
        "snapshot": snapshot,
        "blob": (snapshot / "config.json").resolve(),
    }
    argv = [word.format(**places) for word in argv]
    if argv[0].startswith("org/x/sub"):
        argv[0] = str(snapshot / "sub")
    told = ask(command, *argv)
    assert {each["path"] for each in told.document["files"]} == paths
    assert told.document["model"]["kind"] == "cache"
    assert told.document["model"]["id"] == "org/x"


@pytest.mark.parametrize(
    ("link", "leads_to", "typed", "paths"),
    [
        ("llama", "{snapshot}", "llama", set(FILES)),
        ("llama", "{snapshot}", "llama/config.json", {"config.json"}),
        ("llama", "{snapshot}", "llama/sub", {"sub/tokenizer.json"}),
        ("repo", "{repo}", "repo", set(FILES)),
        ("all", "{repo}/snapshots", f"all/{MAIN}/sub", {"sub/tokenizer.json"}),
        ("c.json", "{snapshot}/config.json", "c.json", {"config.json"}),
        ("blob", "{blob}", "blob", {"config.json"}),
    ],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_place_is_found_through_a_link(
    snapshot: Path, ask: Ask, tmp_path: Path, command: str,
    link: str, leads_to: str, typed: str, paths: set[str],
) -> None:  # fmt: skip
    places = {
        "repo": snapshot.parent.parent,
        "snapshot": snapshot,
        "blob": (snapshot / "config.json").resolve(),
    }
    (tmp_path / link).symlink_to(leads_to.format(**places))
    (tmp_path / "again").symlink_to(tmp_path / link)
    for way in (typed, typed.replace(link, "again", 1)):
        told = ask(command, str(tmp_path / way))
        assert {each["path"] for each in told.document["files"]} == paths
        assert told.document["model"]["id"] == "org/x"


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("org/y", 3, "org/y is not in the HF cache"),
        ("other/x", 3, "did you mean org/x?"),
        ("org/x@v9", 3, "v9 is not in the HF cache"),
        ("org/x/confg.json", 3, "did you mean config.json"),
        ("./missing", 3, "No such file"),
        (".", 3, "lies in no HF cache"),
        ("builtin:huozi3", 2, "lies in no cache"),
        ("org/x:Q4_K_M", 2, "not a GGUF type"),
        ("", 2, ""),
    ],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_is_not_there(
    snapshot: Path, run: Run, command: str, model: str, code: int, words: str
) -> None:
    done = refused(run, command, model)
    assert done.code == code
    assert words in done.err


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_model_must_be_named(run: Run, command: str) -> None:
    done = refused(run, command)
    assert done.code == 2
    assert f"cache {command} needs a MODEL" in done.err


def test_the_model_of_the_environment(snapshot: Path, ask: Ask) -> None:
    env = {"MSCOPE_MODEL": "org/x"}
    assert ask("verify", env=env).document["model"]["id"] == "org/x"
    assert "model" not in ask("verify", "--all", env=env).document


def test_without_main_the_only_snapshot(cache: Cache, ask: Ask, run: Run) -> None:
    cache.add("org/x", OLD, FILES, ("v1",))
    assert ask("verify", "org/x").document["model"]["revision"] == OLD
    cache.add("org/x", MAIN, FILES)
    done = refused(run, "verify", "org/x")
    assert done.code == 2
    assert "2 snapshots" in done.err
    assert ask("verify", "org/x", "--revision", "v1").document["model"]["revision"] == OLD


def test_a_repo_without_any_snapshot(cache: Cache, ask: Ask) -> None:
    blobs = cache.repo("org/x") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'a' * 64}.01234567.incomplete").write_bytes(b"half")
    told = ask("verify", "org/x")
    assert told.document["summary"]["incomplete"] == 1
    assert ask("show", "org/x").document["files"] == []


def test_all_says_its_size_first(snapshot: Path, run: Run) -> None:
    done = run("cache", "verify", "--all")
    assert done.code == 0
    assert done.err.startswith("mscope: note: 3 files to be checked, ")


def test_the_hub_folder_of_an_hf_home(snapshot: Path, ask: Ask, cache: Cache) -> None:
    told = ask("verify", "org/x", "--cache-dir", str(cache.hub.parent))
    assert told.code == 0
    assert "is an HF_HOME" in told.err


def test_settings_have_a_table_of_their_own(snapshot: Path, run: Run, tmp_path: Path) -> None:
    settings = tmp_path / "mscope.toml"
    settings.write_text('[cache-ls]\nformat = "csv"\n')
    assert run("cache", "ls", "--config", str(settings)).out.startswith("id,kind")
    assert run("cache", "show", "org/x", "--config", str(settings)).out.startswith("org/x: ")
    settings.write_text("[cache-verify]\nstrct = true\n")
    done = run("cache", "ls", "--config", str(settings))
    assert done.code == 2
    assert "did you mean strict?" in done.err


def test_completion_knows_the_group(snapshot: Path, run: Run) -> None:
    def candidates(*words: str) -> list[str]:
        done = run(*words, env={"_MSCOPE_COMPLETE": "fish"})
        return [line.split("\t")[0] for line in done.out.splitlines()][1:]

    assert candidates("cac") == ["cache"]
    assert candidates("cache", "") == ["ls", "show", "verify", "doctor"]
    assert candidates("cache", "verify", "org/") == ["org/x"]
    assert candidates("cache", "doctor", "--dry") == ["--dry-run"]


def test_nothing_is_written_over_in_the_cache(snapshot: Path, run: Run) -> None:
    place = snapshot / "config.json"
    for argv in (["show", "org/x"], ["verify", "org/x"], ["verify", "--all"], ["ls"], ["doctor"]):
        done = run("cache", *argv, "-o", str(place))
        assert done.code == 2
    assert place.read_bytes() == FILES["config.json"]
