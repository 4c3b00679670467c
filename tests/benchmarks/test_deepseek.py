"""The synthetic DeepSeek-V3 is what it claims to be, and our readers list all of it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from benchmarks import deepseek
from modelscope_cli.facts import ModelRef, TensorTable
from modelscope_cli.formats import safetensors as reader
from modelscope_cli.formats import shard_index
from modelscope_cli.sources.local import LocalSource
from tests.running import Run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deepseek")
    deepseek.write(str(folder))
    return folder


def test_the_composition_is_the_published_one() -> None:
    rows = list(deepseek.tensors())
    assert len(rows) == len({row.name for row in rows}) == deepseek.TENSORS
    assert sum(row.bytes for row in rows) == deepseek.DATA_BYTES
    assert all(part for _, part in deepseek.shards())


def test_a_header_is_the_library_s_own() -> None:
    part = [deepseek.Tensor("b.10", "F32", (2, 3)), deepseek.Tensor("b.9", "F32", (1,))]
    arrays = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in part}
    theirs = safetensors.numpy.save(arrays, {"format": "pt"})
    text, data_bytes = deepseek.header(part)
    assert theirs == len(text).to_bytes(8, "little") + text + bytes(data_bytes)


def test_the_library_opens_a_shard(checkpoint: Path) -> None:
    shard = checkpoint / "model-00001-of-000158.safetensors"
    expected = dict(deepseek.shards())[shard.name]
    with safetensors.safe_open(shard, "numpy") as opened:
        for tensor in expected:
            part = opened.get_slice(tensor.name)
            assert (part.get_dtype(), tuple(part.get_shape())) == (tensor.dtype, tensor.shape)
        assert len(opened.keys()) == len(expected)


def test_the_checkpoint_takes_no_room(checkpoint: Path) -> None:
    on_disk = sum(path.stat().st_blocks * 512 for path in checkpoint.iterdir())
    assert on_disk < 64 * 2**20
    assert sum(path.stat().st_size for path in checkpoint.iterdir()) > deepseek.DATA_BYTES


def test_every_tensor_is_listed_and_indexed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(reader, "_strict")  # the quick path alone does it
    source = LocalSource(str(checkpoint), ModelRef("x", "directory"))
    tracemalloc.start()
    with source.open(deepseek.INDEX) as file:
        index = shard_index.parse(file)
    tables: dict[str, TensorTable] = {}
    for name in index.files:
        with source.open(name) as file:
            tables[name] = reader.read(file).tensors
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shard_index.check(index, tables) == ()
    assert sum(map(len, tables.values())) == deepseek.TENSORS
    assert sum(sum(table.bytes) for table in tables.values()) == deepseek.DATA_BYTES
    assert peak < 100_000_000


def test_the_bare_loop_reads_the_same(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deepseek.bare_loop(str(checkpoint)) == deepseek.TENSORS
    assert deepseek.main("bare", str(checkpoint)) == 0
    assert capsys.readouterr().out == "90,427 tensors\n"
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["model_type"] == "deepseek_v3"


def test_jobs_read_the_same_in_the_same_order(checkpoint: Path, run: Run) -> None:
    alone = run("params", str(checkpoint), "-f", "csv")
    assert alone.code == 0
    assert run("params", str(checkpoint), "-f", "csv", "-j", "4") == alone
