"""Bytes that a model keeps between tokens: keys and values, latents, states, per layer kind.

The figures are those of transformers 5's own caches; `paged_bytes` is what an engine would hold
whose cache is paged in blocks of 16 tokens and capped at the window, as vLLM's hybrid manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv_held import Held, growing
from modelscope_cli.analysis.memory.kv_layers import Layers, layer_count, layers
from modelscope_cli.analysis.memory.kv_rules import head_width, key_heads
from modelscope_cli.analysis.memory.kv_settings import NotKnown, Settings
from modelscope_cli.facts import Unknown

KINDS = ("full", "sliding", "latent", "linear", "ssm", "conv", "cross", "shared")
_DECODER_ALONE = "ForCausalLM"  # of a model that has an encoder elsewhere
_FLOAT32 = 4
_HALF = 2


class CacheLayers(NamedTuple):
    """The layers of one kind together; a layer with attention and states counts in both kinds.

    `peak_bytes` is their storage just after the prompt was given at once; `bytes_per_token` what
    one more token adds.
    """

    kind: str
    count: int  # type: ignore[assignment]  # not tuple's
    bytes: int
    peak_bytes: int
    bytes_per_token: int
    paged_bytes: int


class KVCache(NamedTuple):
    """The layers' sums; `basis` is exact where a forward of that model type left these bytes."""

    layers: tuple[CacheLayers, ...]
    bytes: int
    peak_bytes: int
    bytes_per_token: int
    paged_bytes: int
    basis: str
    note: str | None


class _Request(NamedTuple):
    batch: int
    tokens: int
    value_bytes: Fraction
    state_bytes: Fraction


def kv_cache(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int,
    context: int,
    dtype_bytes: Fraction | float,
    encoder_context: int | None = None,
    state_bytes: Fraction | float | None = None,
) -> KVCache | Unknown:
    """What is kept after `context` tokens were given in one prefill to each of `batch` sequences.

    `dtype_bytes` is the size of a value in the cache (4 bits: 0.5), `state_bytes` that of the
    model's own dtype, in which states of convolutions stay whatever the cache's; without it, the
    cache's, at least 2. `encoder_context` are the encoder's output tokens, `context` if not said.
    """
    value_bytes = Fraction(dtype_bytes)
    own_bytes = Fraction(state_bytes) if state_bytes else max(value_bytes, Fraction(_HALF))
    request = _Request(batch, context, value_bytes, own_bytes)
    try:
        found, note = _found(config, architecture, context, encoder_context)
    except NotKnown as why:
        return Unknown(str(why))
    return _summed(found, request, note)


def _found(
    config: Mapping[str, Any], architecture: str | None, tokens: int, encoder_tokens: int | None
) -> tuple[list[Layers], str | None]:
    top, decoder = Settings(config), Settings(_text(config))
    found = layers(decoder, tokens)
    if not top.flag("is_encoder_decoder") or (architecture or "").endswith(_DECODER_ALONE):
        return found, None
    seen, note = _encoder_tokens(top, tokens, encoder_tokens)
    width = 2 * key_heads(decoder) * head_width(decoder)
    found.append(Layers(layer_count(decoder), [_crossed(width, seen)]))
    return found, note


def _encoder_tokens(top: Settings, tokens: int, said: int | None) -> tuple[int, str | None]:
    if top.raw("model_type") == "whisper":  # its features are padded to 30 seconds, always
        return top.number("max_source_positions"), None
    if said is not None:
        return said, None
    return tokens, f"encoder input of {tokens:,} tokens assumed"


def _crossed(width: int, tokens: int) -> Held:
    return growing("cross", width, tokens)._replace(token=0)


def _summed(found: Iterable[Layers], request: _Request, note: str | None) -> KVCache:
    rows: dict[str, CacheLayers] = {}
    for count, parts in found:
        for kind in dict.fromkeys(part.kind for part in parts):
            row = _row(kind, count, [part for part in parts if part.kind == kind], request)
            rows[kind] = _added(rows[kind], row) if kind in rows else row
    ordered = tuple(rows[kind] for kind in KINDS if kind in rows)
    return KVCache(
        ordered,
        sum(row.bytes for row in ordered),
        sum(row.peak_bytes for row in ordered),
        sum(row.bytes_per_token for row in ordered),
        sum(row.paged_bytes for row in ordered),
        "estimate",
        note,
    )


def _added(a: CacheLayers, b: CacheLayers) -> CacheLayers:
    return CacheLayers(a.kind, *(left + right for left, right in zip(a[1:], b[1:], strict=True)))


def _row(kind: str, count: int, parts: list[Held], request: _Request) -> CacheLayers:
    states = sum(p.states * request.state_bytes + p.float32 * _FLOAT32 for p in parts)
    batch, each = request.batch * count, request.value_bytes

    def size(values: int, fixed: Fraction | int) -> int:
        return ceil((values * each + fixed) * batch)

    return CacheLayers(
        kind,
        count,
        size(sum(p.values for p in parts), states),
        size(sum(p.peak for p in parts), states),
        size(sum(p.token for p in parts), 0),
        size(sum(p.paged for p in parts), states),
    )


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("decoder", "generator", "text_config", "decoder_config"):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            return inner
    return config
