"""Configurations that make no sense: unknown with the reason, never an error nor much work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.memory.kv.cache import KVCache, context_limit
from modelscope_cli.facts import Unknown
from tests.analysis.memory.kv.test_cache import LLAMA_8B, asked, cache
from tests.bounded import within


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"num_hidden_layers": 10**12}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers"),
        ({"num_key_value_heads": -8}, "num_key_value_heads"),
        ({"num_key_value_heads": [8, 4]}, "num_key_value_heads"),
        ({"num_key_value_heads": True}, "num_key_value_heads"),
        ({"head_dim": 0}, "head_dim"),
        ({"head_dim": 1 << 60}, "head_dim"),
        ({"head_dim": 10**4000}, "head_dim"),
        ({"head_dim": "128"}, "head_dim"),
        ({"head_dim": 128.5}, "head_dim"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["moon_attention"] * 32}, "moon_attention"),
        ({"layer_types": ["x" * 9999] * 32}, "layers of type 'xxx"),
        ({"layer_types": [{"a": 1}] * 32}, "layers of type"),
        ({"layer_types": ["sliding_attention"] * 32, "sliding_window": -1}, "sliding_window"),
        ({"layer_types": ["sliding_attention"] * 32, "sliding_window": None}, "sliding_window"),
        ({"num_kv_shared_layers": 32}, "num_kv_shared_layers"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_makes_no_sense_is_unknown_by_its_key(changes: dict[str, Any], key: str) -> None:
    found = asked({**LLAMA_8B, **changes})
    assert isinstance(found, Unknown)
    assert key in found.reason
    assert len(found.reason) < 200


def test_heads_that_do_not_divide_the_width() -> None:
    found = asked({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_head": 7})
    assert isinstance(found, Unknown)
    assert "768 is not divisible by" in found.reason
    assert "head" in found.reason


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["full_attention", "sliding_attention", "auto", "linear_attention"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "layer_types",
        "sliding_window",
        "kv_lora_rank",
        "qk_rope_head_dim",
        "per_layer_config",
        "num_kv_shared_layers",
        "cross_attention_layers",
        "kv_source_layers",
        "indexer_types",
        "text_config",
        "is_encoder_decoder",
        "max_position_embeddings",
        "rope_scaling",
        "rope_parameters",
        "prompt_length",
    ]
)
TYPES = st.sampled_from(
    [
        "llama",
        "gemma3",
        "gemma4_text",
        "deepseek_v3",
        "deepseek_v4",
        "qwen3_next",
        "jamba",
        "mllama",
        "t5",
        "whisper",
        "bert",
        "mistral_large4",
        "zebra",
        "xlnet",
        "rwkv",
        "xlstm",
        "falcon",
    ]
)


@settings(max_examples=150)
@given(TYPES, st.dictionaries(KEYS, HOSTILE, max_size=6))
def test_no_configuration_raises_or_takes_long(model_type: str, config: dict[str, Any]) -> None:
    def work() -> None:
        found = asked({**config, "model_type": model_type}, architecture="XForCausalLM")
        assert isinstance(found, KVCache | Unknown)
        if isinstance(found, KVCache):
            assert 0 <= found.bytes <= found.peak_bytes
        limit = context_limit({**config, "model_type": model_type})
        assert limit is None or limit > 0

    within(1, work)


def test_layers_that_all_differ_in_a_huge_configuration() -> None:
    layers = 4_000
    config = {
        **LLAMA_8B,
        **{f"key_{number}": number for number in range(100_000)},
        "num_hidden_layers": layers,
        "layer_types": ["full_attention"] * layers,
        "per_layer_config": {str(n): {"head_dim": n + 1} for n in range(layers)},
    }
    found = within(1, lambda: cache(config, 1))
    assert found.bytes == 2 * 8 * 2 * sum(range(1, layers + 1))
