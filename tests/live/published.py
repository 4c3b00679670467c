"""Sizes of published models, as their config.json have them; few layers, which peaks ignore."""

from __future__ import annotations

from typing import Any, NamedTuple

LAYERS = 4


class Published(NamedTuple):
    """A model's class and the sizes that differ from its type's defaults."""

    name: str
    model_type: str
    architecture: str
    settings: dict[str, Any]


def _sizes(
    hidden: int, inner: int, heads: int, keys: int, words: int, head: int | None = None
) -> dict[str, Any]:
    given = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": words,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": 8192,
    }
    return given if head is None else {**given, "head_dim": head}


def _old(hidden: int, heads: int, words: int) -> dict[str, Any]:
    return {"n_embd": hidden, "n_head": heads, "vocab_size": words, "n_layer": LAYERS,
            "n_positions": 2048}  # fmt: skip


DECODERS = (
    Published("Llama-3-8B", "llama", "LlamaForCausalLM", _sizes(4096, 14336, 32, 8, 128256)),
    Published("Llama-2-13B", "llama", "LlamaForCausalLM", _sizes(5120, 13824, 40, 40, 32000)),
    Published("TinyLlama", "llama", "LlamaForCausalLM", _sizes(2048, 5632, 32, 4, 32000)),
    Published("Qwen2-0.5B", "qwen2", "Qwen2ForCausalLM", _sizes(896, 4864, 14, 2, 151936)),
    Published("Qwen2-72B", "qwen2", "Qwen2ForCausalLM", _sizes(8192, 29568, 64, 8, 152064)),
    Published("Qwen3-0.6B", "qwen3", "Qwen3ForCausalLM", _sizes(1024, 3072, 16, 8, 151936, 128)),
    Published("Qwen3-32B", "qwen3", "Qwen3ForCausalLM", _sizes(5120, 25600, 64, 8, 151936, 128)),
    Published("Gemma-7B", "gemma", "GemmaForCausalLM", _sizes(3072, 24576, 16, 16, 256000, 256)),
    Published("Gemma-2-27B", "gemma2", "Gemma2ForCausalLM",
              _sizes(4608, 36864, 32, 16, 256000, 128)),
    Published("Gemma-3-1B", "gemma3_text", "Gemma3ForCausalLM",
              _sizes(1152, 6912, 4, 1, 262144, 256)),
    Published("Phi-1.5", "phi", "PhiForCausalLM", _sizes(2048, 8192, 32, 32, 51200)),
    Published("Phi-3-mini", "phi3", "Phi3ForCausalLM",
              {**_sizes(3072, 8192, 32, 32, 32064), "pad_token_id": 0}),
    Published("GPT-2 XL", "gpt2", "GPT2LMHeadModel", _old(1600, 25, 50257)),
    Published("GPT-NeoX-20B", "gpt_neox", "GPTNeoXForCausalLM",
              _sizes(6144, 24576, 64, 64, 50432)),
    Published("Pythia-160M", "gpt_neox", "GPTNeoXForCausalLM", _sizes(768, 3072, 12, 12, 50304)),
    Published("GPT-J of half its width", "gptj", "GPTJForCausalLM", _old(2048, 16, 50400)),
    Published("OPT-6.7B", "opt", "OPTForCausalLM",
              {**_sizes(4096, 16384, 32, 32, 50272), "ffn_dim": 16384,
               "word_embed_proj_dim": 4096}),
    Published("BLOOM-560M", "bloom", "BloomForCausalLM",
              {"hidden_size": 1024, "n_layer": LAYERS, "n_head": 16, "vocab_size": 250880}),
    Published("Falcon-40B", "falcon", "FalconForCausalLM",
              {**_sizes(8192, 32768, 128, 8, 65024), "num_kv_heads": 8,
               "new_decoder_architecture": True}),
    Published("Mixtral-8x22B", "mixtral", "MixtralForCausalLM",
              _sizes(6144, 16384, 48, 8, 32768)),
    Published("Qwen3-30B-A3B", "qwen3_moe", "Qwen3MoeForCausalLM",
              {**_sizes(2048, 6144, 32, 4, 151936, 128), "moe_intermediate_size": 768,
               "num_experts": 128, "num_experts_per_tok": 8}),
    Published("OLMoE", "olmoe", "OlmoeForCausalLM",
              {**_sizes(2048, 1024, 16, 16, 50304), "num_experts": 64,
               "num_experts_per_tok": 8}),
    Published("DeepSeek-V2-Lite", "deepseek_v2", "DeepseekV2ForCausalLM",
              {**_sizes(2048, 10944, 16, 16, 102400), "moe_intermediate_size": 1408,
               "kv_lora_rank": 512, "q_lora_rank": None, "qk_nope_head_dim": 128,
               "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64,
               "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1}),
    Published("a half of DeepSeek-V3", "deepseek_v3", "DeepseekV3ForCausalLM",
              {"hidden_size": 3584, "moe_intermediate_size": 1024, "num_attention_heads": 64,
               "num_key_value_heads": 64, "num_hidden_layers": LAYERS}),
    Published("gpt-oss-20b", "gpt_oss", "GptOssForCausalLM",
              {**_sizes(2880, 2880, 64, 8, 201088, 64), "num_local_experts": 32}),
    Published("StarCoder2-3B", "starcoder2", "Starcoder2ForCausalLM",
              _sizes(3072, 12288, 24, 2, 49152)),
    Published("StableLM-2-1.6B", "stablelm", "StableLmForCausalLM",
              _sizes(2048, 5632, 32, 32, 100352)),
    Published("Command-R", "cohere", "CohereForCausalLM", _sizes(8192, 22528, 64, 64, 256000)),
    Published("Granite-3-2B", "granite", "GraniteForCausalLM", _sizes(2048, 8192, 32, 8, 49155)),
    Published("OLMo-2-13B", "olmo2", "Olmo2ForCausalLM", _sizes(5120, 13824, 40, 40, 100352)),
    Published("Mistral-Small-24B", "mistral", "MistralForCausalLM",
              {**_sizes(5120, 32768, 32, 8, 131072, 128), "sliding_window": None}),
    Published("SmolLM2-135M", "llama", "LlamaForCausalLM", _sizes(576, 1536, 9, 3, 49152)),
)  # fmt: skip

OTHERS = (
    Published("BERT-large", "bert", "BertForMaskedLM",
              {**_sizes(1024, 4096, 16, 16, 30522), "max_position_embeddings": 2048}),
    Published("RoBERTa-base", "roberta", "RobertaModel", _sizes(768, 3072, 12, 12, 50265)),
    Published("DistilBERT", "distilbert", "DistilBertForSequenceClassification",
              {"dim": 768, "hidden_dim": 3072, "n_heads": 12, "n_layers": LAYERS,
               "max_position_embeddings": 2048}),
    Published("T5-large", "t5", "T5ForConditionalGeneration",
              {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "num_layers": LAYERS}),
    Published("BART-base", "bart", "BartForConditionalGeneration",
              {"d_model": 768, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072,
               "encoder_attention_heads": 12, "decoder_attention_heads": 12,
               "encoder_layers": LAYERS, "decoder_layers": LAYERS,
               "max_position_embeddings": 2048}),
    Published("Whisper-small", "whisper", "WhisperForConditionalGeneration",
              {"d_model": 768, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072,
               "encoder_attention_heads": 12, "decoder_attention_heads": 12,
               "encoder_layers": LAYERS, "decoder_layers": LAYERS}),
    Published("ViT-L/16 at 384", "vit", "ViTForImageClassification",
              {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
               "num_hidden_layers": LAYERS, "image_size": 384}),
)  # fmt: skip
