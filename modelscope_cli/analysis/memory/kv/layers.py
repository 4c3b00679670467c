"""How many layers of which type a decoder has, never longer than the configuration's own lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv.held import Held, constant, growing
from modelscope_cli.analysis.memory.kv.rules import HEADS, INDEXER, held, is_latent
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings, quoted
from modelscope_cli.analysis.memory.kv.states import HIDDEN

_LAYERS = (
    "decoder_layers",
    "num_decoder_layers",
    "decoder_num_hidden_layers",
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
)
_MOST_LAYERS = 4_096  # the deepest published model has a few hundred
_SHARED = "dummy"
_LARGEST = 1_000  # of a factor
_BLOCKS = {"recurrent": "linear_attention", "attention": "sliding_attention"}


class Layers(NamedTuple):
    """`count` layers that each keep `held`."""

    count: int  # type: ignore[assignment]  # not tuple's
    held: list[Held]


def layers(settings: Settings, tokens: int) -> list[Layers]:
    """What the layers of a decoder keep of `tokens` tokens. Raises NotKnown."""
    model_type = settings.raw("model_type")
    if isinstance(model_type, str) and model_type in _SPECIAL:
        return list(_SPECIAL[model_type](settings, tokens))
    if settings.has("prompt_types"):  # CPM-Ant puts a learned prompt before every text
        tokens += settings.number_or(0, "prompt_length", least=0)
    kinds = _types(settings, layer_count(settings))
    return [
        Layers(count, held(layer_type, settings.overridden(dict(own)) if own else settings, tokens))
        for (layer_type, own), count in kinds.items()
    ]


def layer_count(settings: Settings) -> int:
    """Layers of the decoder. Raises NotKnown. NemotronH lists their types and no number."""
    named = settings.list_of("layer_types")
    count = len(named) if named and not settings.has(*_LAYERS) else settings.number(*_LAYERS)
    if count > _MOST_LAYERS:
        raise NotKnown(f"{settings.used(*_LAYERS)} is {quoted(count)}")
    return count


_Type = tuple[str, tuple[tuple[str, Any], ...]]


def _types(settings: Settings, count: int) -> Mapping[_Type, int]:
    """Layer types with what overrides the configuration in them, each with its layers."""
    named = settings.list_of("layer_types") or _cycled(settings, count)
    sharing = _shared(settings, count)
    overrides = _Overrides(settings, count)
    if named is None and not overrides:
        own = count - sharing
        return {(kind, ()): n for kind, n in ((_only_type(settings), own), (_SHARED, sharing)) if n}
    if named is not None and len(named) < count:
        raise NotKnown(f"layer_types names {len(named)} of {count} layers")
    found: Counter[_Type] = Counter()
    for layer in range(count):
        own_settings = overrides.of(layer)
        kind = _SHARED if layer >= count - sharing else overrides.fixed.get(layer)
        if kind is None and named is not None:
            kind = str(named[layer])
        found[kind or _only_type(settings.overridden(dict(own_settings))), own_settings] += 1
    return found


def _cycled(settings: Settings, count: int) -> list[str] | None:
    """RecurrentGemma's blocks, over and over."""
    blocks = settings.list_of("block_types")
    if not blocks:
        return None
    return [_BLOCKS.get(str(blocks[layer % len(blocks)]), "") for layer in range(count)]


class _Overrides:
    """What single layers have of their own."""

    def __init__(self, settings: Settings, count: int) -> None:
        own, indexers = settings.raw("per_layer_config"), settings.list_of("indexer_types")
        # Written with as many digits as the last layer has: "05".
        self._own = {
            int(key): value
            for key, value in (own.items() if isinstance(own, Mapping) else ())
            if str(key).isdecimal() and len(str(key)) <= len(str(_MOST_LAYERS))
        }
        self._indexers = indexers if indexers is not None and len(indexers) >= count else None
        roped = settings.list_of("no_rope_layers") if is_latent(settings) else None
        self._roped = roped if roped is not None and len(roped) >= count else None
        # Of mllama: they attend to the image, and keep nothing without one.
        crossing = settings.list_of("cross_attention_layers") or ()
        self.fixed = {layer: _SHARED for layer in crossing if isinstance(layer, int)}
        sources = settings.list_of("kv_source_layers") or ()
        self.fixed |= {layer: _SHARED for layer, source in enumerate(sources) if source != layer}

    def __bool__(self) -> bool:
        return bool(self._own or self._indexers or self._roped or self.fixed)

    def of(self, layer: int) -> tuple[tuple[str, Any], ...]:
        """Keys and values, as something that can be counted."""
        said = self._own.get(layer)
        found = tuple(
            (str(key), value)
            for key, value in (said.items() if isinstance(said, Mapping) else ())
            if value is None or isinstance(value, int | float | str)
        )
        if self._indexers is not None and isinstance(self._indexers[layer], str):
            found += ((INDEXER, self._indexers[layer]),)
        if self._roped is not None and self._roped[layer] == 0:  # 0 is without, as in Llama 4
            found += (("qk_rope_head_dim", 0),)
        return found


def _shared(settings: Settings, count: int) -> int:
    """The last layers, which read the keys and values of others: Gemma 3n and 4."""
    shared = settings.number_or(0, "num_kv_shared_layers", least=0)
    if shared >= count > 0 and shared:
        raise NotKnown(f"num_kv_shared_layers is {shared} of {count} layers")
    return shared


def _only_type(settings: Settings) -> str:
    """As transformers infers it without `layer_types`: any window makes a layer slide."""
    if settings.has("sliding_window"):
        return "sliding_attention"
    return "chunked_attention" if settings.has("attention_chunk_size") else "full_attention"


def _longcat(settings: Settings, tokens: int) -> Iterator[Layers]:
    """LongCat: every layer has two attentions, each with a cache."""
    count = settings.number("num_layers")
    yield Layers(2 * count, held("full_attention", settings, tokens))


def _rwkv(settings: Settings, tokens: int) -> Iterator[Layers]:
    hidden = settings.number(*HIDDEN)
    inner = settings.number_or(hidden, "attention_hidden_size")
    count = layer_count(settings)
    yield Layers(count, [constant("linear", states=2 * hidden, float32=3 * inner)])


def _xlstm(settings: Settings, tokens: int) -> Iterator[Layers]:
    heads = settings.number(*HEADS)
    keys, values = (_xlstm_head(settings, f"{name}_dim_factor", heads) for name in ("qk", "v"))
    count = settings.number("num_blocks", *_LAYERS)
    yield Layers(count, [constant("linear", states=heads * (keys * values + keys + 1))])


def _xlstm_head(settings: Settings, factor: str, heads: int) -> int:
    share = settings.raw(factor)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < _LARGEST:
        raise NotKnown(f"{factor} is {quoted(share)}")
    return int((settings.number(*HIDDEN) * share + 63) // 64) * 64 // heads


def _xlnet(settings: Settings, tokens: int) -> Iterator[Layers]:
    """Its memory is the inputs of each layer."""
    kept = min(tokens, settings.number_or(tokens, "mem_len"))
    count = layer_count(settings)
    yield Layers(count, [growing("full", settings.number(*HIDDEN), kept)])


def _reformer(settings: Settings, tokens: int) -> Iterable[Layers]:
    raise NotKnown("Reformer keeps hidden states and hash buckets, for which there is no rule")


# Models whose cache is not the one that the others share, by model type.
_SPECIAL: dict[str, Callable[[Settings, int], Iterable[Layers]]] = {
    "longcat_flash": _longcat,
    "reformer": _reformer,
    "rwkv": _rwkv,
    "xlnet": _xlnet,
    "xlstm": _xlstm,
}
