"""Where projections in the file are not as wide as the configuration makes them.

Only what transformers itself derives is compared: the rows of keys and values against heads times
width as the KV cache counts them, those of gate and up against the widths that are written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv.cache import decoder_of
from modelscope_cli.analysis.memory.kv.known import is_compared
from modelscope_cli.analysis.memory.kv.layers import layers
from modelscope_cli.analysis.memory.kv.rules import (
    HEAD_DIM,
    HEADS,
    KEY_HEADS,
    head_width,
    key_heads,
)
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings
from modelscope_cli.analysis.memory.kv.states import HIDDEN
from modelscope_cli.analysis.memory.weights.held import Held

CACHE, ACTIVATIONS = "kv_cache", "activations"
_TOKENS = 64  # any number; what the cache holds of so many tells its width
_PLAIN = ("full", "sliding")  # kinds of cache that hold what the two projections give
_VALUES = {"k_proj": "v_proj", "key": "value", "k": "v"}  # the modules of keys, and of values
_LINEAR = "linear"  # attention of that kind keeps states, whose widths are others
_GATES = (".mlp.gate_proj", ".mlp.up_proj")
_INNER = "intermediate_size"
_DEEPEST = 4  # configurations within configurations


class Contradiction(NamedTuple):
    """One sentence, and the parts of a footprint that rest on what is contradicted."""

    text: str
    spoils: tuple[str, ...] = ()


class Scope(NamedTuple):
    """An effective (sub-)configuration and the parameters it is of.

    `said` is the whole configuration as the file has it.
    """

    config: Mapping[str, Any]
    held: Sequence[Held]
    said: Mapping[str, Any]


def found(scope: Scope) -> Iterator[Contradiction]:
    """Each contradiction of one scope: of a decoder that is known to be counted right."""
    if not is_compared(scope.config):
        return
    settings = decoder_of(scope.config)
    for check in (_undivided, _shared_unevenly, _keys_and_values):
        try:
            yield from check(settings, scope)
        except NotKnown:  # no attention in it, or no rule for it
            continue
    yield from _gates(scope)


def _undivided(settings: Settings, scope: Scope) -> Iterator[Contradiction]:
    """A model's width that its heads do not divide, where nothing says how wide a head is."""
    hidden, heads = settings.number(*HIDDEN), settings.number(*HEADS)
    derived = not _is_said(scope.said, HEAD_DIM) and head_width(settings) == hidden // heads
    if hidden % heads and derived:
        yield Contradiction(
            f"{_named(settings, HIDDEN, scope)} is not divisible by "
            f"{_named(settings, HEADS, scope)}: transformers would refuse it",
            (CACHE, ACTIVATIONS),
        )


def _shared_unevenly(settings: Settings, scope: Scope) -> Iterator[Contradiction]:
    """Heads of queries that cannot share those of keys."""
    heads, keys = settings.number(*HEADS), key_heads(settings)
    if heads % keys:
        yield Contradiction(
            f"{_named(settings, HEADS, scope)} is not divisible by "
            f"{_named(settings, KEY_HEADS, scope)}: heads cannot share keys so",
            (CACHE, ACTIVATIONS),
        )


def _keys_and_values(settings: Settings, scope: Scope) -> Iterator[Contradiction]:
    """Projections of keys and values against what a token takes in the cache."""
    if not (pairs := list(_pairs(scope.held))):
        return
    cached = [held for each in layers(settings, _TOKENS) for held in each.held]
    widths = {held.peak // _TOKENS for held in cached if held.kind in _PLAIN}
    # The decoder's own layers are the shallowest; towers beside it lie deeper.
    own = min(map(_depth, scope.held))
    for keys, values in pairs:
        rows = [each.outputs // each.times for each in (keys, values)]
        if _depth(keys) == own and widths and sum(rows) not in widths:
            asked = " or ".join(f"{width:,}" for width in sorted(widths))
            yield Contradiction(
                f"{keys.shown()} and its values have {sum(rows):,} rows together, the "
                f"configuration asks for {asked}: {_heads(settings, scope)}; transformers would "
                "refuse it",
                (CACHE, ACTIVATIONS),
            )
            return


def _depth(held: Held) -> int:
    """How many modules down the layer is that it is in; beyond all where it is in none."""
    parts = held.template.split(".")
    return parts.index("*") if "*" in parts else _NO_LAYER


_NO_LAYER = 1 << 16


def _heads(settings: Settings, scope: Scope) -> str:
    """`num_key_value_heads 4 of width 16`, and which numbers the file does not say."""
    text = f"{key_heads(settings):,} heads of keys, {head_width(settings):,} wide"
    unsaid = [
        _named(settings, keys, scope)
        for keys in (HIDDEN, HEADS, KEY_HEADS)
        if settings.has(*keys) and not _is_said(scope.said, keys)
    ]
    return f"{text} ({', '.join(unsaid)})" if unsaid else text


def _pairs(held: Sequence[Held]) -> Iterator[tuple[Held, Held]]:
    """The weights of keys and of values that are side by side."""
    there = {(each.template, each.axes, each.first_module): each for each in held}
    for each in held:
        parent, _, leaf = each.module.rpartition(".")
        values = _VALUES.get(leaf)
        if values is None or not each.is_matrix or not each.is_as_in_file or _LINEAR in parent:
            continue
        place = each.first_module.removesuffix(leaf) + values
        other = there.get((f"{parent}.{values}.weight", each.axes, place))
        if other is not None and other.is_matrix:
            yield each, other


def _gates(scope: Scope) -> Iterator[Contradiction]:
    """An inner width that no number of the configuration is."""
    wanted = scope.config.get(_INNER)
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        return
    known = set(_integers(scope.config))
    for each in scope.held:
        rows = each.outputs // each.times
        if each.is_matrix and each.module.endswith(_GATES) and rows not in known:
            yield Contradiction(
                f"{each.shown()} has {rows:,} rows, {_INNER} is {wanted:,}: transformers would "
                "refuse it",
                (ACTIVATIONS,),
            )
            return


def _integers(config: Mapping[str, Any], depth: int = 0) -> Iterator[int]:
    for value in config.values():
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _integers(value, depth + 1)
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, int))


def _named(settings: Settings, keys: tuple[str, ...], scope: Scope) -> str:
    """`num_key_value_heads 4`, and whether that is only the class's default."""
    key = settings.used(*keys)
    default = "" if _is_said(scope.said, keys) else " by default, the file does not say"
    return f"{key} {settings.number(*keys):,}{default}"


def _is_said(config: Mapping[str, Any], keys: tuple[str, ...], depth: int = 0) -> bool:
    """Whether the file itself has one of the keys, at any level."""
    if any(config.get(key) is not None for key in keys):
        return True
    inner = (value for value in config.values() if isinstance(value, Mapping))
    return depth < _DEEPEST and any(_is_said(each, keys, depth + 1) for each in inner)
