"""Models that try to wear the audit out, or change while they are looked at."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelscope_cli import auditing
from modelscope_cli.audit import engine
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rules.safety import RULES
from modelscope_cli.load import How
from modelscope_cli.sources import tree
from tests.audit.conftest import Audit, good
from tests.builders import folders
from tests.builders.pickles import protocol
from tests.running import Run

_SECONDS = 10  # most here take a tenth; the machine may be busy


def test_more_files_than_are_looked_at_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_ENTRIES", 50)
    folders.write(tmp_path / "m", good())
    for number in range(60):
        (tmp_path / "m" / f"{number}.txt").touch()
    found = tree.walk(str(tmp_path / "m"))
    assert (len(found.entries), found.cut) == (50, "there are more than 50 files and folders")


def test_folders_of_folders_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_ENTRIES", 50)
    for number in range(60):
        (tmp_path / "m" / f"{number}").mkdir(parents=True)
    assert tree.walk(str(tmp_path / "m")).cut is not None


def test_what_lies_highest_is_listed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_ENTRIES", 50)
    folders.write(tmp_path / "m", {**good(), **{f"a/{number}.txt": b"" for number in range(60)}})
    assert set(good()) < {each.path for each in tree.walk(str(tmp_path / "m")).entries}


@pytest.mark.parametrize("depth", [18, 40])
def test_a_pickle_far_down_is_found(audit: Audit, depth: int) -> None:
    path = "/".join(["d"] * depth) + "/x.pkl"
    assert audit({**good(), path: protocol(2)}, "--select", "S001").one("S001")["file"] == path


_S = [rule.id for rule in RULES]


def test_folders_deeper_than_is_looked_never_pass(audit: Audit) -> None:
    said = audit({**good(), "/".join("d" * 70) + "/x.pkl": protocol(2)}, "--select", "S")
    assert (said.code, said.status("S004")) == (1, "failed")
    assert "folders in folders, more than 64 deep" in said.one("S004")["message"]
    assert {said.status(rule) for rule in _S if rule != "S004"} == {"skipped"}


def test_more_files_than_are_looked_at_never_pass(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_ENTRIES", 50)
    said = audit({**good(), **{f"{number}.txt": b"" for number in range(60)}}, "--select", "S")
    assert (said.code, said.one("S004")["severity"]) == (1, "error")
    assert {said.status(rule) for rule in _S if rule != "S004"} == {"skipped"}
    assert "more than 50 files" in said.reason("S001")


def test_what_version_control_keeps_is_left_out_and_said(audit: Audit) -> None:
    said = audit({**good(), ".git/x.pkl": protocol(2)}, "--select", "S")
    assert (said.code, said.status("S001")) == (0, "passed")
    assert (said.one("S004")["severity"], said.one("S004")["file"]) == ("note", ".git")


def test_a_folder_by_the_name_of_version_control_is_one_like_others(audit: Audit) -> None:
    said = audit({**good(), "sub/.git/x.pkl": protocol(2)}, "--select", "S001")
    assert said.one("S001")["file"] == "sub/.git/x.pkl"


def test_links_are_named_and_not_followed_in_circles(tmp_path: Path) -> None:
    folders.write(tmp_path / "m", good())
    (tmp_path / "m" / "self").symlink_to(".")
    (tmp_path / "m" / "loop").symlink_to("loop")
    (tmp_path / "m" / "out").symlink_to("/etc")
    found = {each.path: each for each in tree.walk(str(tmp_path / "m")).entries}
    assert found["self"].kind == tree.FOLDER
    assert not found["self"].outside
    assert found["loop"].kind == "looping"
    assert found["out"].outside
    assert not any(path.startswith(("self/", "out/")) for path in found)


def test_a_folder_that_may_not_be_read_is_a_finding(audit: Audit, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("everything may be read by root")
    folders.write(tmp_path / "m", good())
    (tmp_path / "m" / "closed").mkdir(mode=0)
    assert audit(None, "--select", "F008").one("F008")["file"] == "closed"


def test_a_file_that_goes_away_while_it_is_read_is_a_finding_and_no_fault(
    tmp_path: Path,
) -> None:
    folders.write(tmp_path / "m", good(copy__safetensors=folders.weights("x")))
    with auditing.subject(str(tmp_path / "m"), How()) as subject:
        for path in (tmp_path / "m").iterdir():
            path.unlink()
        (tmp_path / "m").rmdir()
        audited = engine.audit(subject, Policy())
    assert audited.error is None
    assert any(found.rule == "F001" for found in audited.findings)


def test_documents_are_read_to_a_limit(audit: Audit, tmp_path: Path) -> None:
    folders.write(tmp_path / "m", good())
    for name in ("README.md", "LICENSE"):
        with open(tmp_path / "m" / name, "wb") as stream:
            stream.truncate(50_000_000_000)  # a hole: 50 GB that take no room
    start = time.monotonic()
    said = audit(None, "--select", "P")
    assert said.status("P001") == "failed"
    assert time.monotonic() - start < _SECONDS


def test_a_file_of_holes_is_not_compared_byte_for_byte(audit: Audit, tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"U8","shape":[20000000000],"data_offsets":[0,20000000000]}}'
    folders.write(tmp_path / "m", good())
    for name in ("model.safetensors", "twin.safetensors"):
        with open(tmp_path / "m" / name, "wb") as stream:
            stream.write(len(header).to_bytes(8, "little") + header)
            stream.truncate(8 + len(header) + 20_000_000_000)
    start = time.monotonic()
    assert audit(None, "--select", "F004").findings("F004")
    assert time.monotonic() - start < _SECONDS


def test_a_policy_with_nothing_but_depth_is_refused(run: Run, tmp_path: Path) -> None:
    text = "[audit.provenance.config]\nx = " + "[" * 5000 + "]" * 5000
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "p.toml": text})
    done = run("audit", "m", "--policy", "p.toml", cwd=tmp_path)
    assert done.code == 2
    assert "nested too deep" in done.err
