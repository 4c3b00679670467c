"""Family C: on snapshots of an HF cache, and skipped elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audit.conftest import CARD, Audit, good
from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache

_RULES = ("C001", "C002", "C003", "C004", "C005")


def _snapshot(tmp_path: Path) -> Path:
    files = {
        "config.json": folders.encoded(folders.BERT),
        "model.safetensors": folders.weights("a.weight"),
        "tokenizer.json": b"{}",
        "README.md": CARD.encode(),
    }
    return Cache(tmp_path / "hub").add("org/model", MAIN, files, ("main",))


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return _snapshot(tmp_path)


def test_what_was_downloaded_passes(audit: Audit, snapshot: Path) -> None:
    said = audit(None, "--select", "C", "--cache-dir", "hub", "--offline", model="org/model")
    assert said.code == 0, said.document
    assert {said.status(rule) for rule in _RULES} == {"passed"}
    assert said.document["model"]["revision"] == MAIN


def test_a_path_in_a_cache_is_judged_by_its_blobs_too(audit: Audit, snapshot: Path) -> None:
    (snapshot / "config.json").write_text('{"hidden_size": 9}')
    said = audit(None, "--select", "C", model=str(snapshot))
    assert said.one("C001")["file"] == "config.json"
    assert said.code == 1


def test_elsewhere_the_family_is_skipped(audit: Audit) -> None:
    said = audit(good(), "--select", "C")
    assert said.code == 0
    for rule in _RULES:
        assert "in no HF cache" in said.reason(rule)


def _dangling(snapshot: Path) -> None:
    os.unlink((snapshot / "tokenizer.json").resolve())


def _replaced(snapshot: Path) -> None:
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text('{"hidden_size": 9}')


def _unfinished(snapshot: Path) -> None:
    (snapshot.parent.parent / "blobs" / f"{'a' * 64}.0123abcd.incomplete").write_bytes(b"x")


def _outside(snapshot: Path) -> None:
    (snapshot / "extra.json").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("harm", "rule", "code"),
    [
        (_dangling, "C002", 1),
        (_replaced, "C003", 1),
        (_unfinished, "C004", 0),
        (_outside, "C005", 0),
    ],
)
def test_each_damage_is_found(
    audit: Audit, snapshot: Path, harm: Callable[[Path], None], rule: str, code: int
) -> None:
    harm(snapshot)
    said = audit(None, "--select", "C", "--cache-dir", "hub", "--offline", model="org/model")
    assert said.code == code
    assert said.status(rule) == "failed"


def test_orphans_that_nobody_can_tell_are_said(
    audit: Audit, snapshot: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (snapshot.parent / ("e" * 40)).symlink_to(tmp_path / "elsewhere")
    said = audit(None, "--select", "C", "--cache-dir", "hub", "--offline", model="org/model")
    assert "whether blobs are orphaned is not known" in said.one("C005")["message"]


def test_weights_that_dangle_are_the_models_fault_and_no_absent_model(
    audit: Audit, snapshot: Path
) -> None:
    os.unlink((snapshot / "model.safetensors").resolve())
    said = audit(None, "--cache-dir", "hub", "--offline", model="org/model")
    assert said.code == 1
    assert said.findings("C002")
    assert said.findings("F001")


def test_a_branch_is_not_pinned_and_a_commit_is(audit: Audit, snapshot: Path) -> None:
    asked = ("--select", "P004", "--cache-dir", "hub", "--offline")
    assert MAIN in audit(None, *asked, model="org/model").one("P004")["message"]
    assert audit(None, *asked, model=f"org/model@{MAIN}").status("P004") == "passed"
    assert audit(None, *asked, model=str(snapshot)).status("P004") == "passed"
    assert audit(good(), *asked).status("P004") == "skipped"
