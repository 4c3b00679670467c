"""The cache of a GGUF: as llama.cpp allocates it, or as transformers would hold it.

llama.cpp's is all there from the start: `llama_kv_cache`, `llama_kv_cache_iswa` and
`llama_memory_recurrent`, as of October 2026, with flash attention (its default on a GPU).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.gguf import states as gguf_states
from modelscope_cli.analysis.memory.gguf import windows as gguf_windows
from modelscope_cli.analysis.memory.gguf.architectures import (
    DIFFUSION,
    ENCODERS,
    OF_THEIR_OWN,
    PLAIN,
)
from modelscope_cli.analysis.memory.gguf.keys import Keys
from modelscope_cli.analysis.memory.gguf.states import States
from modelscope_cli.analysis.memory.kv.cache import KINDS, CacheLayers, KVCache
from modelscope_cli.analysis.memory.kv.settings import NotKnown
from modelscope_cli.dtypes import DTYPES, DType
from modelscope_cli.facts import Unknown

LLAMA_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q5_0", "Q5_1")
DEFAULT_TYPE = "F16"
PAD = 256  # cells; contexts and windows are rounded up to it
UBATCH = 512  # tokens computed at once: a window's cells must hold them too
_FLOAT32 = 4

_KNOWN = PLAIN | {*gguf_windows.ARCHITECTURES, *gguf_states.ARCHITECTURES}
_KV_FROM_START = {"gemma3n": 20}  # its later blocks use these ones' keys and values


class Layer(NamedTuple):
    """A block with attention: values kept of each token, and how wide a head is."""

    kind: str
    key_width: int
    value_width: int
    heads: tuple[int, int]  # widths of one key and of one value


class Layers(NamedTuple):
    """All that a model keeps. `window` is what its sliding layers see, 0 where none slides."""

    attention: tuple[Layer, ...]
    states: States
    window: int
    shared: int = 0  # blocks that use another one's


class Tokens(NamedTuple):
    """What is in the cache: so many sequences of so many tokens."""

    batch: int
    context: int


def llama(metadata: Mapping[str, Any], tokens: Tokens, dtype: str) -> KVCache | Unknown:
    """What llama.cpp allocates for `batch` sequences (`--parallel`) of `context` tokens each."""
    keys = Keys(metadata)
    try:
        found = layers(keys)
        cells = padded(tokens.context)
        window = min(cells, padded(found.window + UBATCH)) if found.window else 0
        rows = [
            _allocated(kind, of_kind, window if kind == "sliding" else cells, tokens, dtype)
            for kind, of_kind in _by_kind(found)
        ]
    except NotKnown as why:
        return Unknown(str(why))
    rows += _constant(found, tokens)
    basis = "exact" if not rows or is_known(keys) else "estimate"
    return _summed(rows, basis, _note(keys, found, cells))


def transformers(metadata: Mapping[str, Any], tokens: Tokens, dtype: str) -> KVCache | Unknown:
    """What transformers would hold of the same layers, once their weights are dequantized."""
    try:
        found = layers(Keys(metadata))
        rows = [_held(kind, group, found, tokens, dtype) for kind, group in _by_kind(found)]
    except NotKnown as why:
        return Unknown(str(why))
    if found.states.layers:
        return Unknown("what transformers keeps of recurrent layers is not told by a GGUF")
    rows += _constant(found, tokens)
    return _summed(rows, "estimate", None if rows else _NONE)


_NONE = "encoders have none"


def is_known(keys: Keys) -> bool:
    """Whether what llama.cpp makes for that architecture was looked up."""
    return keys.architecture in _KNOWN


def context_limit(metadata: Mapping[str, Any]) -> int | None:
    """The context that it was trained for."""
    try:
        return Keys(metadata).number("context_length", 0) or None
    except NotKnown:
        return None


def padded(cells: int) -> int:
    """Cells that llama.cpp makes for so many tokens."""
    return -(-cells // PAD) * PAD


def layers(keys: Keys) -> Layers:
    """What each block keeps. Raises NotKnown where the metadata makes no sense."""
    name = keys.architecture
    if not name:
        raise NotKnown("the metadata names no architecture")
    if name in ENCODERS | DIFFUSION:
        return Layers((), States("ssm", 0, 0, ()), 0)
    if name in OF_THEIR_OWN:
        raise NotKnown(f"llama.cpp has a kind of cache of its own for {name}")
    heads = keys.per_layer("attention.head_count", [0] * keys.layers)
    kv_heads = keys.per_layer("attention.head_count_kv", heads)
    states = gguf_states.states(keys, kv_heads)
    window, slides = gguf_windows.windows(keys)
    made = _with_own_cache(keys)
    widths = _widths(keys, heads[0])
    attention = [
        _layer(widths, kv_heads[at], slides[at]) for at in range(made) if states.attend[at]
    ]
    kept = tuple(layer for layer in attention if layer.key_width + layer.value_width)
    return Layers(kept, states, window, keys.trunk - made)


def _with_own_cache(keys: Keys) -> int:
    shared = keys.number("attention.shared_kv_layers", 0) if keys.architecture == "gemma4" else 0
    first = _KV_FROM_START.get(keys.architecture, keys.trunk - shared)
    return max(0, min(first, keys.trunk))


class _Widths(NamedTuple):
    """Of a head: key and value, the same of sliding layers; `latent`: no values are kept."""

    full: tuple[int, int]
    sliding: tuple[int, int]
    latent: bool


def _widths(keys: Keys, heads: int) -> _Widths:
    if not heads:
        return _Widths((0, 0), (0, 0), latent=False)
    width = keys.number("embedding_length") // heads
    key = keys.number("attention.key_length", width)
    value = keys.number("attention.value_length", width)
    sliding = (
        keys.number("attention.key_length_swa", key),
        keys.number("attention.value_length_swa", value),
    )
    latent = keys.number("attention.key_length_mla", 0) > 0
    return _Widths((key, value), sliding, latent and keys.number("attention.value_length_mla") > 0)


def _layer(widths: _Widths, heads: int, slides: bool) -> Layer:
    key, value = widths.sliding if slides else widths.full
    if widths.latent:  # keys hold all: the latent and the rotated part, of one head
        return Layer("latent", key * heads, 0, (key, 0))
    return Layer("sliding" if slides else "full", key * heads, value * heads, (key, value))


def _by_kind(found: Layers) -> Iterator[tuple[str, list[Layer]]]:
    for kind in KINDS:
        if group := [layer for layer in found.attention if layer.kind == kind]:
            yield kind, group


def _allocated(
    kind: str, group: Iterable[Layer], cells: int, tokens: Tokens, dtype: str
) -> CacheLayers:
    each, count = DTYPES[dtype], 0
    row = 0
    for layer in group:
        row += _row_bytes(layer, each)
        count += 1
    grows = 0 if kind == "sliding" and cells < padded(tokens.context) else row * tokens.batch
    size = row * cells * tokens.batch
    return CacheLayers(kind, count, size, size, grows, size)


def _row_bytes(layer: Layer, dtype: DType) -> int:
    """Bytes of one token's key and value. Raises NotKnown where they fill no whole blocks."""
    for width in layer.heads:
        if width % dtype.block_elements:
            what = f"{dtype.name.lower()} packs {dtype.block_elements} values, a head has {width}"
            raise NotKnown(f"{what}: llama.cpp refuses it")
    sizes = (dtype.size(width) for width in (layer.key_width, layer.value_width))
    return sum(size or 0 for size in sizes)


def _held(kind: str, group: list[Layer], found: Layers, tokens: Tokens, dtype: str) -> CacheLayers:
    """A window keeps one token less than it sees, as transformers' own layers do."""
    width = sum(layer.key_width + layer.value_width for layer in group)
    each = width * DTYPES[dtype].block_bytes * tokens.batch
    kept = tokens.context
    if kind == "sliding":
        kept = min(kept, max(found.window - 1, 1))
    grows = each if kept == tokens.context else 0
    return CacheLayers(kind, len(group), each * kept, each * tokens.context, grows, each * kept)


def _constant(found: Layers, tokens: Tokens) -> Iterator[CacheLayers]:
    """Recurrent states, and the layers that keep nothing of their own."""
    kind, count, values, _ = found.states
    if count:
        size = count * values * _FLOAT32 * tokens.batch
        yield CacheLayers(kind, count, size, size, 0, size)
    if found.shared:
        yield CacheLayers("shared", found.shared, 0, 0, 0, 0)


def _summed(rows: list[CacheLayers], basis: str, note: str | None) -> KVCache:
    columns = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)]
    size, peak, token, paged = columns or (0, 0, 0, 0)
    return KVCache(tuple(rows), size, peak, token, paged, basis, note)


def _note(keys: Keys, found: Layers, cells: int) -> str:
    if not found.attention and not found.states.layers:
        return _NONE
    text = f"llama.cpp: {cells:,} cells, allocated at once"
    if not found.attention:
        text = "llama.cpp: states in float32, the same for any context"
    if found.window:
        text += f", sliding layers {min(cells, padded(found.window + UBATCH)):,} (no --swa-full)"
    if not is_known(keys):
        text += f"; {keys.architecture} is not known here, taken as attention in every layer"
    return text
