"""What a config.json leaves out, against transformers' own classes where they are installed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from modelscope_cli.knowledge import configs
from tests.bounded import within

MODEL_TYPES = [
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2",
    "gemma3", "gemma3_text", "bert", "gpt2", "t5", "bart", "clip",
    "whisper", "vit", "deepseek_v3", "phi3", "falcon", "gpt_oss", "llama4",
    "qwen2_vl", "llava", "bloom", "opt", "gpt_neox", "mamba2", "jamba",
    "swin", "cohere2", "olmo2", "distilbert",
]  # fmt: skip


def test_defaults_and_what_follows_from_what_the_file_says() -> None:
    found = configs.effective(
        {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 16, "head_dim": None}
    )
    assert found["head_dim"] == 256
    assert found["num_key_value_heads"] == 16
    assert found["vocab_size"] == 32000
    assert found["tie_word_embeddings"] is False


def test_what_the_file_says_is_not_replaced() -> None:
    said = {"model_type": "llama", "head_dim": 5, "num_key_value_heads": 3, "mine": [1]}
    found = configs.effective(said)
    assert {key: found[key] for key in said} == said


def test_keys_are_read_under_both_names() -> None:
    old = configs.effective({"model_type": "gpt2", "n_head": 6, "n_embd": 96})
    assert (old["num_attention_heads"], old["hidden_size"]) == (6, 96)
    new = configs.effective({"model_type": "gpt2", "num_attention_heads": 6})
    assert new["n_head"] == 6


def test_nested_configurations_are_filled_in_by_their_types() -> None:
    found = configs.effective(
        {
            "model_type": "llava",
            "text_config": {"model_type": "mistral", "hidden_size": 64, "num_attention_heads": 4},
            "vision_config": {"model_type": "siglip_vision_model"},
        }
    )
    assert found["text_config"]["num_key_value_heads"] == 8  # mistral's own default
    assert found["vision_config"]["num_hidden_layers"] == 12
    assert configs.effective({"model_type": "llava"})["text_config"]["model_type"] == "llama"


def test_keys_that_old_files_have_one_level_up() -> None:
    found = configs.text({"model_type": "qwen2_vl", "hidden_size": 128, "num_hidden_layers": 3})
    assert (found["hidden_size"], found["num_hidden_layers"]) == (128, 3)


def test_old_rope_keys_become_rope_parameters() -> None:
    found = configs.effective(
        {
            "model_type": "llama",
            "rope_theta": 5e5,
            "rope_scaling": {"type": "linear", "factor": 2.0},
        }
    )["rope_parameters"]
    assert (found["rope_theta"], found["rope_type"], found["factor"]) == (5e5, "linear", 2.0)
    gemma = configs.effective({"model_type": "gemma3_text", "rope_local_base_freq": 7.0})
    assert gemma["rope_parameters"]["sliding_attention"]["rope_theta"] == 7.0
    assert gemma["rope_parameters"]["full_attention"]["rope_theta"] == 1e6


def test_old_names_of_dtype_and_layer_types() -> None:
    assert configs.effective({"model_type": "bert", "torch_dtype": "float16"})["dtype"] == "float16"
    found = configs.effective({"model_type": "qwen3_next", "layer_types": ["mamba", "attention"]})
    assert found["layer_types"] == ["linear_attention", "full_attention"]


def test_the_text_decoder() -> None:
    assert configs.text({"model_type": "gemma3"})["model_type"] == "gemma3_text"
    bart = configs.text({"model_type": "bart", "decoder_layers": 3, "encoder_layers": 5})
    assert bart["num_hidden_layers"] == 3
    assert configs.text({"model_type": "llama"})["hidden_size"] == 4096


def test_an_unknown_type_comes_back_as_it_is() -> None:
    said = {"model_type": "brand_new", "hidden_size": 3, "text_config": {"model_type": "llama"}}
    found = configs.effective(said)
    assert found["hidden_size"] == 3
    assert found["text_config"]["num_hidden_layers"] == 32
    assert "vocab_size" not in found
    assert not configs.is_known_config("brand_new")


HOSTILE: list[Any] = [10**40, -1, 0, "64", None, True, [], {}, [None], {"a": {}}, 1e308, "\u202e"]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_hostile_values_never_raise(model_type: str) -> None:
    keys = list(configs.effective({"model_type": model_type}))

    def work() -> None:
        for number, value in enumerate(HOSTILE):
            said: dict[str, Any] = dict.fromkeys(keys, value)
            json.dumps(configs.effective({**said, "model_type": model_type}))
            configs.text({**said, "model_type": model_type})
            some = {key: HOSTILE[(number + place) % len(HOSTILE)] for place, key in enumerate(keys)}
            configs.effective({**some, "model_type": model_type})

    within(5, work)


def test_no_list_of_a_billion_layers() -> None:
    found = configs.effective({"model_type": "gemma3_text", "num_hidden_layers": 10**9})
    assert found.get("layer_types") is None


def test_nesting_has_an_end() -> None:
    said: dict[str, Any] = {"model_type": "llava"}
    for _ in range(300):
        said = {"model_type": "llava", "text_config": said}
    configs.effective(said)
    configs.text(said)
    assert configs.effective({"model_type": "x" * 10**6}) == {"model_type": "x" * 10**6}


def test_it_is_quick() -> None:
    def work() -> None:
        for _ in range(20):
            configs.effective({"model_type": "gemma3", "text_config": {"num_hidden_layers": 62}})

    configs.effective({"model_type": "gemma3"})
    within(20 * 0.003, work)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_as_transformers_has_it(model_type: str) -> None:
    pytest.importorskip("transformers", reason="its configuration classes are the truth here")
    from tools import knowledge_check

    random.seed(model_type)
    missed = knowledge_check.configuration_misses(model_type, 12)
    assert [str(miss) for miss in missed] == []


EMPTY = [
    ("llama4_text", "no_rope_layers"),
    ("blt", "encoder_hash_byte_group_size"),
    ("dinat", "dilations"),
    ("zoedepth", "bin_configurations"),
]


@pytest.mark.parametrize(("model_type", "key"), EMPTY)
def test_what_a_class_makes_of_an_empty_list(model_type: str, key: str) -> None:
    pytest.importorskip("transformers", reason="its configuration classes are the truth here")
    from tools import knowledge_configs as asking

    made = asking.ask(asking.class_for(model_type), {key: []})
    assert made is not None
    assert configs.effective({"model_type": model_type, key: []})[key] == made[key]


def test_a_saved_file_says_the_same_as_the_class(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="it writes the file")
    made = transformers.CONFIG_MAPPING["gemma3_text"](num_hidden_layers=13, head_dim=32)
    made.save_pretrained(tmp_path)
    said: Mapping[str, Any] = json.loads((tmp_path / "config.json").read_text())
    found = configs.effective(said)
    assert found["layer_types"] == made.layer_types
    assert found["rope_parameters"] == made.rope_parameters
