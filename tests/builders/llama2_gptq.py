"""The tensors of a Llama-2-7B quantized by GPTQ to 4 bits in groups of 128: names and shapes."""

from __future__ import annotations

from collections.abc import Iterator

PARAMETERS = 6_738_415_616  # as Meta publishes it, and as transformers counts LlamaForCausalLM
LAYERS = 32
_HIDDEN, _WIDE, _VOCABULARY = 4096, 11008, 32000
_LINEARS = {
    "self_attn.q_proj": (_HIDDEN, _HIDDEN),
    "self_attn.k_proj": (_HIDDEN, _HIDDEN),
    "self_attn.v_proj": (_HIDDEN, _HIDDEN),
    "self_attn.o_proj": (_HIDDEN, _HIDDEN),
    "mlp.gate_proj": (_WIDE, _HIDDEN),
    "mlp.up_proj": (_WIDE, _HIDDEN),
    "mlp.down_proj": (_HIDDEN, _WIDE),
}
CONFIG = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}

Tensor = tuple[str, str, tuple[int, ...]]  # name, dtype, shape


def tensors() -> Iterator[Tensor]:
    """Every tensor of the checkpoint, as AutoGPTQ names and shapes them."""
    yield "model.embed_tokens.weight", "F16", (_VOCABULARY, _HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name, (out, in_) in _LINEARS.items():
            yield from _quantized(f"{prefix}.{name}", out, in_)
        yield f"{prefix}.input_layernorm.weight", "F16", (_HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", "F16", (_HIDDEN,)
    yield "model.norm.weight", "F16", (_HIDDEN,)
    yield "lm_head.weight", "F16", (_VOCABULARY, _HIDDEN)


def _quantized(name: str, out: int, in_: int) -> Iterator[Tensor]:
    yield f"{name}.qweight", "I32", (in_ // 8, out)
    yield f"{name}.qzeros", "I32", (in_ // 128, out // 8)
    yield f"{name}.scales", "F16", (in_ // 128, out)
    yield f"{name}.g_idx", "I32", (in_,)
