"""Small configurations of many architectures: what loads and runs in a moment."""

from __future__ import annotations

from typing import Any, NamedTuple


class Tiny(NamedTuple):
    """A model type, a class of it, and the settings that make it small."""

    model_type: str
    architecture: str
    settings: dict[str, Any]

    @property
    def id(self) -> str:
        return self.architecture


_TEXT: dict[str, Any] = {
    "vocab_size": 131,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_GQA = {**_TEXT, "num_key_value_heads": 2}
_GPT2 = {"vocab_size": 131, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
_T5 = {"vocab_size": 131, "d_model": 64, "d_ff": 96, "d_kv": 16, "num_layers": 2, "num_heads": 4}
_BART = {
    "vocab_size": 131,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 256,
}
_MLA = {
    **_TEXT,
    "kv_lora_rank": 32,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 32,
    "num_key_value_heads": 4,
}
_VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_CLIP = {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 48}
_GEMMA = {**_GQA, "head_dim": 16, "sliding_window": 16}

MODELS = (
    Tiny("llama", "LlamaForCausalLM", _GQA),
    Tiny("llama", "LlamaForSequenceClassification", _GQA),
    Tiny("mistral", "MistralForCausalLM", {**_GQA, "head_dim": 32, "sliding_window": 16}),
    Tiny("qwen2", "Qwen2ForCausalLM", {**_GQA, "tie_word_embeddings": True}),
    Tiny("qwen3", "Qwen3ForCausalLM", {**_GQA, "head_dim": 16, "tie_word_embeddings": True}),
    Tiny("gemma2", "Gemma2ForCausalLM", _GEMMA),
    Tiny("gemma3_text", "Gemma3ForCausalLM", _GEMMA),
    Tiny("phi", "PhiForCausalLM", _TEXT),
    Tiny("phi3", "Phi3ForCausalLM", {**_GQA, "pad_token_id": 0}),
    Tiny("olmo2", "Olmo2ForCausalLM", _GQA),
    Tiny("granite", "GraniteForCausalLM", _GQA),
    Tiny("gpt2", "GPT2LMHeadModel", _GPT2),
    Tiny("gpt_neox", "GPTNeoXForCausalLM", _TEXT),
    Tiny("gptj", "GPTJForCausalLM", {**_GPT2, "rotary_dim": 8}),
    Tiny("opt", "OPTForCausalLM", {**_TEXT, "ffn_dim": 96, "word_embed_proj_dim": 32}),
    Tiny("bloom", "BloomForCausalLM", {"vocab_size": 131, "hidden_size": 64, "n_layer": 2,
                                       "n_head": 4}),
    Tiny("falcon", "FalconForCausalLM", _TEXT),
    Tiny("mixtral", "MixtralForCausalLM", {**_GQA, "num_local_experts": 4}),
    Tiny("qwen3_moe", "Qwen3MoeForCausalLM", {**_GQA, "head_dim": 16, "num_experts": 4,
                                              "num_experts_per_tok": 2,
                                              "moe_intermediate_size": 32}),
    Tiny("deepseek_v3", "DeepseekV3ForCausalLM", _MLA),
    Tiny("deepseek_v2", "DeepseekV2ForCausalLM", _MLA),
    Tiny("gpt_oss", "GptOssForCausalLM", {**_GEMMA, "num_local_experts": 4}),
    Tiny("mamba", "MambaForCausalLM", {"vocab_size": 131, "hidden_size": 64, "state_size": 16,
                                       "num_hidden_layers": 2}),
    Tiny("bert", "BertModel", _TEXT),
    Tiny("bert", "BertForMaskedLM", _TEXT),
    Tiny("bert", "BertForSequenceClassification", _TEXT),
    Tiny("roberta", "RobertaForQuestionAnswering", _TEXT),
    Tiny("distilbert", "DistilBertForMaskedLM", {"vocab_size": 131, "dim": 64, "n_layers": 2,
                                                 "n_heads": 4, "hidden_dim": 96}),
    Tiny("electra", "ElectraForPreTraining", {**_TEXT, "embedding_size": 32}),
    Tiny("modernbert", "ModernBertForMaskedLM", {**_TEXT, "pad_token_id": 0, "bos_token_id": 1,
                                                 "eos_token_id": 2, "cls_token_id": 1,
                                                 "sep_token_id": 2}),
    Tiny("t5", "T5ForConditionalGeneration", {**_T5, "decoder_start_token_id": 0}),
    Tiny("t5", "T5EncoderModel", _T5),
    Tiny("mt5", "MT5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu",
                                                "tie_word_embeddings": False,
                                                "decoder_start_token_id": 0}),
    Tiny("bart", "BartForConditionalGeneration", _BART),
    Tiny("marian", "MarianMTModel", {**_BART, "pad_token_id": 0}),
    Tiny("whisper", "WhisperForConditionalGeneration", {**_BART, "num_mel_bins": 16,
                                                        "max_source_positions": 40,
                                                        "max_target_positions": 256,
                                                        "pad_token_id": 0}),
    Tiny("clip", "CLIPModel", _CLIP),
    Tiny("clip_text_model", "CLIPTextModelWithProjection", {**_TEXT, "projection_dim": 48}),
    Tiny("siglip", "SiglipModel", {"text_config": _TEXT, "vision_config": _VISION}),
    Tiny("vit", "ViTForImageClassification", _VISION),
    Tiny("llava", "LlavaForConditionalGeneration", {
        "text_config": {"model_type": "llama", **_GQA},
        "vision_config": {"model_type": "clip_vision_model", **_VISION},
        "image_token_index": 5,
    }),
)  # fmt: skip


def configured(tiny: Tiny, **more: Any) -> dict[str, Any]:
    """The config.json of a tiny model: what its class saves, with the architecture named."""
    from transformers import CONFIG_MAPPING

    made = CONFIG_MAPPING[tiny.model_type](**{**tiny.settings, **more})
    made.architectures = [tiny.architecture]
    written: dict[str, Any] = made.to_dict()
    return written
