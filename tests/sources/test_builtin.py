"""Built-in models: the counts that are known of them, and the real classes."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import NotFound
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable
from modelscope_cli.sources import builtin
from tests.bounded import within
from tools import make_builtins
from tools.make_builtins import FOLDER, SPECS

COUNTS = {
    # name: tensors, parameters, buffers' elements, bytes
    "huozi3": (995, 46_907_609_088, 0, 93_815_218_176),
    "llama3-8b": (291, 8_030_261_248, 0, 16_060_522_496),
    "bert-base-uncased": (199, 109_482_240, 0, 437_928_960),
    "clip-vit-large-patch14-336": (592, 427_944_193, 77 + 577, 1_711_776_772 + 8 * 654),
}


def table(name: str) -> TensorTable:
    tensors = builtin.load(name).tensors
    assert isinstance(tensors, TensorTable)
    return tensors


@pytest.mark.parametrize("name", builtin.NAMES)
def test_the_counts_that_are_known(name: str) -> None:
    rows = list(table(name))
    buffers = [row for row in rows if row.dtype == "I64"]

    assert COUNTS[name] == (
        len(rows),
        sum(row.elements for row in rows) - sum(row.elements for row in buffers),
        sum(row.elements for row in buffers),
        sum(row.bytes for row in rows),
    )
    for row in rows:
        assert row.elements == prod(row.shape)
        assert row.bytes == DTYPES[row.dtype].size(row.elements)
        assert (row.file, row.offset, row.component) == (None, None, None)
    assert len(set(table(name).names)) == len(rows)


def test_every_built_in_is_described_and_counted() -> None:
    assert set(builtin.NAMES) == set(SPECS) == set(COUNTS)
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.iterdir()} == set(builtin.NAMES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20_000
    assert all(builtin.basis(name) == SPECS[name].basis for name in builtin.NAMES)


def test_what_a_built_in_says_of_itself() -> None:
    facts = builtin.load("huozi3", target="builtin:huozi3", default=True)

    assert isinstance(facts, ModelFacts)
    assert facts.ref == ModelRef(
        "builtin:huozi3", "builtin", "huozi3", None, "safetensors", None, None, True
    )
    assert facts.config is not None
    assert facts.config["model_type"] == "mixtral"
    assert facts.config["vocab_size"] == 57002
    assert facts.files == ()
    assert builtin.load("llama3-8b").ref.target == "builtin:llama3-8b"
    assert "cls" not in "".join(table("bert-base-uncased").names)
    assert "pre-training heads" in builtin.load("bert-base-uncased").notes[0].text


def test_names_and_dtypes_are_those_of_the_published_checkpoints() -> None:
    huozi3 = {row.name: row for row in table("huozi3")}
    expert = huozi3["model.layers.17.block_sparse_moe.experts.7.w1.weight"]
    assert (expert.dtype, expert.shape) == ("BF16", (14336, 4096))
    assert huozi3["model.layers.31.block_sparse_moe.gate.weight"].shape == (8, 4096)
    assert huozi3["lm_head.weight"].shape == (57002, 4096)

    clip = {row.name: row for row in table("clip-vit-large-patch14-336")}
    for tower, positions in (("text", 77), ("vision", 577)):
        ids = clip[f"{tower}_model.embeddings.position_ids"]
        assert (ids.dtype, ids.shape) == ("I64", (1, positions))
    assert clip["logit_scale"].shape == ()
    assert clip["text_projection.weight"].dtype == "F32"


@pytest.mark.parametrize("name", ["", "huozi", "llama", "../data/builtin/huozi3", "huozi3\0", "."])
def test_no_such_built_in(name: str) -> None:
    with pytest.raises(NotFound, match="no such built-in") as caught:
        builtin.load(name)
    assert caught.value.hint is not None
    if name == "huozi":
        assert caught.value.hint == "did you mean huozi3?"


@pytest.mark.parametrize(("name", "limit"), [("huozi3", 0.030), ("bert-base-uncased", 0.015)])
def test_loading_takes_milliseconds(name: str, limit: float) -> None:
    # Measured: 1.6 ms and 0.2 ms; the limits leave room for a busy machine.
    within(limit, lambda: builtin.load(name))


@pytest.fixture
def transformers() -> Any:
    pytest.importorskip("torch", reason="the real classes need the `live` extra")
    return pytest.importorskip("transformers", reason="the real classes need the `live` extra")


@pytest.mark.parametrize("name", builtin.NAMES)
def test_the_files_are_what_the_real_class_gives(name: str, transformers: Any) -> None:
    spec = SPECS[name]
    rows = make_builtins.tensor_rows(spec, make_builtins.model_on_meta(spec))

    assert [(row.name, row.dtype, list(row.shape)) for row in table(name)] == rows
    assert builtin.load(name).config == spec.config


@pytest.mark.parametrize("name", builtin.NAMES)
def test_a_small_sibling_is_saved_with_those_names(
    name: str, transformers: Any, tmp_path: Path
) -> None:
    """save_pretrained itself, on the same class made small, is the truth for our list of names."""
    safetensors = pytest.importorskip("safetensors", reason="in the `test` extra")
    spec = SPECS[name]._replace(config=_small(SPECS[name].config))
    model = make_builtins.model_on_meta(spec).to_empty(device="cpu")
    model.save_pretrained(tmp_path)

    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        saved = {
            key: (file.get_slice(key).get_dtype(), file.get_slice(key).get_shape())
            for key in file.keys()  # noqa: SIM118 (safe_open is no mapping)
        }
    ours = make_builtins.tensor_rows(spec, model)
    assert {
        row_name: (dtype, shape)
        for row_name, dtype, shape in ours
        if row_name.rpartition(".")[2] not in spec.old_buffers
    } == saved


def _small(config: Any) -> Any:
    """The same model with two layers, narrow, and few words."""
    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 120,
        "num_local_experts": 3,
        "projection_dim": 16,
        "image_size": 28,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {
        key: _small(value) if isinstance(value, dict) else small.get(key, value)
        for key, value in config.items()
    }
