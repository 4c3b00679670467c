"""Header-only checkpoints of published models: their real names, dtypes and shapes, no values.

What packing writes is spelled out here from each format's own description, never through
`modelscope_cli.schemes`. Values are given only where reading them is part of understanding the
file (bitsandbytes' quant_state); the rest of the data is a hole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.builders.safetensors import Tensor, compact, entries, framed


class Checkpoint(NamedTuple):
    """A model's tensors in file order, its config.json, values that matter, other JSON files."""

    tensors: Sequence[Tensor]
    config: Mapping[str, Any]
    values: Mapping[str, bytes] = {}
    files: Mapping[str, Any] = {}


class Llama(NamedTuple):
    """The sizes of a Llama."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        }


LLAMA_2_7B = Llama(4096, 11008, 32, 32, 32, 32000)
LLAMA_3_1_8B = Llama(4096, 14336, 32, 32, 8, 128256)
LLAMA_TINY = Llama(64, 192, 2, 4, 2, 256)


class GptOss(NamedTuple):
    """The sizes of a gpt-oss; the defaults are gpt-oss-20b's."""

    hidden: int = 2880
    intermediate: int = 2880
    layers: int = 24
    experts: int = 32
    heads: int = 64
    kv_heads: int = 8
    head_dim: int = 64
    vocabulary: int = 201_088

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json, as published."""
        kinds = ["sliding_attention", "full_attention"]
        return {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "attention_bias": True,
            "head_dim": self.head_dim,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "layer_types": [kinds[layer % 2] for layer in range(self.layers)],
            "num_attention_heads": self.heads,
            "num_experts_per_tok": 4,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "num_local_experts": self.experts,
            "sliding_window": 128,
            "tie_word_embeddings": False,
            "vocab_size": self.vocabulary,
            "quantization_config": {
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
                "quant_method": "mxfp4",
            },
        }


GPT_OSS_20B = GptOss()
GPT_OSS_TINY = GptOss(64, 96, 2, 4, 4, 2, 16, 128)


def gpt_oss(sizes: GptOss = GPT_OSS_20B) -> Checkpoint:
    """openai/gpt-oss-20b: experts in MXFP4, all else in bfloat16."""
    tensors = [Tensor("model.embed_tokens.weight", "BF16", (sizes.vocabulary, sizes.hidden))]
    for layer in range(sizes.layers):
        tensors += _gpt_oss_layer(sizes, f"model.layers.{layer}")
    tensors += [
        Tensor("model.norm.weight", "BF16", (sizes.hidden,)),
        Tensor("lm_head.weight", "BF16", (sizes.vocabulary, sizes.hidden)),
    ]
    return Checkpoint(tensors, sizes.config)


def _gpt_oss_layer(sizes: GptOss, layer: str) -> Iterator[Tensor]:
    hidden, experts = sizes.hidden, sizes.experts
    query, key = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    attention = {"q": (query, hidden), "k": (key, hidden), "v": (key, hidden), "o": (hidden, query)}
    yield Tensor(f"{layer}.input_layernorm.weight", "BF16", (hidden,))
    for name, (rows, columns) in attention.items():
        yield Tensor(f"{layer}.self_attn.{name}_proj.weight", "BF16", (rows, columns))
        yield Tensor(f"{layer}.self_attn.{name}_proj.bias", "BF16", (rows,))
    yield Tensor(f"{layer}.self_attn.sinks", "BF16", (sizes.heads,))
    yield Tensor(f"{layer}.post_attention_layernorm.weight", "BF16", (hidden,))
    yield Tensor(f"{layer}.mlp.router.weight", "BF16", (experts, hidden))
    yield Tensor(f"{layer}.mlp.router.bias", "BF16", (experts,))
    projections = {
        "gate_up_proj": (2 * sizes.intermediate, hidden),
        "down_proj": (hidden, sizes.intermediate),
    }
    for name, (rows, columns) in projections.items():
        base, groups = f"{layer}.mlp.experts.{name}", columns // 32
        yield Tensor(f"{base}_blocks", "U8", (experts, rows, groups, 16))
        yield Tensor(f"{base}_scales", "U8", (experts, rows, groups))
        yield Tensor(f"{base}_bias", "BF16", (experts, rows))


class Packed(NamedTuple):
    """What a quantizer leaves of one linear weight, names after the module's."""

    tensors: Sequence[Tensor]
    values: Mapping[str, bytes] = {}


Quantizer = Callable[[int, int], Packed]  # of a weight [out, in]


def llama(
    sizes: Llama, quantizer: Quantizer, quantization: Mapping[str, Any], dtype: str = "BF16"
) -> Checkpoint:
    """A Llama whose linear layers are quantized, but for the output head."""
    tensors = [Tensor("model.embed_tokens.weight", dtype, (sizes.vocabulary, sizes.hidden))]
    values: dict[str, bytes] = {}
    for layer in range(sizes.layers):
        base = f"model.layers.{layer}"
        tensors.append(Tensor(f"{base}.input_layernorm.weight", dtype, (sizes.hidden,)))
        tensors.append(Tensor(f"{base}.post_attention_layernorm.weight", dtype, (sizes.hidden,)))
        for name, (rows, columns) in _linear_layers(sizes).items():
            packed = quantizer(rows, columns)
            tensors += [each._replace(name=f"{base}.{name}.{each.name}") for each in packed.tensors]
            values |= {f"{base}.{name}.{key}": value for key, value in packed.values.items()}
    tensors.append(Tensor("model.norm.weight", dtype, (sizes.hidden,)))
    tensors.append(Tensor("lm_head.weight", dtype, (sizes.vocabulary, sizes.hidden)))
    config = {**sizes.config, "quantization_config": dict(quantization)}
    return Checkpoint(tensors, config, values)


def _linear_layers(sizes: Llama) -> dict[str, tuple[int, int]]:
    hidden, wide = sizes.hidden, sizes.intermediate
    narrow = hidden // sizes.heads * sizes.kv_heads
    return {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }


BNB_4BIT = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage": "uint8",
}


def nf4(rows: int, columns: int) -> Packed:
    """bitsandbytes' Linear4bit under nf4 with double quantization, as `state_dict` saves it."""
    weights = rows * columns
    blocks = -(-weights // 64)
    state = {
        "quant_type": "nf4",
        "blocksize": 64,
        "dtype": "bfloat16",
        "shape": [rows, columns],
        "nested_blocksize": 256,
        "nested_dtype": "float32",
        "nested_offset": 0.03125,
    }
    value = json.dumps(state).encode()
    tensors = [
        Tensor("weight", "U8", (-(-weights // 2), 1)),
        Tensor("weight.absmax", "U8", (blocks,)),
        Tensor("weight.nested_absmax", "F32", (-(-blocks // 256),)),
        Tensor("weight.nested_quant_map", "F32", (256,)),
        Tensor("weight.quant_map", "F32", (16,)),
        Tensor("weight.quant_state.bitsandbytes__nf4", "U8", (len(value),)),
    ]
    return Packed(tensors, {"weight.quant_state.bitsandbytes__nf4": value})


GPTQ_4BIT = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": 128,
    "damp_percent": 0.1,
    "desc_act": False,
    "sym": True,
    "true_sequential": True,
}


def gptq(rows: int, columns: int) -> Packed:
    """AutoGPTQ at 4 bits in groups of 128: eight weights of a column in an int32."""
    groups = -(-columns // 128)
    return Packed(
        [
            Tensor("g_idx", "I32", (columns,)),
            Tensor("qweight", "I32", (columns // 8, rows)),
            Tensor("qzeros", "I32", (groups, rows // 8)),
            Tensor("scales", "F16", (groups, rows)),
        ]
    )


NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}
HF_QUANT_CONFIG = {
    "producer": {"name": "modelopt", "version": "0.47.0"},
    "quantization": {
        "quant_algo": "NVFP4",
        "kv_cache_quant_algo": "FP8",
        "group_size": 16,
        "exclude_modules": ["lm_head"],
    },
}


def nvfp4(rows: int, columns: int) -> Packed:
    """ModelOpt's NVFP4: two weights of a row in a byte, an FP8 scale for each 16."""
    return Packed(
        [
            Tensor("input_scale", "F32", ()),
            Tensor("weight", "U8", (rows, columns // 2)),
            Tensor("weight_scale", "F8_E4M3", (rows, columns // 16)),
            Tensor("weight_scale_2", "F32", ()),
        ]
    )


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """The checkpoint as one safetensors file, sparse, with its JSON files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {"config.json": checkpoint.config, **checkpoint.files}
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2))
    described = entries(checkpoint.tensors)
    header = framed(compact({"__metadata__": {"format": "pt"}, **described}))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header)
        for name, value in checkpoint.values.items():
            file.seek(len(header) + described[name]["data_offsets"][0])
            file.write(value)
        file.truncate(len(header) + sum(tensor.bytes for tensor in checkpoint.tensors))
    return folder
