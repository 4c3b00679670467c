"""The buffer that llama.cpp computes in, for models of attention and feed-forward blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.gguf import cache as gguf_cache
from modelscope_cli.analysis.memory.gguf.cache import UBATCH, Layer, Layers, Tokens, padded
from modelscope_cli.analysis.memory.gguf.keys import Keys
from modelscope_cli.analysis.memory.kv.settings import NotKnown
from modelscope_cli.facts import Unknown

_FLOAT32, _FLOAT16 = 4, 2
_REASON = "llama.cpp's compute buffer, by a formula that fits runs of its CPU backend"


class Compute(NamedTuple):
    """Bytes of the compute buffer, why they are no certainty, and what they are of."""

    bytes: int | Unknown
    reason: str
    note: str | None = None


def compute_buffer(metadata: Mapping[str, Any], tokens: Tokens) -> Compute:
    """What the graph of 512 tokens is computed in, logits of one token for each sequence.

    At once there are five vectors of the hidden size of each token and either three of the
    feed-forward block (of all active experts) or two of the queries, in float32, and a mask of
    each kind of attention in float16. Run against llama.cpp of October 2026: Gemma 3 270M
    (23.28 MiB at 4,096 tokens) and ten shapes of Llama, dense and experts, 256 to 8,192 tokens.
    """
    keys = Keys(metadata)
    try:
        size = _bytes(keys, gguf_cache.layers(keys), tokens)
    except NotKnown as why:
        return Compute(Unknown(str(why)), str(why))
    if isinstance(size, Unknown):
        return Compute(size, size.reason)
    return Compute(size, _REASON, "llama.cpp's compute buffer of 512 tokens at once")


def _bytes(keys: Keys, found: Layers, tokens: Tokens) -> int | Unknown:
    if not gguf_cache.is_known(keys) or found.states.layers or not found.attention:
        name = keys.architecture
        return Unknown(f"llama.cpp's compute buffer is not known here for {name}")
    if any(layer.kind == "latent" for layer in found.attention):
        return Unknown("llama.cpp's compute buffer is not known here for latent attention")
    cells = padded(tokens.context)
    together = min(UBATCH, cells * tokens.batch)
    width = 5 * keys.number("embedding_length") + max(3 * _forward(keys), 2 * _queries(keys, found))
    masks = sum(_mask_cells(layer, found, cells) for layer in _kinds(found))
    return together * (width * _FLOAT32 + masks * _FLOAT16)


def _forward(keys: Keys) -> int:
    """Widest feed-forward block of a token: the dense one, or its experts together."""
    dense = max(keys.per_layer("feed_forward_length", [0] * keys.layers))
    used = max(keys.per_layer("expert_used_count", [0] * keys.layers))
    expert = max(keys.per_layer("expert_feed_forward_length", [dense] * keys.layers))
    return max(dense, used * expert)


def _queries(keys: Keys, found: Layers) -> int:
    heads = max(keys.per_layer("attention.head_count", [0] * keys.layers))
    return heads * max(layer.heads[0] for layer in found.attention)


def _kinds(found: Layers) -> list[Layer]:
    """One layer of each kind: they share a mask."""
    return list({layer.kind: layer for layer in found.attention}.values())


def _mask_cells(layer: Layer, found: Layers, cells: int) -> int:
    return min(cells, padded(found.window + UBATCH)) if layer.kind == "sliding" else cells
