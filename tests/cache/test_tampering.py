"""Content changed through links by the writers that people use: each one is found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors

from tests.builders.hfcache import MAIN, Cache
from tests.cache.conftest import FILES, WEIGHTS, Ask, settle


def _open_for_bytes(snapshot: Path) -> None:
    with (snapshot / "model.safetensors").open("wb") as stream:
        stream.write(WEIGHTS[:-1] + b"\x01")


def _append(snapshot: Path) -> None:
    with (snapshot / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")


def _json_dump(snapshot: Path) -> None:
    with (snapshot / "config.json").open("w", encoding="utf-8") as stream:
        json.dump({"model_type": "bert", "hidden_size": 9}, stream)


def _in_place(snapshot: Path) -> None:
    """One byte in the middle, dates set back: only the hash tells."""
    path = snapshot / "model.safetensors"
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x01")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("write", "path", "words"),
    [
        (_open_for_bytes, "model.safetensors", "through a link made"),
        (_append, "model.safetensors", "through a link made"),
        (_json_dump, "config.json", "as save_pretrained"),
        (_in_place, "model.safetensors", "before its link was made"),
    ],
)
def test_a_write_through_a_link(
    snapshot: Path, ask: Ask, write: Callable[[Path], None], path: str, words: str
) -> None:
    assert ask("verify", "org/x").code == 0
    write(snapshot)
    told = ask("verify", "org/x")
    assert (told.code, told.statuses()) == (1, {**dict.fromkeys(FILES, "ok"), path: "modified"})
    assert words in told.note(path)
    assert "may be your only copy: cp -rL" in told.document["remedies"][0]


def test_torch_save(cache: Cache, ask: Ask) -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the extra `test`")
    snapshot = cache.add("org/x", MAIN, {"pytorch_model.bin": b"x" * 100}, ("main",))
    settle(cache.hub)
    torch.save({"w": torch.zeros(3)}, snapshot / "pytorch_model.bin")
    told = ask("verify", "org/x")
    assert told.statuses() == {"pytorch_model.bin": "modified"}
    assert "as torch.save does" in told.note("pytorch_model.bin")


def test_safetensors_save_file(snapshot: Path, ask: Ask) -> None:
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    save_file({"a": numpy.zeros(3, dtype="float32")}, snapshot / "model.safetensors")
    told = ask("verify", "org/x")
    newer = tuple(map(int, safetensors.__version__.split(".")[:2])) >= (0, 8)
    assert told.statuses()["model.safetensors"] == ("replaced" if newer else "modified")
    assert "safetensors" in told.note("model.safetensors")
    assert told.code == 1


def test_transformers_save_pretrained(cache: Cache, ask: Ask) -> None:
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not in the extra `test`"
    )
    pytest.importorskip("torch", reason="torch is not in the extra `test`")
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        vocab_size=10, max_position_embeddings=8,
    )  # fmt: skip
    files = {**FILES, "config.json": json.dumps({"model_type": "bert"}).encode()}
    snapshot = cache.add("org/x", MAIN, files, ("main",))
    settle(cache.hub)
    transformers.BertModel(config).save_pretrained(snapshot)
    told = ask("verify", "org/x")
    assert told.code == 1
    statuses = told.statuses()
    assert statuses["config.json"] == "modified"
    assert statuses["model.safetensors"] in ("replaced", "modified")
    assert statuses["sub/tokenizer.json"] == "ok"
    assert ask("doctor").code == 1


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "pytorch_model.bin", "a.txt"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_file_cut_short(cache: Cache, ask: Ask, name: str, left: int) -> None:
    data = {"config.json": FILES["config.json"], "a.txt": b"words " * 9}
    content = data.get(name, WEIGHTS)
    snapshot = cache.add("org/x", MAIN, {name: content}, ("main",))
    settle(cache.hub)
    os.truncate(snapshot / name, left)
    told = ask("verify", "org/x")
    # What no reader knows is told by its size alone, and nothing here says what that was.
    unknown = left and name in ("a.txt", "pytorch_model.bin")
    assert told.statuses() == {name: "modified" if unknown else "truncated"}
    assert told.code == 1


def test_the_size_that_a_download_noted(cache: Cache, ask: Ask) -> None:
    snapshot = cache.add("org/x", MAIN, {"a.txt": b"words " * 9}, ("main",))
    blob = (snapshot / "a.txt").readlink().name
    trees = cache.repo("org/x") / "trees"
    trees.mkdir()
    entry = {"size": 54, "blob_id": "0" * 40, "lfs_sha256": blob, "lfs_size": 54}
    (trees / f"{MAIN}.json").write_text(
        json.dumps({"format_version": 1, "files": {"a.txt": entry}})
    )
    os.truncate(snapshot / "a.txt", 20)
    told = ask("verify", "org/x")
    assert told.statuses() == {"a.txt": "truncated"}
    assert "20 bytes of 54" in told.note("a.txt")


def test_a_link_that_was_pointed_elsewhere(snapshot: Path, ask: Ask, cache: Cache) -> None:
    known = {path: {"size": 1, "blob_id": "1" * 40} for path in ("config.json",)}
    trees = cache.repo("org/x") / "trees"
    trees.mkdir()
    (trees / f"{MAIN}.json").write_text(json.dumps({"format_version": 1, "files": known}))
    told = ask("verify", "org/x")
    assert told.statuses()["config.json"] == "replaced"
    assert "another blob than 111111111111" in told.note("config.json")


def test_doctor_suspects_what_was_written_later(snapshot: Path, ask: Ask) -> None:
    told = ask("doctor")
    assert (told.code, told.document["hashed"], told.document["files"]) == (0, 0, 3)
    _open_for_bytes(snapshot)
    told = ask("doctor")
    assert (told.code, told.problems(), told.document["hashed"]) == (1, ["modified"], 1)
    assert told.document["read_bytes"] == len(WEIGHTS)


def test_doctor_full_finds_what_set_its_date_back(snapshot: Path, ask: Ask) -> None:
    _in_place(snapshot)
    assert ask("doctor").problems() == []
    assert ask("doctor", "--full").problems() == ["modified"]


def test_what_was_hashed_is_remembered_until_it_changes(
    snapshot: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.sources.hfcache import hash_memory

    monkeypatch.setattr(hash_memory, "_RACY_NS", 0)
    total = sum(map(len, FILES.values()))
    assert ask("verify", "org/x").document["read_bytes"] == total
    again = ask("verify", "org/x").document
    assert (again["read_bytes"], again["remembered_bytes"]) == (0, total)
    assert ask("verify", "org/x", "--rehash").document["read_bytes"] == total
    _in_place(snapshot)
    told = ask("verify", "org/x")
    assert told.document["read_bytes"] == len(WEIGHTS)
    assert told.code == 1
    assert ask("verify", "org/x").code == 1


def test_a_file_just_written_is_not_remembered(snapshot: Path, ask: Ask) -> None:
    total = sum(map(len, FILES.values()))
    for _ in range(2):
        assert ask("verify", "org/x").document["read_bytes"] == total
