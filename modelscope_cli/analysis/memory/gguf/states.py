"""What llama.cpp keeps of a sequence whatever its length: states of recurrent layers, in float32.

The sizes are those of its `llama_hparams::n_embd_r` and `n_embd_s`, the layers those of each
model's `load_arch_hparams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.analysis.memory.gguf.keys import Keys

RECURRENT = {
    "mamba": "ssm",
    "mamba2": "ssm",
    "rwkv6": "linear",
    "rwkv6qwen2": "linear",
    "rwkv7": "linear",
    "arwkv7": "linear",
}
# A layer without key and value heads is recurrent.
BY_HEADS = {
    "jamba": "ssm",
    "granitehybrid": "ssm",
    "plamo2": "ssm",
    "nemotron_h": "ssm",
    "nemotron_h_moe": "ssm",
    "lfm2": "conv",
    "lfm2moe": "conv",
    "kimi-linear": "linear",
}
BY_INTERVAL = {"qwen3next": "linear", "qwen35": "linear", "qwen35moe": "linear"}
BOTH = {"falcon-h1": "ssm"}  # every layer has attention and a state
ARCHITECTURES = {**RECURRENT, **BY_HEADS, **BY_INTERVAL, **BOTH}


class States(NamedTuple):
    """`layers` recurrent blocks that keep `values` each; `attend`: which blocks have attention."""

    kind: str
    layers: int
    values: int
    attend: Sequence[bool]


def states(keys: Keys, kv_heads: Sequence[int]) -> States:
    """The recurrent side of a model. Raises NotKnown where the metadata makes no sense."""
    name, trunk = keys.architecture, keys.trunk
    recurrent, attend = _layers(keys, kv_heads)
    count = sum(recurrent[:trunk])
    return States(ARCHITECTURES.get(name, "ssm"), count, _values(keys) if count else 0, attend)


def _layers(keys: Keys, kv_heads: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Which blocks are recurrent, and which attend."""
    name, count = keys.architecture, keys.layers
    if name in RECURRENT:
        return [True] * count, [False] * count
    if name in BOTH:
        return [True] * count, [True] * count
    if name in BY_INTERVAL:
        recurrent = _by_interval(keys)
    elif name in BY_HEADS:
        recurrent = [heads == 0 for heads in kv_heads]
    else:
        return [False] * count, [True] * count
    attend = [not each for each in recurrent]
    if name.startswith("nemotron_h"):  # its feed-forward layers keep nothing
        empty = [size == 0 for size in keys.per_layer("feed_forward_length", [0] * count)]
        recurrent = [a and b for a, b in zip(recurrent, empty, strict=True)]
        attend = [a and b for a, b in zip(attend, empty, strict=True)]
    return recurrent, attend


def _by_interval(keys: Keys) -> list[bool]:
    listed = keys.raw("attention.recurrent_layers")
    if listed is not None:
        return [bool(each) for each in keys.per_layer("attention.recurrent_layers", ())]
    interval = keys.number("full_attention_interval", 4) or 1
    return [(at + 1) % interval != 0 for at in range(keys.layers)]


def _values(keys: Keys) -> int:
    """Values of one recurrent block and sequence: of its convolution and of its state."""
    width = keys.number("embedding_length")
    head = keys.number("wkv.head_size", 0)
    if head:
        return width * (keys.number("token_shift_count", 2) + head)
    window = keys.number("shortconv.l_cache", 0)
    if window:
        return width * (window - 1)
    kernel = keys.number("ssm.conv_kernel")
    delta = keys.number("kda.head_dim", 0)
    if delta:
        heads = keys.per_layer("attention.head_count", [0] * keys.layers)[0]
        return heads * delta * (3 * max(kernel - 1, 0) + delta)
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    groups = keys.number("ssm.group_count", 0)
    return max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner
