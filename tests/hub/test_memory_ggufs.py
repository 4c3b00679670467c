"""`memory` and `info` of a repo of several GGUF files: a row a file, from its header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import choosing, hub_model
from modelscope_cli.formats.weight_sets import WeightSet
from modelscope_cli.sources.hub.file import Pieces
from tests.builders import folders, gguf
from tests.builders.gguf import Tensor
from tests.documents import document
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.running import Run

KINDS = {"Q4_0": (2, 18), "Q8_0": (8, 34)}  # ggml's number, bytes of 32 weights
WIDTH, VOCABULARY = 64, 300
KEYS = {
    "general.architecture": gguf.text("llama"),
    "llama.block_count": gguf.u32(2),
    "llama.context_length": gguf.u32(512),
    "llama.embedding_length": gguf.u32(WIDTH),
    "llama.feed_forward_length": gguf.u32(128),
    "llama.attention.head_count": gguf.u32(2),
}


def _weights(kind: str) -> bytes:
    number, block = KINDS[kind]
    data = bytes(WIDTH // 32 * block * VOCABULARY)
    tokens = gguf.array(gguf.STRING, [f"token{each}" for each in range(VOCABULARY)])
    tensors = [Tensor("token_embd.weight", (WIDTH, VOCABULARY), number, data)]
    return gguf.build(tensors, {**KEYS, "tokenizer.ggml.tokens": tokens})


FILES: dict[str, object] = {
    **{f"m-{kind}.gguf": _weights(kind) for kind in KINDS},
    "mmproj.gguf": gguf.build([gguf.f32("v.a", 32)], {"general.architecture": gguf.text("clip")}),
}


@pytest.fixture(autouse=True)
def _repo(add: AddRepo) -> None:
    add("org/gguf", FILES)


def _rows(run: Run, *argv: str) -> list[dict[str, Any]]:
    done = run("memory", *argv, "--json")
    assert done.code == 0, done.err
    rows: list[dict[str, Any]] = document(done.out)["rows"]
    return rows


def test_a_row_a_file_as_of_the_same_folder(hub: HubServer, run: Run, tmp_path: Path) -> None:
    rows = _rows(run, "org/gguf")
    assert [row["file"] for row in rows] == ["m-Q4_0.gguf", "m-Q8_0.gguf", "mmproj.gguf"]
    assert [row["load_bytes"] for row in rows] == [18 * 600, 34 * 600, 128]
    assert len(hub.targets("store")) == len(FILES)
    assert rows == _rows(run, str(folders.write(tmp_path / "same", FILES)))


def test_the_table(run: Run) -> None:
    done = run("memory", "org/gguf")
    assert "m-Q8_0.gguf: as stored, Q8_0, llama.cpp" in done.out
    assert "512, all that is possible" in done.err


def test_what_was_opened_is_kept(hub: HubServer, run: Run) -> None:
    rows = _rows(run, "org/gguf")
    assert _rows(run, "org/gguf", "--offline") == rows
    assert len(hub.targets("store")) == len(FILES)


def test_one_that_is_chosen_has_all_its_rows(hub: HubServer, run: Run) -> None:
    rows = _rows(run, "org/gguf:Q8_0")
    assert [row["bits"] for row in rows] == ["stored", "32", "16", "8", "4"]
    assert len(hub.targets("store")) == 1


def test_folders_below_count_too(add: AddRepo, run: Run) -> None:
    add("org/below", {f"{kind}/m-{kind}.gguf": _weights(kind) for kind in KINDS})
    files = [row["file"] for row in _rows(run, "org/below")]
    assert files == ["Q4_0/m-Q4_0.gguf", "Q8_0/m-Q8_0.gguf"]


def test_a_limit_of_files(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_model, "MAX_CHOICES", 2)
    done = run("memory", "org/gguf")
    assert done.code == 0
    assert "also here, not opened: mmproj.gguf; --weights GLOB chooses" in done.err
    assert len(hub.targets("store")) == 2


@pytest.mark.parametrize(("most", "opened"), [(1, 1), (3, 1), (4, 2), (5, 3), (64, 3)])
def test_files_of_a_split_set_all_count(most: int, opened: int) -> None:
    place = choosing.Place("", None, {})
    chosen = [
        (place, WeightSet(f"{name}.gguf", "gguf", tuple(f"{name}{i}" for i in range(files))))
        for name, files in (("a", 3), ("b", 1), ("c", 1))
    ]
    found, notes = choosing.first_files(chosen, most)
    assert found == chosen[:opened]
    assert len(notes) == (opened < len(chosen))


def test_a_damaged_one_is_named(add: AddRepo, run: Run) -> None:
    add("org/bad", {**FILES, "z.gguf": b"GGUF" + bytes(3)})
    done = run("memory", "org/bad")
    assert (done.code, done.out) == (4, "")
    assert "z.gguf" in done.err


def test_what_no_reader_wanted_is_let_go() -> None:
    pieces = Pieces("m.gguf", 100, {0: b"a" * 50, 60: b"b" * 40})
    assert pieces.find(10, 20) == b"a" * 20
    pieces.trim()
    assert pieces.known == {0: b"a" * 30}


def test_info_lists_what_there_is(hub: HubServer, run: Run) -> None:
    done = run("info", "org/gguf")
    assert done.code == 0, done.err
    assert "file m-Q8_0.gguf" in done.out
    assert "3 GGUF files to choose from" in done.out
    assert "the Hub: org/gguf" in done.out
    assert document(run("info", "org/gguf", "--json").out)["load_bytes"] is None
    assert not hub.targets("store")
