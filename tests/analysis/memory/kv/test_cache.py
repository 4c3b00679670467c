"""The KV cache: published figures, kinds of layers, what engines differ in, and bad input."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from modelscope_cli.analysis.memory.kv.cache import KVCache, kv_cache
from modelscope_cli.facts import Unknown
from modelscope_cli.sources import builtin

GIB = 1 << 30
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
}
GEMMA_3_27B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "head_dim": 128,
        "hidden_size": 5376,
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    },
}
QWEN3_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "full_attention_interval": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
WHISPER = {
    "architectures": ["WhisperForConditionalGeneration"],
    "model_type": "whisper",
    "d_model": 1280,
    "decoder_layers": 4,
    "decoder_attention_heads": 20,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "is_encoder_decoder": True,
}
T5 = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_model": 512,
    "d_kv": 64,
    "num_heads": 8,
    "num_layers": 6,
    "num_decoder_layers": 4,
    "is_encoder_decoder": True,
}


def cache(config: dict[str, Any], context: int = 1000, **request: Any) -> KVCache:
    found = asked(config, context, **request)
    assert isinstance(found, KVCache), found
    return found


def asked(config: dict[str, Any], context: int = 1000, **request: Any) -> KVCache | Unknown:
    named = config.get("architectures") or [None]
    given_ = {"batch": 1, "dtype_bytes": 2, "architecture": named[0], **request}
    return kv_cache(config, context=context, **given_)


def kinds(found: KVCache) -> dict[str, tuple[int, int]]:
    return {row.kind: (row.count, row.bytes) for row in found.layers}


def test_llama_3_8b_takes_128_kib_a_token() -> None:
    found = cache(LLAMA_8B, 8192)
    assert (found.bytes, found.bytes_per_token, found.basis) == (GIB, 128 << 10, "exact")
    assert found.peak_bytes == found.paged_bytes == found.bytes
    assert kinds(found) == {"full": (32, GIB)}


def test_the_default_model() -> None:
    config = builtin.load("huozi3").config
    assert config is not None
    architecture = config["architectures"][0]
    assert cache(dict(config), 4096, architecture=architecture).bytes == GIB // 2


def test_multi_head_latent_attention_is_cached_compressed() -> None:
    found = cache(DEEPSEEK_V3, 163_840)
    assert found.bytes == 61 * 163_840 * (512 + 64) * 2
    assert round(found.bytes / GIB, 2) == 10.72
    assert kinds(found) == {"latent": (61, found.bytes)}
    assert found.basis == "exact"


def test_gemma_3_slides_in_five_layers_of_six() -> None:
    context, width = 32_768, 2 * 16 * 128 * 2
    found = cache(GEMMA_3_27B, context)
    assert kinds(found) == {
        "full": (10, 10 * width * context),
        "sliding": (52, 52 * width * 1023),
    }
    assert found.peak_bytes == 62 * width * context
    assert found.bytes_per_token == 10 * width
    assert found.paged_bytes == width * (10 * context + 52 * (1024 + 16))


@pytest.mark.parametrize("context", [1, 15, 16, 500, 1022, 1023])
def test_a_window_that_is_not_full_grows(context: int) -> None:
    found, more = cache(GEMMA_3_27B, context), cache(GEMMA_3_27B, context + 1)
    assert more.bytes - found.bytes == found.bytes_per_token
    assert found.bytes == found.peak_bytes


def test_linear_layers_keep_float32_states_whatever_the_cache_holds() -> None:
    channels, state = 2 * 16 * 128 + 32 * 128, 32 * 128 * 128
    for context in (10, 100_000):
        found = cache(QWEN3_NEXT, context)
        assert kinds(found)["linear"] == (36, 36 * (channels * 4 * 2 + state * 4))
        assert kinds(found)["full"] == (12, 12 * context * 2 * 2 * 256 * 2)
    packed = cache(QWEN3_NEXT, 100_000, dtype_bytes=1)
    assert kinds(packed)["linear"] == kinds(found)["linear"]
    assert kinds(packed)["full"][1] * 2 == kinds(found)["full"][1]
    single = cache(QWEN3_NEXT, 10, dtype_bytes=1, state_bytes=4)
    assert kinds(single)["linear"] == (36, 36 * (channels * 4 * 4 + state * 4))


def test_whisper_always_hears_thirty_seconds() -> None:
    found = cache(WHISPER, 100, encoder_context=7)
    assert kinds(found) == {
        "full": (4, 4 * 100 * 2 * 1280 * 2),
        "cross": (4, 4 * 1500 * 2 * 1280 * 2),
    }
    assert found.bytes_per_token == 4 * 2 * 1280 * 2
    assert found.basis == "exact"


def test_cross_attention_holds_the_encoders_tokens() -> None:
    found = cache(T5, 10, encoder_context=300)
    assert kinds(found) == {
        "full": (4, 4 * 10 * 2 * 512 * 2),
        "cross": (4, 4 * 300 * 2 * 512 * 2),
    }
    assumed = cache(T5, 10)
    assert kinds(assumed)["cross"] == (4, 4 * 10 * 2 * 512 * 2)
    assert assumed.basis == "estimate"
    assert "encoder input of 10 tokens assumed" in str(assumed.note)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
        {"model_type": "bert", "architectures": ["BertModel"]},
        {"model_type": "clip", "architectures": ["CLIPModel"]},
        {"model_type": "vit", "architectures": ["ViTForImageClassification"]},
        {"model_type": "t5", "architectures": ["T5EncoderModel"]},
        {"model_type": "whisper", "architectures": ["WhisperForAudioClassification"]},
        {"model_type": "xlm", "architectures": ["XLMWithLMHeadModel"]},
    ],
    ids=lambda config: config["architectures"][0],
)
def test_encoders_have_none(config: dict[str, Any]) -> None:
    found = cache(config)
    assert (found.bytes, found.layers, found.basis) == (0, (), "exact")
    assert found.note


def test_an_encoder_made_a_decoder_has_one() -> None:
    config = {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}
    assert cache(config, 10).bytes == 12 * 10 * 2 * 768 * 2


def test_batch_multiplies_all() -> None:
    for config in (LLAMA_8B, GEMMA_3_27B, QWEN3_NEXT):
        one, four = cache(config), cache(config, batch=4)
        assert four.bytes == 4 * one.bytes
        assert four.peak_bytes == 4 * one.peak_bytes
        assert four.paged_bytes == 4 * one.paged_bytes


@pytest.mark.parametrize(
    ("size", "share"), [(1, 2), (Fraction(1, 2), 4), (0.5, 4), (4, Fraction(1, 2))]
)
def test_the_caches_own_dtype(size: Fraction | float, share: int | Fraction) -> None:
    found = cache(LLAMA_8B, 8192, dtype_bytes=size)
    assert found.bytes * share == GIB
    assert (found.basis == "exact") is (size == 4)
    assert ("QuantizedCache" in str(found.note)) is (size != 4)


def test_a_paged_cache_holds_whole_blocks() -> None:
    assert cache(LLAMA_8B, 17).paged_bytes == 32 * (128 << 10)


def test_no_width_of_a_head_is_one_made_from_the_others() -> None:
    assert cache({**LLAMA_8B, "head_dim": None}, 8192).bytes == GIB


@pytest.mark.parametrize(
    ("window", "kept"), [(0, 999), (1, 1000), (2, 1), (1000, 999), (2000, 1000)]
)
def test_windows_cut_as_the_slice_does(window: int, kept: int) -> None:
    config = {**LLAMA_8B, "model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    found = cache({**config, "sliding_window": window})
    assert found.bytes == kept * (128 << 10)
    assert found.peak_bytes == 1000 * (128 << 10)
    assert cache({**config, "sliding_window": None}).bytes == 1000 * (128 << 10)


def test_an_unknown_model_type_is_at_most_an_estimate() -> None:
    config = {**LLAMA_8B, "model_type": "zebra", "architectures": ["ZebraForCausalLM"]}
    found = cache(config, 8192)
    assert (found.bytes, found.basis) == (GIB, "estimate")
    assert "zebra" in str(found.note)
    encoder = asked({**config, "architectures": ["ZebraModel"]})
    assert isinstance(encoder, Unknown)
    assert "zebra" in encoder.reason
    assert isinstance(asked({}), Unknown)
