"""The short cut of one answer for all shards: taken where it is exact, never waited for in vain."""

from __future__ import annotations

import json
import os
from time import time
from typing import Any

import pytest

from modelscope_cli.load import open_model
from tests.builders import folders
from tests.builders import safetensors as builder
from tests.hub.conftest import FILES, AddRepo
from tests.hub.test_reading import columns, names
from tests.hub_server import HubServer

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def _written(name: str, **dumping: Any) -> bytes:
    """A shard of one tensor, its header as `json.dumps` writes it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    header[name] = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    text = json.dumps(header, **dumping).encode()
    return builder.framed(text.ljust(len(text) + -len(text) % 8), bytes(8))


def _sharded(a: str, b: str, **dumping: Any) -> dict[str, object]:
    return {
        "config.json": folders.BERT,
        INDEX: {"metadata": {"total_size": 16}, "weight_map": {a: SHARDS[0], b: SHARDS[1]}},
        SHARDS[0]: _written(a, **dumping),
        SHARDS[1]: _written(b, **dumping),
    }


@pytest.mark.parametrize("spaced", [False, True], ids=["compact", "indented"])
@pytest.mark.parametrize(
    "dumping",
    [
        {"separators": (",", ":"), "ensure_ascii": False},
        {"separators": (",", ":")},
        {"ensure_ascii": False},
        {},
    ],
    ids=["library", "escaped", "json", "json-escaped"],
)
def test_any_spelling_of_headers_and_answer(
    hub: HubServer, add: AddRepo, dumping: dict[str, Any], spaced: bool
) -> None:
    add("org/y", _sharded("ä" * 9, "b", **dumping))
    alone = columns(open_model("org/y"))
    repo = add("org/x", _sharded("ä" * 9, "b", **dumping))
    repo.serve_all_headers(spaced=spaced)
    hub.log.clear()
    assert columns(open_model("org/x")) == alone  # offsets in the file, too
    # What a compact answer has unescaped is not taken for escaped: that shard is asked.
    odd = dumping == {"separators": (",", ":")} and not spaced
    assert len(hub.targets("store")) == int(odd)


def test_headers_of_no_known_spelling_are_asked_for(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", _sharded("a", "b", indent=3))
    repo.serve_all_headers(spaced=True)
    facts = columns(open_model("org/x"))
    assert len(hub.targets("store")) == 2
    header = len(_written("a", indent=3)) - 8
    assert facts["offsets"] == [header, header]


@pytest.mark.parametrize(
    "headers",
    [None, [], 1, {"a": 1}, {SHARDS[0]: None}, {SHARDS[0]: {}}, {SHARDS[0]: {"a": []}}]
    + [{SHARDS[0]: {"a": {"data_offsets": offsets}}} for offsets in ([], [0], "xy", [0, "8"], 5)]
    + [{SHARDS[0]: {"\ud800": {"data_offsets": [0, 8]}}}],
    ids=repr,
)
def test_answers_of_no_use(hub: HubServer, add: AddRepo, headers: Any) -> None:
    repo = add("org/x", dict(folders.sharded()))
    repo.all_headers[INDEX] = json.dumps({"index": {}, "headers": headers}, indent=1).encode()
    assert names(open_model("org/x")) == ["a", "b"]
    assert len(hub.targets("store")) == 2


def test_the_short_cut_is_not_trusted_blindly(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", dict(folders.sharded()))
    repo.serve_all_headers()
    right = repo.all_headers["model.safetensors.index.json"]
    for wrong in (
        right.replace(
            b'"shape":[2]', b'"shape":[2,1,1,1,1,1]'
        ),  # other lengths than the files leave room
        right.replace(b"[0,8]", b"[0,9]"),
        right[: len(right) // 2],
        b"",
        b"[]",
        b"\xff" * 100,
    ):
        os.environ["XDG_CACHE_HOME"] += "x"
        repo.all_headers["model.safetensors.index.json"] = wrong
        hub.log.clear()
        assert names(open_model("org/x")) == ["a", "b"]
        assert hub.targets("store")


@pytest.mark.parametrize("kind", ["hang", 503, 500, "cut", "drop", "page"])
def test_the_short_cut_is_only_one(
    hub: HubServer, add: AddRepo, kind: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.sources.hub import source

    monkeypatch.setattr(source, "SHORT_CUT_SECONDS", 0.2)
    repo = add("org/x", dict(folders.sharded()))
    repo.serve_all_headers()
    hub.fault("safetensors-metadata", kind, times=99)
    started = time()
    assert names(open_model("org/x")) == ["a", "b"]
    assert time() - started < 2


def test_one_file_does_not_wait_for_it(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    add("org/y", {"weights.safetensors": folders.weights("a", "b")})  # no name that is guessed
    hub.fault("safetensors-metadata", "hang", times=99)
    for model in ("org/x", "org/y"):
        started = time()
        assert names(open_model(model)) == ["a", "b"]
        assert time() - started < 2
