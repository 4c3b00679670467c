"""`mscope memory` and `info` on what has no plain answer: adapters, windows, options in vain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import folders
from tests.commands.test_memory import CONFIG, WEIGHTS
from tests.running import Run

ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8}


def _folder(tmp_path: Path, config: dict[str, Any], name: str = "config.json") -> str:
    weights = "adapter_model.safetensors" if name.startswith("adapter") else "model.safetensors"
    folders.write(tmp_path / "m", {name: config, weights: WEIGHTS})
    return str(tmp_path / "m")


def test_an_adapter_names_its_model(run: Run, tmp_path: Path) -> None:
    target = _folder(tmp_path, ADAPTER, "adapter_config.json")
    done = run("memory", target, "--json")
    made = json.loads(done.out)
    assert "a LoRA adapter of org/base: these are its own bytes" in done.err
    unknown = {row["bits"]: row["load_bytes"] is None for row in made["rows"]}
    assert unknown == {"stored": False, "32": False, "16": False, "8": True, "4": True}
    assert "org/base" in made["kv_cache"]["unknown"]["bytes"]
    card = json.loads(run("info", target, "--json").out)
    assert card["type"] == "LoRA adapter of org/base"
    assert "org/base" in card["unknown"]["layers"]
    assert "adapter of org/base" in run("memory", target, "--code").err


@pytest.mark.parametrize(
    ("layer_types", "says"),
    [
        (["full_attention", "full_attention"], "256 B a token: 4,096 -> 1.00 MiB"),
        (["sliding_attention", "full_attention"], "256 B a token up to 99, then 128 B: 4,096"),
        (["sliding_attention", "sliding_attention"], "256 B a token up to 99, then 0 B: 4,096"),
    ],
)
def test_the_price_of_a_token_multiplies_out(
    layer_types: list[str], says: str, run: Run, tmp_path: Path
) -> None:
    qwen = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 100}
    target = _folder(
        tmp_path, {**CONFIG, **qwen, "use_sliding_window": True, "layer_types": layer_types}
    )
    assert says in run("memory", target, "--bits", "16").out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--lora-rank", "8"), "--lora-rank is of training"),
        (("--train", "full", "--lora-targets", "q_proj"), "--lora-targets is of LoRA"),
        (("--optimizer", "adamw-8bit"), "--optimizer is of training"),
        (("--gradient-checkpointing",), "--gradient-checkpointing is of training"),
        (("--quant", "foo"), "there are: nf4, fp4"),
    ],
)
def test_options_in_vain(argv: tuple[str, ...], says: str, run: Run) -> None:
    done = run("memory", *argv)
    assert done.code == 2
    assert says in done.err


def test_a_decoder_looks_at_no_encoder(run: Run) -> None:
    done = run("memory", "--encoder-context", "9")
    assert done.code == 0
    assert "--encoder-context changes nothing" in done.err


@pytest.mark.parametrize("value", [0, -2, "2", 10**12])
def test_layers_that_are_no_number(value: Any, run: Run, tmp_path: Path) -> None:
    target = _folder(tmp_path, {**CONFIG, "num_hidden_layers": value})
    card = json.loads(run("info", target, "--json").out)
    assert card["unknown"]["layers"] == f"num_hidden_layers is {value!r}"


@pytest.mark.parametrize("value", [10**30, -1, "256", 1e6])
def test_a_limit_that_is_no_number(value: Any, run: Run, tmp_path: Path) -> None:
    target = _folder(tmp_path, {**CONFIG, "max_position_embeddings": value})
    card = json.loads(run("info", target, "--json").out)
    assert card["unknown"]["context_limit"].startswith("max_position_embeddings is ")


def test_a_tie_that_is_text_is_no_answer(run: Run, tmp_path: Path) -> None:
    target = _folder(tmp_path, {**CONFIG, "tie_word_embeddings": "true"})
    card = json.loads(run("info", target, "--json").out)
    assert "'true'" in card["parameters"]["unknown"]["loaded"]
    assert json.loads(run("memory", target, "--json").out)["basis"] == "estimate"


def test_a_contradiction_is_told_once_and_spoils_what_rests_on_it(run: Run, tmp_path: Path) -> None:
    target = _folder(tmp_path, {**CONFIG, "num_key_value_heads": 4})
    for command in ("memory", "info"):
        done = run(command, target, "-q")
        assert done.err.count("rows together") == 1
        assert done.err.startswith("mscope: warning: model.layers.{0,1}.self_attn.k_proj")
    made = json.loads(run("memory", target, "--json").out)
    assert made["kv_cache"]["bytes"] is None
    assert made["at_least_bytes"] == made["load_bytes"]
