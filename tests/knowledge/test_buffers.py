"""Buffers that no file has and lists of layers, against classes built by transformers."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import buffers, configs
from modelscope_cli.knowledge.buffers import BufferFact
from tests.bounded import within

MODEL_TYPES = [
    "llama", "mixtral", "qwen2", "qwen3", "gemma2", "gemma3", "bert", "roberta", "gpt2", "t5",
    "bart", "clip", "whisper", "vit", "deepseek_v3", "phi3", "falcon", "gpt_oss", "qwen2_vl",
    "llava", "bloom", "opt", "gpt_neox", "swin", "mamba2", "distilbert", "modernbert",
    "gpt_neo", "qwen2_moe", "olmoe", "smollm3", "lfm2", "stablelm", "persimmon", "owlvit",
]  # fmt: skip


def facts(config: dict[str, Any], architecture: str | None) -> dict[str, BufferFact]:
    found = buffers.non_persistent(config["model_type"], architecture, configs.effective(config))
    assert found is not None
    return {fact.name: fact for fact in found}


def test_rope_follows_the_width_of_a_head() -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
    fact = facts(config, "LlamaForCausalLM")["model.rotary_emb.inv_freq"]
    assert (fact.dtype, fact.shape, fact.times) == ("F32", (8,), 1)
    assert "rotary_emb.inv_freq" in facts(config, "LlamaModel")


def test_buffers_of_layers_are_as_many_as_layers() -> None:
    config = {"model_type": "gpt_neo", "num_layers": 12, "attention_types": [[["global"], 12]]}
    fact = facts(config, "GPTNeoForCausalLM")["transformer.h.*.attn.attention.bias"]
    assert (fact.shape, fact.times) == ((1, 1, 2048, 2048), 12)


def test_the_primary_class_where_none_is_named() -> None:
    assert "bert.embeddings.position_ids" in facts({"model_type": "bert"}, None)


def test_positions_and_patches() -> None:
    vision = {"image_size": 32, "patch_size": 8}
    config = {
        "model_type": "clip",
        "text_config": {"max_position_embeddings": 10},
        "vision_config": vision,
    }
    found = facts(config, "CLIPModel")
    assert found["text_model.embeddings.position_ids"].shape == (1, 10)
    assert found["vision_model.embeddings.position_ids"].shape == (1, 17)


def test_models_within_a_model_are_told_by_their_own_configurations() -> None:
    config = {
        "model_type": "llava",
        "text_config": {"model_type": "mistral", "head_dim": 32},
        "vision_config": {"model_type": "siglip_vision_model"},
    }
    found = facts(config, "LlavaForConditionalGeneration")
    assert found["model.language_model.rotary_emb.inv_freq"].shape == (16,)


def test_a_class_that_is_not_known() -> None:
    effective = configs.effective({"model_type": "llama"})
    assert buffers.non_persistent("llama", "NobodysModel", effective) is None
    assert buffers.non_persistent("brand_new", None, {}) is None
    assert buffers.non_persistent(None, None, {}) is None
    assert buffers.index_counts("brand_new", None, {}) == {}


def test_layers_that_a_class_builds() -> None:
    effective = configs.effective({"model_type": "deepseek_v3", "num_hidden_layers": 5})
    counts = buffers.index_counts("deepseek_v3", "DeepseekV3ForCausalLM", effective)
    assert counts["model.layers"] == 5


@pytest.mark.parametrize("value", [10**9, 10**40, -1, "64", None, True, [], {}, 1e308])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_hostile_values_give_unknown_or_bounded_numbers(model_type: str, value: Any) -> None:
    keys = list(configs.effective({"model_type": model_type}))
    said = {key: value for key in keys if "config" not in key} | {"model_type": model_type}
    effective = configs.effective(said)

    def work() -> None:
        for fact in buffers.non_persistent(model_type, None, effective) or []:
            assert isinstance(fact.times, Unknown) or 0 <= fact.times <= 100_000
            shape = fact.shape
            assert isinstance(shape, Unknown) or all(0 <= size <= 2**40 for size in shape)
        counts = buffers.index_counts(model_type, None, effective)
        assert all(0 <= count <= 100_000 for count in counts.values())

    within(1, work)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_as_transformers_builds_it(model_type: str) -> None:
    pytest.importorskip("torch", reason="builds the classes on meta")
    pytest.importorskip("transformers", reason="its classes are the truth here")
    from tools import knowledge_check, knowledge_tables

    known = knowledge_tables.read("buffers")[model_type]["classes"]
    misses = knowledge_check.build_misses(model_type, list(known)[:2], 4)
    assert [str(miss) for miss in misses] == []


@pytest.mark.parametrize(
    "model_type",
    [
        "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2",
        "wav2vec2-conformer", "wavlm",
    ],
)  # fmt: skip
def test_convolutions_are_as_many_as_the_configuration_lists(model_type: str) -> None:
    transformers = pytest.importorskip("transformers")
    said = {"conv_dim": [8, 8], "conv_stride": [2, 2], "conv_kernel": [3, 3]}
    config = transformers.CONFIG_MAPPING[model_type](**said, num_hidden_layers=1)
    with pytest.importorskip("torch").device("meta"):
        model = transformers.AutoModel.from_config(config)
    built = len(model.feature_extractor.conv_layers)
    effective = configs.effective({"model_type": model_type, **said})
    counts = buffers.index_counts(model_type, type(model).__name__, effective)
    assert counts["feature_extractor.conv_layers"] == built == len(said["conv_dim"])
