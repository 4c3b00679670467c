"""The KV cache against real forwards, in the same run."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from modelscope_cli.analysis.memory.kv.cache import KVCache, kv_cache
from modelscope_cli.analysis.memory.kv.held import sliding

torch: Any = pytest.importorskip("torch", reason="runs tiny models, torch is not in the test extra")
transformers: Any = pytest.importorskip("transformers", reason="asks its caches what they hold")

from tools.kv_cache_truth import Left, left  # noqa: E402 - imports both

# One class of every kind of cache, and the most used ones.
CLASSES = [
    ("llama", "LlamaForCausalLM"),
    ("mistral", "MistralForCausalLM"),
    ("mixtral", "MixtralForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "Qwen3ForCausalLM"),
    ("qwen3_moe", "Qwen3MoeForCausalLM"),
    ("gemma2", "Gemma2ForCausalLM"),
    ("gemma3_text", "Gemma3ForCausalLM"),
    ("gemma3", "Gemma3ForConditionalGeneration"),
    ("gemma3n_text", "Gemma3nForCausalLM"),
    ("gemma4_text", "Gemma4ForCausalLM"),
    ("gpt_oss", "GptOssForCausalLM"),
    ("llama4_text", "Llama4ForCausalLM"),
    ("cohere2", "Cohere2ForCausalLM"),
    ("phi3", "Phi3ForCausalLM"),
    ("gpt2", "GPT2LMHeadModel"),
    ("gpt_neo", "GPTNeoForCausalLM"),
    ("gptj", "GPTJForCausalLM"),
    ("bloom", "BloomForCausalLM"),
    ("falcon", "FalconForCausalLM"),
    ("gpt_bigcode", "GPTBigCodeForCausalLM"),
    ("mpt", "MptForCausalLM"),
    ("opt", "OPTForCausalLM"),
    ("bert", "BertLMHeadModel"),
    ("deepseek_v2", "DeepseekV2ForCausalLM"),
    ("deepseek_v3", "DeepseekV3ForCausalLM"),
    ("deepseek_v32", "DeepseekV32ForCausalLM"),
    ("glm_moe_dsa", "GlmMoeDsaForCausalLM"),
    ("mimo_v2_flash", "MiMoV2FlashForCausalLM"),
    ("qwen3_next", "Qwen3NextForCausalLM"),
    ("kimi_linear", "KimiLinearForCausalLM"),
    ("minimax", "MiniMaxForCausalLM"),
    ("lfm2", "Lfm2ForCausalLM"),
    ("jamba", "JambaForCausalLM"),
    ("bamba", "BambaForCausalLM"),
    ("falcon_h1", "FalconH1ForCausalLM"),
    ("zamba2", "Zamba2ForCausalLM"),
    ("nemotron_h", "NemotronHForCausalLM"),
    ("mamba", "MambaForCausalLM"),
    ("mamba2", "Mamba2ForCausalLM"),
    ("recurrent_gemma", "RecurrentGemmaForCausalLM"),
    ("rwkv", "RwkvForCausalLM"),
    ("t5", "T5ForConditionalGeneration"),
    ("bart", "BartForConditionalGeneration"),
    ("whisper", "WhisperForConditionalGeneration"),
    ("t5gemma", "T5GemmaForConditionalGeneration"),
    ("llava", "LlavaForConditionalGeneration"),
    ("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"),
]


# Switches that change what is cached.
SWITCHED: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "LlamaForCausalLM", {"head_dim": 24}),
    ("mistral", "MistralForCausalLM", {"sliding_window": None}),
    ("phi3", "Phi3ForCausalLM", {"sliding_window": 16}),
    (
        "qwen2",
        "Qwen2ForCausalLM",
        {
            "use_sliding_window": True,
            "sliding_window": 16,
            "max_window_layers": 1,
            "num_hidden_layers": 3,
            "layer_types": None,
        },
    ),
    ("falcon", "FalconForCausalLM", {"multi_query": False, "num_kv_heads": 4}),
    ("falcon", "FalconForCausalLM", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("gpt_bigcode", "GPTBigCodeForCausalLM", {"multi_query": False}),
    ("mimo_v2_flash", "MiMoV2FlashForCausalLM", {"v_head_dim": 24}),
    (
        "gemma4_text",
        "Gemma4ForCausalLM",
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
    ),
    ("jamba", "JambaForCausalLM", {"attn_layer_period": 2, "attn_layer_offset": 1}),
    ("mllama_text_model", "MllamaForCausalLM", {"cross_attention_layers": [1]}),
    ("deepseek_v3", "DeepseekV3ForCausalLM", {"kv_lora_rank": 40, "v_head_dim": 24}),
    ("qwen3_next", "Qwen3NextForCausalLM", {"linear_value_head_dim": 24, "linear_key_head_dim": 8}),
]


@pytest.mark.parametrize(("model_type", "name"), CLASSES, ids=str)
def test_as_a_forward_leaves_it(model_type: str, name: str) -> None:
    """Prompts of 37 tokens, windows of 16, two sequences, on the CPU."""
    compare(left(model_type, name), name)


@pytest.mark.parametrize(("model_type", "name", "changes"), SWITCHED, ids=str)
def test_switches(model_type: str, name: str, changes: dict[str, Any]) -> None:
    compare(left(model_type, name, **changes), name, settled=False)


def compare(truth: Left, name: str, *, settled: bool = True) -> None:
    ours = kv_cache(
        truth.config,
        name,
        batch=truth.batch,
        context=truth.tokens,
        dtype_bytes=truth.dtype_bytes,
        encoder_context=truth.encoder_tokens,
    )
    assert isinstance(ours, KVCache), ours
    assert (ours.bytes, ours.peak_bytes) == (truth.bytes, truth.storage_bytes)
    assert ours.basis == "exact" or not settled


@pytest.mark.parametrize("window", [0, 1, 2, 5, 8, 9, 10, 20])
@pytest.mark.parametrize("tokens", [1, 4, 7, 8, 9])
def test_window_layers_against_the_librarys_own(window: int, tokens: int) -> None:
    layer = transformers.cache_utils.DynamicSlidingWindowLayer(window)
    prompt = torch.zeros(1, 1, tokens, 3)
    layer.update(prompt, prompt)
    ours = sliding("sliding", 6, tokens, window)
    tensors = (layer.keys, layer.values)
    assert ours.values == sum(tensor.numel() for tensor in tensors)
    assert ours.peak == sum(tensor.untyped_storage().nbytes() // 4 for tensor in tensors)
    more = sliding("sliding", 6, tokens + 1, window)
    assert ours.token == more.values - ours.values


def test_fp8_is_one_byte_a_value_and_two_scales_a_layer() -> None:
    cache_class = getattr(transformers.cache_utils, "Fp8QuantizedLayer", None)
    if cache_class is None:
        pytest.skip("this transformers has no fp8 cache")
    layer = cache_class()
    states = torch.ones(2, 8, 37, 16, dtype=torch.bfloat16)
    layer.update(states, states)
    parts = [*layer._quantized_keys, *layer._quantized_values]
    held = sum(part.numel() * part.element_size() for part in parts)
    config = {
        "model_type": "llama",
        "num_hidden_layers": 1,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 16,
    }
    ours = kv_cache(config, "LlamaForCausalLM", batch=2, context=37, dtype_bytes=Fraction(1))
    assert isinstance(ours, KVCache)
    assert held - ours.bytes == 8
    assert "8 bytes a layer" in str(ours.note)


# What stands in files on the Hub and is gone from the object the class makes of it.
SPELLED: list[tuple[str, str, dict[str, Any]]] = [
    ("NemotronHForCausalLM", "nemotron_h", {"hybrid_override_pattern": "M-M*-ME*-"}),
    ("NemotronHForCausalLM", "nemotron_h", {"layers_block_type": ["mamba", "attention", "moe"]}),
    ("Gemma3ForCausalLM", "gemma3_text", {"num_hidden_layers": 7, "sliding_window_pattern": 3}),
    ("Gemma4ForCausalLM", "gemma4_text", {"global_head_dim": 384}),
    ("Gemma4ForCausalLM", "gemma4_text", {"num_kv_shared_layers": 10}),
    (
        "Gemma4ForCausalLM",
        "gemma4_text",
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
    ),
    ("Qwen3NextForCausalLM", "qwen3_next", {"full_attention_interval": 3}),
    (
        "KimiLinearForCausalLM",
        "kimi_linear",
        {
            "num_hidden_layers": 5,
            "linear_attn_config": {
                "full_attn_layers": [2, 5],
                "kda_layers": [1, 3, 4],
                "head_dim": 64,
                "num_heads": 8,
                "short_conv_kernel_size": 3,
            },
        },
    ),
    ("GlmMoeDsaForCausalLM", "glm_moe_dsa", {"index_topk_freq": 4, "num_hidden_layers": 9}),
    (
        "GlmMoeDsaForCausalLM",
        "glm_moe_dsa",
        {"num_hidden_layers": 6, "index_topk_pattern": "FFSSFS"},
    ),
    ("MiMoV2FlashForCausalLM", "mimo_v2_flash", {"sliding_window_size": 64}),
    ("Cohere2ForCausalLM", "cohere2", {"sliding_window_pattern": 2}),
    ("Qwen2ForCausalLM", "qwen2", {"use_sliding_window": False, "sliding_window": 64}),
    (
        "Qwen2ForCausalLM",
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 3},
    ),
    ("LongcatFlashForCausalLM", "longcat_flash", {"num_layers": 5}),
    ("BambaForCausalLM", "bamba", {"attn_layer_indices": [3, 9]}),
    ("RecurrentGemmaForCausalLM", "recurrent_gemma", {"block_types": ["recurrent", "attention"]}),
]


@pytest.mark.parametrize(("name", "model_type", "said"), SPELLED, ids=str)
def test_files_and_what_the_class_makes_of_them_count_the_same(
    name: str, model_type: str, said: dict[str, Any]
) -> None:
    from_file = {"model_type": model_type, **said}
    made = transformers.CONFIG_MAPPING[model_type](**said)
    written_out = json.loads(made.to_json_string(use_diff=False))
    if getattr(made, "layer_types", None) is not None:  # it may be a property
        written_out["layer_types"] = made.layer_types
    written_out["num_hidden_layers"] = made.num_hidden_layers
    ours, again = (
        kv_cache(config, name, batch=1, context=3000, dtype_bytes=2)
        for config in (from_file, written_out)
    )
    assert isinstance(ours, KVCache), ours
    assert isinstance(again, KVCache), again
    assert ours.layers == again.layers
