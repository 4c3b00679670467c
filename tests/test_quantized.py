"""What is read beyond headers: small values within bounds, and declarations of any shape."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelscope_cli import quantized
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable
from modelscope_cli.load import open_model
from modelscope_cli.sources.local import LocalSource
from tests.builders import folders

_STATE = ".weight.quant_state.bitsandbytes__nf4"


def _values(folder: Path, sizes: list[int]) -> list[str]:
    """Which quant_state tensors of these sizes are read out of one file."""
    table = TensorTable()
    offset = 0
    for number, size in enumerate(sizes):
        table.append(f"l.{number}{_STATE}", "U8", (size,), size, size, "m", offset)
        offset += size
    with (folder / "m").open("wb") as file:
        file.truncate(offset)
    read = quantized.values(LocalSource(str(folder), ModelRef("x", "directory")), table)
    assert all(len(value) == sizes[table.names.index(name)] for (_, name), value in read.items())
    return [name.split(".")[1] for _, name in read]


@pytest.mark.parametrize("huge", [65_537, 65_000_000])
def test_one_oversized_value_blinds_nobody_else(tmp_path: Path, huge: int) -> None:
    assert _values(tmp_path, [80, huge, 80]) == ["0", "2"]


def test_over_the_budget_what_came_first_is_kept(tmp_path: Path) -> None:
    assert len(_values(tmp_path, [65_536] * 1_000)) == 64_000_000 // 65_536


@pytest.mark.parametrize("name", quantized.QUANTIZATION_FILES)
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("{not json"),
        lambda path: path.write_text(""),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("[1, 2]"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
    ],
    ids=["text", "empty", "not-utf8", "deep", "list", "folder", "fifo", "dangling", "loop"],
)
def test_a_malformed_declaration_is_a_warning(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    folder = folders.write(tmp_path / "m", {"model.safetensors": folders.weights("st")})
    make(Path(folder) / name)
    facts: ModelFacts = open_model(str(folder))
    assert isinstance(facts.tensors, TensorTable)
    assert facts.tensors.names == ["st"]
    warnings = [note.text for note in facts.notes if note.warning]
    assert len(warnings) == 1
    assert name in warnings[0]
    assert "tensor names decide" in warnings[0]
