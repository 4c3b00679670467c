"""A sparse checkpoint of DeepSeek-V3's size, and the bare Python loop that is its floor.

`python -m benchmarks.deepseek write FOLDER` writes 158 shards without data on disk;
`python -m benchmarks.deepseek bare FOLDER` reads their headers and the index, no more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

# deepseek-ai/DeepSeek-V3's config.json. The published files hold one layer more, the
# multi-token prediction layer 61 (1,564 tensors); without it they are what is given here.
HIDDEN = 7168
LAYERS = 61
DENSE_LAYERS = 3
DENSE_SIZE = 18_432
EXPERTS = 256
EXPERT_SIZE = 2048
Q_LORA = 1536
KV_LORA = 512
ROPE = 64
HEADS = 128
NOPE = 128
V_HEAD = 128
VOCABULARY = 129_280
BLOCK = 128

SHARDS = 158
TENSORS = 90_427
DATA_BYTES = 673_150_611_808

INDEX = "model.safetensors.index.json"
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "torch_dtype": "bfloat16",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_nextn_predict_layers": 0,
    "first_k_dense_replace": DENSE_LAYERS,
    "moe_layer_freq": 1,
    "intermediate_size": DENSE_SIZE,
    "moe_intermediate_size": EXPERT_SIZE,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "q_lora_rank": Q_LORA,
    "kv_lora_rank": KV_LORA,
    "qk_nope_head_dim": NOPE,
    "qk_rope_head_dim": ROPE,
    "v_head_dim": V_HEAD,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 163_840,
    "tie_word_embeddings": False,
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    },
}
_SIZES = {"F32": 4, "BF16": 2, "F8_E4M3": 1}


class Tensor(NamedTuple):
    """One tensor as a shard's header names it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of its data."""
        return prod(self.shape) * _SIZES[self.dtype]


def tensors() -> Iterator[Tensor]:
    """Every tensor, in the model's order."""
    yield Tensor("model.embed_tokens.weight", "BF16", (VOCABULARY, HIDDEN))
    for layer in range(LAYERS):
        yield from _layer(f"model.layers.{layer}", dense=layer < DENSE_LAYERS)
    yield Tensor("model.norm.weight", "BF16", (HIDDEN,))
    yield Tensor("lm_head.weight", "BF16", (VOCABULARY, HIDDEN))


def _layer(prefix: str, *, dense: bool) -> Iterator[Tensor]:
    yield from _attention(f"{prefix}.self_attn")
    if dense:
        yield from _feed_forward(f"{prefix}.mlp", DENSE_SIZE)
    else:
        yield Tensor(f"{prefix}.mlp.gate.weight", "BF16", (EXPERTS, HIDDEN))
        yield Tensor(f"{prefix}.mlp.gate.e_score_correction_bias", "F32", (EXPERTS,))
        for expert in range(EXPERTS):
            yield from _feed_forward(f"{prefix}.mlp.experts.{expert}", EXPERT_SIZE)
        yield from _feed_forward(f"{prefix}.mlp.shared_experts", EXPERT_SIZE)
    yield Tensor(f"{prefix}.input_layernorm.weight", "BF16", (HIDDEN,))
    yield Tensor(f"{prefix}.post_attention_layernorm.weight", "BF16", (HIDDEN,))


def _attention(prefix: str) -> Iterator[Tensor]:
    yield from _linear(f"{prefix}.q_a_proj", Q_LORA, HIDDEN)
    yield Tensor(f"{prefix}.q_a_layernorm.weight", "BF16", (Q_LORA,))
    yield from _linear(f"{prefix}.q_b_proj", HEADS * (NOPE + ROPE), Q_LORA)
    yield from _linear(f"{prefix}.kv_a_proj_with_mqa", KV_LORA + ROPE, HIDDEN)
    yield Tensor(f"{prefix}.kv_a_layernorm.weight", "BF16", (KV_LORA,))
    yield from _linear(f"{prefix}.kv_b_proj", HEADS * (NOPE + V_HEAD), KV_LORA)
    yield from _linear(f"{prefix}.o_proj", HIDDEN, HEADS * V_HEAD)


def _feed_forward(prefix: str, size: int) -> Iterator[Tensor]:
    yield from _linear(f"{prefix}.gate_proj", size, HIDDEN)
    yield from _linear(f"{prefix}.up_proj", size, HIDDEN)
    yield from _linear(f"{prefix}.down_proj", HIDDEN, size)


def _linear(prefix: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield Tensor(f"{prefix}.weight", "F8_E4M3", (rows, columns))
    yield Tensor(f"{prefix}.weight_scale_inv", "F32", (-(-rows // BLOCK), -(-columns // BLOCK)))


def shards() -> Iterator[tuple[str, list[Tensor]]]:
    """Shards in order, cut where the running sum of bytes passes the next 158th part."""
    parts: list[list[Tensor]] = [[] for _ in range(SHARDS)]
    done = 0
    for tensor in tensors():
        parts[done * SHARDS // DATA_BYTES].append(tensor)
        done += tensor.bytes
    for number, part in enumerate(parts, 1):
        yield f"model-{number:05}-of-{SHARDS:06}.safetensors", part


def header(part: list[Tensor]) -> tuple[bytes, int]:
    """A shard's header as the safetensors library lays it out, and its bytes of data.

    Widest dtypes first, then by name; data in that order; padded to 8 bytes with spaces.
    """
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in sorted(part, key=lambda row: (-_SIZES[row.dtype], row.name)):
        start, end = end, end + prod(shape) * _SIZES[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), end


def write(folder: str) -> None:
    """Write shards, index and config.json into `folder`, made if it is not there."""
    os.makedirs(folder, exist_ok=True)
    weight_map: dict[str, str] = {}
    for file, part in shards():
        text, data_bytes = header(part)
        with open(os.path.join(folder, file), "wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + data_bytes)
        weight_map.update((tensor.name, file) for tensor in part)
    index = {"metadata": {"total_size": DATA_BYTES}, "weight_map": dict(sorted(weight_map.items()))}
    for file, document in ((INDEX, index), ("config.json", CONFIG)):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
            json.dump(document, out, indent=2)


def bare_loop(folder: str) -> int:
    """Read and `json.loads` every header and the index, nothing more: how many tensors."""
    with open(os.path.join(folder, INDEX), "rb") as index:
        files = sorted(set(json.loads(index.read())["weight_map"].values()))
    count = 0
    for file in files:
        with open(os.path.join(folder, file), "rb") as shard:
            entries = json.loads(shard.read(int.from_bytes(shard.read(8), "little")))
        entries.pop("__metadata__", None)
        count += len(entries)
    return count


def main(command: str, folder: str) -> int:
    if command == "write":
        write(folder)
        return 0
    count = bare_loop(folder)
    print(f"{count:,} tensors")
    return count != TENSORS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
