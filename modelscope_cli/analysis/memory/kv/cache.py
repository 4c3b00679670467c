"""Bytes that a model keeps between tokens: keys and values, latents, states, per layer kind.

The figures are those of transformers 5's own caches; `paged_bytes` is what an engine would hold
whose cache is paged in blocks of 16 tokens and capped at the window, as vLLM's hybrid manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis.memory.kv.held import Held, growing
from modelscope_cli.analysis.memory.kv.known import known, needs
from modelscope_cli.analysis.memory.kv.layers import Layers, layer_count, layers
from modelscope_cli.analysis.memory.kv.limits import context_limit
from modelscope_cli.analysis.memory.kv.rules import INSTEAD, head_width, key_heads
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings
from modelscope_cli.analysis.memory.kv.spelling import layer_types_said, spelled
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import configs

if TYPE_CHECKING:
    from fractions import Fraction  # 3 ms

__all__ = ["CacheLayers", "KVCache", "context_limit", "kv_cache"]

KINDS = ("full", "sliding", "latent", "linear", "ssm", "conv", "cross", "shared")
EXACT, ESTIMATE = "exact", "estimate"
_QUANTIZED = (
    "values alone: transformers' QuantizedCache adds scales (fp8 8 bytes a layer, int4 two values "
    "of 16 bits for 64), keeps up to 128 new tokens unpacked and takes full attention only"
)
_DECODER_ALONE = "ForCausalLM"  # of a model that has an encoder elsewhere
_BYTE, _HALF, _FLOAT32 = 8, 16, 32  # bits


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


class Request(NamedTuple):
    """What is asked: sequences, tokens given to each, the encoder's tokens, and bits of a value.

    `state_bits` are of the model's own dtype, in which states of convolutions stay.
    """

    batch: int
    context: int
    encoder_context: int | None
    value_bits: int
    state_bits: int


def kv_cache(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int,
    context: int,
    dtype_bytes: Fraction | float,
    encoder_context: int | None = None,
    state_bytes: float | None = None,
) -> KVCache | Unknown:
    """What is kept after `context` tokens were given in one prefill to each of `batch` sequences.

    `dtype_bytes` is the size of a value in the cache (4 bits: 0.5), `state_bytes` that of the
    model's own dtype, in which states of convolutions stay whatever the cache's; without it, the
    cache's, at least 2. `encoder_context` are the encoder's output tokens, `context` if not said.
    """
    bits = int(dtype_bytes * _BYTE)
    state_bits = int(state_bytes * _BYTE) if state_bytes else max(bits, _HALF)
    request = Request(batch, context, encoder_context, bits, state_bits)
    try:
        fact = known(config, architecture)
    except NotKnown as why:
        return Unknown(str(why))
    if not fact.caches:
        return KVCache((), 0, 0, 0, 0, EXACT, fact.note)
    cache = counted(config, architecture, request)
    if isinstance(cache, Unknown):
        return cache
    notes = (fact.note, cache.note, _QUANTIZED if bits < _HALF else None)
    note = "; ".join(filter(None, notes)) or None
    return cache._replace(basis=EXACT if fact.exact and note is None else ESTIMATE, note=note)


def counted(
    config: Mapping[str, Any], architecture: str | None, request: Request
) -> KVCache | Unknown:
    """The same for a class that keeps a cache, known or not."""
    try:
        found, note = _found(spelled(config), architecture, request)
    except NotKnown as why:
        return Unknown(str(why))
    return _summed(found, request, note)


def _found(
    config: Mapping[str, Any], architecture: str | None, request: Request
) -> tuple[list[Layers], str | None]:
    top, decoder = Settings(configs.effective(config)), _decoder(config)
    tokens = request.context
    for key in needs({"model_type": decoder.raw("model_type")}):
        if not decoder.has(key, *INSTEAD.get(key, ())):
            raise NotKnown(f"what its layers are like ({key}) is not known")
    if not top.flag("is_encoder_decoder") or (architecture or "").endswith(_DECODER_ALONE):
        return _with_images(layers(decoder, tokens), decoder, request.encoder_context)
    seen, note = _encoder_tokens(top, request)
    if top.raw("model_type") == "musicgen_melody":  # what is encoded stands before the tokens
        return layers(decoder, tokens + seen + top.number("chroma_length")), note
    found = layers(decoder, tokens)
    width = 2 * key_heads(decoder) * head_width(decoder)
    found.append(Layers(layer_count(decoder), [_crossed(width, seen)]))
    return found, note


def decoder_of(config: Mapping[str, Any]) -> Settings:
    """The settings of the decoder, by which its layers are told."""
    return _decoder(spelled(config))


def _decoder(config: Mapping[str, Any]) -> Settings:
    said = layer_types_said(config)
    text = configs.text(config)
    return Settings(text if said is None else {**text, "layer_types": said})


def _with_images(
    found: list[Layers], decoder: Settings, seen: int | None
) -> tuple[list[Layers], str | None]:
    """Mllama's layers that attend to an image keep keys and values of its tokens alone."""
    crossing = decoder.list_of("cross_attention_layers")
    if not crossing or not seen:
        return found, None
    width = 2 * key_heads(decoder) * head_width(decoder)
    held = Layers(len(crossing), [_crossed(width, seen)])
    return [*found, held], f"with {seen:,} tokens of images"


def _encoder_tokens(top: Settings, request: Request) -> tuple[int, str | None]:
    if top.raw("model_type") == "whisper":  # its features are padded to 30 seconds, always
        return top.number("max_source_positions"), None
    if request.encoder_context is not None:
        return request.encoder_context, None
    return request.context, f"encoder input of {request.context:,} tokens assumed"


def _crossed(width: int, tokens: int) -> Held:
    return growing("cross", width, tokens)._replace(token=0)


def _summed(found: Iterable[Layers], request: Request, note: str | None) -> KVCache:
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
        ESTIMATE,
        note,
    )


def _added(a: CacheLayers, b: CacheLayers) -> CacheLayers:
    return CacheLayers(a.kind, *(left + right for left, right in zip(a[1:], b[1:], strict=True)))


def _row(kind: str, count: int, parts: list[Held], request: Request) -> CacheLayers:
    fixed = sum(p.states * request.state_bits + p.float32 * _FLOAT32 for p in parts)
    rows, each = request.batch * count, request.value_bits

    def size(values: int, other: int = fixed) -> int:
        return -(-(values * each + other) * rows // _BYTE)

    return CacheLayers(
        kind,
        count,
        size(sum(p.values for p in parts)),
        size(sum(p.peak for p in parts)),
        size(sum(p.token for p in parts), 0),
        size(sum(p.paged for p in parts)),
    )
