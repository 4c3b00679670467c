"""Which layers of a GGUF llama.cpp lets see a window only: `load_arch_hparams` of its models."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.memory.gguf.keys import Keys
from modelscope_cli.analysis.memory.kv.settings import NotKnown

_WINDOW, _PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"


class _Rule(NamedTuple):
    """Of each `period` layers the last (with `first` the first) sees everything.

    `default` is the window where the file names none, `always` whatever it names. Period 0: the
    file lists the layers.
    """

    period: int
    first: bool = False
    default: int = 0
    always: int = 0
    only_layers: int = 0  # another number of layers has no windows


_RULES = {
    "afmoe": _Rule(4),
    "cohere2": _Rule(4),
    "cohere2moe": _Rule(4, first=True),
    "exaone-moe": _Rule(4, default=128),
    "exaone4": _Rule(4, default=4096, only_layers=64),
    "gemma2": _Rule(2, default=4096),
    "gemma3": _Rule(6),
    "gemma3n": _Rule(5),
    "gemma4": _Rule(0),
    "gpt-oss": _Rule(2),
    "granite_swa": _Rule(0),
    "laguna": _Rule(4, first=True),
    "llama4": _Rule(4, default=8192, always=8192),
    "maple": _Rule(0),
    "mellum": _Rule(4),
    "mimo2": _Rule(0),
    "muse-glimmer": _Rule(4),
    "olmo2": _Rule(4),
    "plamo3": _Rule(8),
    "smallthinker": _Rule(4, first=True, always=4096),
    "spark2_5": _Rule(0),
    "step35": _Rule(0),
}
# Every layer with attention slides, where there is a window.
_ALL = ("lfm2",)
ARCHITECTURES = (*_RULES, *_ALL)


class Windows(NamedTuple):
    """Tokens that a sliding layer sees, 0 where none slides, and which of the blocks do."""

    window: int
    slides: tuple[bool, ...]


def windows(keys: Keys) -> Windows:
    """Which blocks slide. Raises NotKnown where the metadata makes no sense."""
    layers = keys.layers
    if keys.architecture in _ALL:
        window = keys.number(_WINDOW, 0)
        return Windows(window, (window > 0,) * layers)
    rule = _RULES.get(keys.architecture)
    if rule is None or (rule.only_layers and keys.trunk != rule.only_layers):
        return Windows(0, (False,) * layers)
    window = keys.number(_WINDOW, rule.default)
    if not window:
        return Windows(0, (False,) * layers)
    return Windows(rule.always or window, tuple(_slides(keys, rule)))


def _slides(keys: Keys, rule: _Rule) -> list[bool]:
    listed = keys.raw(_PATTERN)
    if isinstance(listed, list):
        return [bool(each) for each in keys.per_layer(_PATTERN, ())]
    if not rule.period:
        raise NotKnown(f"the metadata has no list {keys.architecture}.{_PATTERN}")
    period = keys.number(_PATTERN, rule.period)
    return [at < keys.trunk and _within(at, period, rule.first) for at in range(keys.layers)]


def _within(layer: int, period: int, first: bool) -> bool:
    if not period:
        return True
    return layer % period != 0 if first else layer % period < period - 1
