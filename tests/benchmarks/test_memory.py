"""The synthetic Llama-3-8B weighs what the real one does."""

from __future__ import annotations

from pathlib import Path

from benchmarks import memory
from tests.documents import document
from tests.running import Run

PARAMETERS = 8_030_261_248  # as published
ROPE = 64 * 4  # inv_freq, and the copy of it: float32


def test_it_is_the_published_one(tmp_path: Path, run: Run) -> None:
    memory.write(str(tmp_path))
    done = run("memory", str(tmp_path), "--json")
    assert done.code == 0, done.err
    made = document(done.out)
    assert made["parameters"]["total"] == PARAMETERS
    assert made["load_basis"] == "exact"
    assert made["load_bytes"] == 2 * PARAMETERS + 2 * ROPE
    assert made["kv_cache"]["bytes_per_token"] == 128 * 1024


def test_every_shard_has_some(tmp_path: Path) -> None:
    memory.write(str(tmp_path))
    assert len(list(tmp_path.glob("*.safetensors"))) == memory.SHARDS
    assert len(list(memory.tensors())) == 291
