"""How many layers a model has, by its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.memory.kv.settings import quoted
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import configs

_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_DECODER = ("num_decoder_layers", "decoder_layers")
_ENCODER = ("encoder_layers", "num_layers", "num_hidden_layers")
MAIN = "model"
_TEXT = ("text", "llm", "decoder")
_MOST = 10**6
_DEEPEST = 2


def layer_counts(config: Mapping[str, Any] | None) -> dict[str, int] | Unknown:
    """Layers by part: `model`, or `encoder` and `decoder`, or those of nested configurations.

    The first is the one that generates or, where none does, that reads text.
    """
    if not config:
        return Unknown("there is no configuration")
    whole = configs.effective(config)
    if whole.get("is_encoder_decoder") is True:
        found = {"decoder": _first(whole, _DECODER + _KEYS), "encoder": _first(whole, _ENCODER)}
    else:
        found = {MAIN: _first(whole, _KEYS)}
    counts = {name: count for name, count in found.items() if count is not None}
    return counts or _nested(whole) or _why_none(whole)


def _why_none(config: Mapping[str, Any]) -> Unknown:
    """The value that is no number of layers, where there is one."""
    for key in _KEYS + _DECODER:
        if config.get(key) is not None:
            return Unknown(f"{key} is {quoted(config[key])}")
    return Unknown("the configuration does not say")


def _nested(config: Mapping[str, Any], depth: int = 0) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, value in config.items():
        if not isinstance(value, Mapping) or not name.endswith("_config"):
            continue
        count, part = _first(value, _KEYS), name.removesuffix("_config")
        if count is not None:
            counts[part] = count
        elif depth < _DEEPEST:
            inside = _nested(value, depth + 1)
            counts |= {f"{part}.{other}": number for other, number in inside.items()}
    return dict(sorted(counts.items(), key=lambda item: not item[0].endswith(_TEXT)))


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST:
            return value
    return None
