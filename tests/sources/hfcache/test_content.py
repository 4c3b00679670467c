"""Documents that were changed after their download are told from those that were not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelscope_cli.facts import ModelRef
from modelscope_cli.sources.hfcache.content import changed_documents
from modelscope_cli.sources.local import LocalSource
from tests.builders.hfcache import MAIN, Cache, blob_name

INDEX = "model.safetensors.index.json"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "hub")


def changed(snapshot: Path) -> list[str]:
    notes = changed_documents(LocalSource(str(snapshot), ModelRef("x", "cache")))
    assert all(note.warning for note in notes)
    return [note.text.partition(" ")[0] for note in notes]


def test_what_was_downloaded_is_not_told(cache: Cache) -> None:
    files = {"config.json": b"{}", INDEX: b"{}", "model.safetensors": b"x", "empty.json": b""}
    assert changed(cache.add("org/x", MAIN, files)) == []


@pytest.mark.parametrize("name", ["config.json", INDEX, "adapter_config.json", "model_index.json"])
@pytest.mark.parametrize("content", [b"{ }", b"", b"{}\n", b"x" * 100_000])
def test_a_change_through_the_link(cache: Cache, name: str, content: bytes) -> None:
    snapshot = cache.add("org/x", MAIN, {name: b"{}", "other.json": b"{}"})
    (snapshot / name).write_bytes(content)
    assert changed(snapshot) == [name]


def test_an_index_in_lfs(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {INDEX: b"{}"})
    blob = (snapshot / INDEX).resolve()
    large = blob.rename(blob.with_name(blob_name(b"{}", large=True)))
    (snapshot / INDEX).unlink()
    (snapshot / INDEX).symlink_to(os.path.relpath(large, snapshot))
    assert changed(snapshot) == []
    large.write_bytes(b"{ }")
    assert changed(snapshot) == [INDEX]


def test_a_blob_that_is_a_link_itself(cache: Cache) -> None:
    """The shared store: the last name on the way is no hash of the content."""
    snapshot = cache.add("org/x", MAIN, {"config.json": b"{}"})
    blob = (snapshot / "config.json").resolve()
    shared = cache.hub / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert changed(snapshot) == []
    shared.write_bytes(b"{ }")
    assert changed(snapshot) == ["config.json"]


def test_what_cannot_be_told_is_not_told(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {"config.json": b"{}", INDEX: b"{}"})
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_bytes(b"a cache without links")
    (snapshot / INDEX).resolve().unlink()  # dangling
    (snapshot / "params.json").symlink_to("nowhere-near-a-hash")
    assert changed(snapshot) == []


def test_weights_are_not_hashed(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {"model.safetensors": b"x", "tokenizer.json": b"{}"})
    (snapshot / "model.safetensors").write_bytes(b"y")
    (snapshot / "tokenizer.json").write_bytes(b"y")
    assert changed(snapshot) == []
