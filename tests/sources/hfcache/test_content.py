"""Documents that were changed after their download are told from those that were not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelscope_cli.facts import ModelRef
from modelscope_cli.sources.hfcache.content import changed_documents
from modelscope_cli.sources.local import LocalSource
from tests.builders.hfcache import MAIN, Cache, blob_name
from tests.cache.conftest import note_tree

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
    (snapshot / "config.json").resolve().unlink()  # dangling
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_bytes(b"a cache without links")
    (snapshot / "params.json").symlink_to("nowhere-near-a-hash")
    assert changed(snapshot) == []


@pytest.mark.parametrize("name", ["config.json", INDEX])
@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_a_file_of_its_own_in_the_place_of_a_link(
    cache: Cache, name: str, noted: bool, alone: bool
) -> None:
    """As `sed -i` and safetensors 0.8 leave it."""
    files = {name: b"{}"} if alone else {name: b"{}", "tokenizer.json": b"[]"}
    snapshot = cache.add("org/x", MAIN, files)
    if noted:
        note_tree(snapshot, files)
    (snapshot / name).unlink()
    (snapshot / name).write_bytes(b"{}")  # a copy: the bytes are right
    assert changed(snapshot) == []
    (snapshot / name).write_bytes(b"{ }")
    assert changed(snapshot) == [name]


def test_a_cache_without_links_by_what_was_noted(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {"config.json": b"{}"})
    note_tree(snapshot, {"config.json": b"{}"})
    (snapshot / "config.json").resolve().unlink()
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_bytes(b"{}")
    assert changed(snapshot) == []
    (snapshot / "config.json").write_bytes(b"{ }")
    assert changed(snapshot) == ["config.json"]


def test_a_link_that_was_pointed_at_another_blob(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {"config.json": b"{}", "other.json": b"[]"})
    note_tree(snapshot, {"config.json": b"{}", "other.json": b"[]"})
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to((snapshot / "other.json").readlink())
    assert changed(snapshot) == ["config.json"]


def test_a_component_of_a_pipeline(cache: Cache) -> None:
    files = {"unet/config.json": b"{}", "model_index.json": b"{}"}
    snapshot = cache.add("org/x", MAIN, files)
    note_tree(snapshot, files)
    assert changed(snapshot / "unet") == []
    (snapshot / "unet" / "config.json").unlink()
    (snapshot / "unet" / "config.json").write_bytes(b"{ }")
    assert changed(snapshot / "unet") == ["config.json"]


def test_weights_are_not_hashed(cache: Cache) -> None:
    snapshot = cache.add("org/x", MAIN, {"model.safetensors": b"x", "tokenizer.json": b"{}"})
    (snapshot / "model.safetensors").write_bytes(b"y")
    (snapshot / "tokenizer.json").write_bytes(b"y")
    assert changed(snapshot) == []
