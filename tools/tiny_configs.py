"""Configurations of any model type, shrunk until a real forward on a CPU takes a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import CONFIG_MAPPING

# What a key that exists and holds a number becomes. Widths that differ from each other where a
# model allows it, so that a rule that reads the wrong one is found out.
_TINY: dict[int, str] = {
    131: "vocab_size vocab_size_per_layer_input audio_vocab_size image_vocab_size n_words",
    64: "hidden_size d_model n_embd dim embed_dim hidden_dim model_dim word_embed_proj_dim emb_dim "
    "decoder_hidden_size encoder_hidden_size embedding_size n_embed attention_hidden_size "
    "expert_dim expert_hidden_dim lru_width conv_dim projection_dim out_hidden_size qk_channels "
    "num_position_embeddings input_dim output_dim",
    96: "intermediate_size ffn_dim d_ff n_inner encoder_ffn_dim decoder_ffn_dim ffn_hidden_size "
    "intermediate_size_mlp feed_forward_hidden_size block_ff_dim feedforward_dim d_inner dff "
    "mlp_hidden_size dense_intermediate_size encoder_intermediate_size decoder_intermediate_size",
    32: "moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size "
    "moe_shared_expert_intermediate_size expert_ffn_size expert_ffn_hidden_size kv_lora_rank "
    "moe_ffn_hidden_size global_head_dim image_size codebook_size",
    4: "num_attention_heads n_head n_heads num_heads encoder_attention_heads attention_heads "
    "decoder_attention_heads encoder_num_attention_heads decoder_num_attention_heads "
    "num_encoder_attention_heads num_decoder_attention_heads swa_num_attention_heads "
    "index_n_heads linear_num_value_heads linear_num_heads num_experts num_local_experts "
    "n_routed_experts moe_num_experts num_memory_tokens mm_tokens_per_image num_image_tokens "
    "num_query_tokens default_output_length",
    2: "num_key_value_heads num_kv_heads encoder_num_key_value_heads decoder_num_key_value_heads "
    "swa_num_key_value_heads num_global_key_value_heads n_kv_heads multi_query_group_num "
    "linear_num_key_heads n_mamba_heads num_hidden_layers n_layer n_layers num_layers "
    "encoder_layers decoder_layers num_decoder_layers num_encoder_layers depth "
    "encoder_num_hidden_layers decoder_num_hidden_layers num_experts_per_tok "
    "num_experts_per_token moe_topk moe_k top_k_experts num_selected_experts zero_expert_num "
    "moe_top_k o_groups temporal_patch_size num_codebooks num_blocks",
    16: "head_dim d_kv kv_channels attention_head_dim swa_head_dim attn_head_dim v_head_dim "
    "qk_nope_head_dim index_head_dim index_topk o_lora_rank sliding_window attention_chunk_size "
    "attention_window_size local_attention_window window_size local_window_size mamba_d_state "
    "mamba_d_head mamba_head_dim state_size ssm_state_size mamba_headdim linear_key_head_dim "
    "linear_value_head_dim linear_head_dim rwkv_head_size num_mel_bins d_head "
    "hidden_size_per_layer_input",
    24: "qk_head_dim q_lora_rank",
    8: "qk_rope_head_dim rotary_dim mamba_n_heads mamba_num_heads mamba_chunk_size mamba_dt_rank "
    "time_step_rank chunk_size laurel_rank patch_size",
    3: "conv_L_cache num_channels",
    1: "num_hidden_groups n_shared_experts num_shared_experts n_group topk_group "
    "first_k_dense_replace num_dense_layers mamba_n_groups n_groups mamba_ngroups bos_token_id "
    "decoder_start_token_id",
    256: "max_position_embeddings n_positions n_ctx max_target_positions max_seq_len "
    "max_sequence_length context_length",
    40: "max_source_positions",
    13: "attention_context_left",
    128: "mamba_d_ssm",
    0: "pad_token_id num_nextn_predict_layers",
}
_VALUE = {key: value for value, keys in _TINY.items() for key in keys.split()} | {"eos_token_id": 2}
_LAYERS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "decoder_layers",
    "num_decoder_layers",
    "decoder_num_hidden_layers",
    "num_blocks",
)
_MOST_LAYERS = 10
_ALTERNATING = ["sliding_attention", "full_attention"]

# What single model types need besides: settings that must fit each other.
_OWN: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"num_expert_group": 1},
    "bamba": {"num_hidden_layers": 3, "attn_layer_indices": [1]},
    "bigbird_pegasus": {"attention_type": "original_full"},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "dbrx": {
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 2,
        "attn_config": {"kv_n_heads": 2},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {"num_key_value_heads": 4},
    "emu3": {"vocabulary_map": {"<image>": 5}},
    "fun_asr_nano": {"adaptor_config": {"intermediate_size": 16}},
    "gemma3n_text": {
        "num_hidden_layers": 8,
        "num_kv_shared_layers": 3,
        "layer_types": _ALTERNATING * 4,
        "activation_sparsity_pattern": [0.0] * 8,
        "intermediate_size": 96,
    },
    "gemma4_text": {
        "num_hidden_layers": 8,
        "num_kv_shared_layers": 4,
        "layer_types": _ALTERNATING * 4,
    },
    "glm5_next_text": {"num_key_value_heads": 4, "qk_rope_head_dim": 0},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "hunyuan_vl_text": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"]},
    "inkling2": {"vision_config": {"text_hidden_size": 64}},
    "jamba": {"num_hidden_layers": 8, "attn_layer_period": 4, "attn_layer_offset": 3},
    "lfm2": {"num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"]},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"]},
    "longt5": {"local_radius": 8},
    "minimax": {
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "molmo2": {"adapter_config": {"vision_feature_layer": [1, 0]}},
    "moonshine": {"encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "moe"]},
    "olmo_hybrid": {"num_hidden_layers": 4},
    "qwen3_next": {"num_hidden_layers": 4},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "hash_seed": 0, "num_buckets": 4},
    "xlstm": {"qk_dim_factor": 1.0, "v_dim_factor": 1.0},
    "zamba": {
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_hidden_layers": 6,
        "layers_block_type": ["mamba", "mamba", "hybrid"] * 2,
    },
    "zamba2": {
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
        "n_mamba_heads": 8,
    },
    "mamba2": {"num_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}


def tiny(
    model_type: str, mrope_half: int | None = None, changes: Mapping[str, Any] | None = None
) -> Any:
    """The configuration of that type, small; `mrope_half` is what its rope sections must sum to."""
    own = {**_OWN.get(model_type, {}), **(changes or {})}
    config_class = CONFIG_MAPPING[model_type]
    try:
        default = config_class()
    except Exception:  # a default that only exists with its own settings
        default = config_class(**own)
    settings = {**_shrunk(default), **_merged(_shrunk(default), own)}
    if mrope_half is not None:
        _cut_ropes(settings, mrope_half)
    return config_class(**settings)


def _cut_ropes(settings: dict[str, Any], half: int) -> None:
    """Rope sections that sum to half a head, wherever there are heads."""
    third = half * 3 // 8
    for level in _levels(settings):
        if "rope_parameters" in level or "num_attention_heads" in level:
            level["rope_parameters"] = {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [half - 2 * third, third, third],
            }


def _merged(settings: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {**settings[key], **value}
        if isinstance(value, dict) and isinstance(settings.get(key), dict)
        else value
        for key, value in own.items()
    }


def _levels(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield settings
    for value in settings.values():
        if isinstance(value, dict) and "model_type" in value:
            yield from _levels(value)


def _shrunk(default: Any) -> dict[str, Any]:
    """Constructor arguments: every number that is in the table, and lists of one entry a layer."""
    said = dict(default.to_dict())
    nested = getattr(default, "sub_configs", None) or {}
    settings: dict[str, Any] = {
        key: _VALUE[key]
        for key, value in said.items()
        if key in _VALUE and key not in nested and _is_number(key, value)
    }
    if "kv_lora_rank" in said:  # here head_dim is the rotary part, and every head has its keys
        settings |= {
            key: value
            for key, value in (("head_dim", 8), ("num_key_value_heads", 4))
            if key in settings
        }
    settings |= _layer_lists(said, settings)
    for key in nested:
        inner = getattr(default, key, None)
        if inner is not None and not isinstance(inner, dict):
            inner_type = inner.model_type
            settings[key] = {**_shrunk(inner), "model_type": inner_type}
            settings[key] |= _OWN.get(inner_type, {})
    return settings


def _is_number(key: str, value: Any) -> bool:
    if value is None:
        return key == "num_key_value_heads"
    return isinstance(value, int | float) and not isinstance(value, bool)


def _layer_lists(said: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Enough layers that each type there is occurs, and lists cut to them."""
    whole = next((said[key] for key in _LAYERS if isinstance(said.get(key), int)), None)
    if whole is None:
        return {}
    types = said.get("layer_types") or said.get("layers_block_type")
    count = next((settings[key] for key in _LAYERS if key in settings), 2)
    if isinstance(types, list | tuple) and len(types) == whole:
        count = max(2, min(_MOST_LAYERS, 1 + max(map(types.index, set(types)))))
    cut: dict[str, Any] = {key: count for key in _LAYERS if key in settings}
    for key, value in said.items():
        if isinstance(value, list | tuple) and len(value) == whole and key != "eos_token_id":
            cut[key] = list(value[:count])
    return cut
