"""How many tokens a model was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.memory.kv.settings import quoted
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import configs

_LIMITS = (
    "max_position_embeddings",
    "max_target_positions",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "context_length",
    "n_ctx",
    "model_max_length",
)
_LARGEST = 1 << 40


def context_limit(config: Mapping[str, Any]) -> int | None:
    """Tokens, of the decoder where there is one; None where nothing limits them, or says so.

    YaRN stretches `original_max_position_embeddings` by its factor: where a configuration keeps
    the short limit beside it, the longer one counts. Other kinds of rope scaling are in
    `max_position_embeddings` already.
    """
    decoder = configs.text(config)
    for level in (decoder, configs.effective(config)):
        for key in _LIMITS:
            value = _count(level.get(key))
            if value is not None:
                return max(value, _stretched(decoder) or 0)
    return None


def why_no_limit(config: Mapping[str, Any]) -> Unknown:
    """Why `context_limit` has no answer: the value that is no number of tokens, or none at all."""
    for level in (configs.text(config), configs.effective(config)):
        for key in _LIMITS:
            if level.get(key) is not None:
                return Unknown(f"{key} is {quoted(level[key])}")
    return Unknown("the configuration sets no limit")


def _stretched(decoder: Mapping[str, Any]) -> int | None:
    for key in ("rope_parameters", "rope_scaling"):
        rope = decoder.get(key)
        if isinstance(rope, Mapping) and rope.get("rope_type", rope.get("type")) == "yarn":
            first, factor = rope.get("original_max_position_embeddings"), rope.get("factor")
            short = _count(first)
            if short is not None and isinstance(factor, int | float) and 1 <= factor < _LARGEST:
                return int(short * factor)
    return None


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and 0 < value <= _LARGEST else None
