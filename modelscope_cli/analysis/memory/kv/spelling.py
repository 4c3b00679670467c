"""What configurations on the Hub write another way than transformers' classes, put as theirs.

The classes take these keys out while they read a file, so no attribute is left to know them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_DEEPEST = 4  # sub-configurations within each other
_MOST_LAYERS = 4_096
_BLOCKS = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
_INDEXERS = {"F": "full", "S": "shared"}
_DECODERS = ("decoder", "generator", "text_config", "decoder_config", "thinker_config")
_TYPES = ("layer_types", "layers_block_type")
_Pairs = Iterator[tuple[str, Any]]


def spelled(config: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The configuration with such keys added at every level; what it says itself stays."""
    found = {
        key: spelled(value, depth + 1) if isinstance(value, Mapping) and depth < _DEEPEST else value
        for key, value in config.items()
    }
    for key, spelling in _SPELLINGS.items():
        if config.get(key) is not None:
            for name, value in spelling(config, config[key]):
                if found.get(name) is None:
                    found[name] = value
    return found


def layer_types_said(config: Mapping[str, Any]) -> list[Any] | None:
    """The list that the file itself gives for its decoder; no class changes it but by renaming,
    save those with an indexer.
    """
    level: Mapping[str, Any] = config
    for _ in range(_DEEPEST):
        inner = next((level[key] for key in _DECODERS if isinstance(level.get(key), Mapping)), None)
        if inner is None:
            break
        level = inner
    said = next((level[key] for key in _TYPES if isinstance(level.get(key), list)), None)
    return None if "index_head_dim" in level else said


def _block_pattern(config: Mapping[str, Any], pattern: Any) -> _Pairs:
    """Nemotron-H: "M-M*"."""
    if (
        isinstance(pattern, str)
        and len(pattern) <= _MOST_LAYERS
        and not set(pattern) - set(_BLOCKS)
    ):
        yield "layers_block_type", [_BLOCKS[letter] for letter in pattern]


def _linear_attention(config: Mapping[str, Any], said: Any) -> _Pairs:
    """Kimi Linear: an object of its own, which counts layers from 1."""
    if not isinstance(said, Mapping):
        return
    for name, key in (
        ("linear_head_dim", "head_dim"),
        ("linear_num_heads", "num_heads"),
        ("linear_conv_kernel_dim", "short_conv_kernel_size"),
    ):
        yield name, said.get(key)
    types: dict[Any, str] = {}
    for key, kind in (("full_attn_layers", "full_attention"), ("kda_layers", "linear_attention")):
        listed = said.get(key)
        for layer in listed if isinstance(listed, list) else ():
            if isinstance(layer, int):
                types[layer] = kind
    if types and sorted(types) == list(range(1, len(types) + 1)):
        yield "layer_types", [types[layer] for layer in sorted(types)]


def _indexers(config: Mapping[str, Any], pattern: Any) -> _Pairs:
    """GLM: "FSSS", a layer a letter."""
    if isinstance(pattern, list):
        yield "indexer_types", pattern
    if isinstance(pattern, str) and not set(pattern) - set(_INDEXERS):
        yield "indexer_types", [_INDEXERS[letter] for letter in pattern]


def _indexer_every(config: Mapping[str, Any], every: Any) -> _Pairs:
    layers, offset = config.get("num_hidden_layers"), config.get("index_skip_topk_offset", 2)
    counts = (every, layers, offset)
    if not all(isinstance(count, int) and 0 <= count <= _MOST_LAYERS for count in counts):
        return
    if config.get("index_topk_pattern") is None:
        yield (
            "indexer_types",
            [
                "shared" if max(layer - offset + 1, 0) % max(every, 1) else "full"
                for layer in range(layers or 0)
            ],
        )


def _window(config: Mapping[str, Any], size: Any) -> _Pairs:
    yield "sliding_window", size


_SPELLINGS: dict[str, Callable[[Mapping[str, Any], Any], _Pairs]] = {
    "hybrid_override_pattern": _block_pattern,
    "linear_attn_config": _linear_attention,
    "index_topk_pattern": _indexers,
    "index_topk_freq": _indexer_every,
    "sliding_window_size": _window,
}
