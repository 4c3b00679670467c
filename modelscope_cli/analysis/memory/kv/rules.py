"""What an attention layer keeps, by the type that transformers gives it in `layer_types`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from modelscope_cli.analysis.memory.kv.held import Held, constant, growing, sliding
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings, divided, quoted
from modelscope_cli.analysis.memory.kv.states import HIDDEN, short_convolution, state

INDEXER = "indexer_type"  # of one layer; configurations have a list, `indexer_types`
HEADS = (
    "decoder_attention_heads",
    "decoder_num_attention_heads",
    "num_decoder_attention_heads",
    "num_attention_heads",
    "n_head",
    "num_heads",
    "n_heads",
)
KEY_HEADS = (
    "decoder_num_key_value_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "n_kv_heads",
    "multi_query_group_num",
)
HEAD_DIM = (
    "head_dim",
    "d_kv",
    "attention_head_dim",
    "attention_head_size",
    "dim_head",
    "kv_channels",
)
# What layers of one type have of their own: name here -> name of what it replaces.
_OF_WINDOWS = {
    "swa_num_attention_heads": "num_attention_heads",
    "swa_num_key_value_heads": "num_key_value_heads",
    "swa_head_dim": "head_dim",
    "swa_v_head_dim": "v_head_dim",
}
_OF_FULL = {
    "global_head_dim": "head_dim",
    "num_global_key_value_heads": "num_key_value_heads",
}

# Where a key is not written out, these say the same.
INSTEAD = {
    "layer_types": ("block_types",),
    "per_layer_config": (*_OF_FULL, *_OF_WINDOWS),
}


def full(settings: Settings, tokens: int) -> Iterable[Held]:
    """Keys and values of every token."""
    own = _of_full(settings)
    kind = "latent" if is_latent(own) else "full"
    yield growing(kind, width(own), tokens)


def windowed(settings: Settings, tokens: int, key: str = "sliding_window") -> Iterable[Held]:
    """Keys and values of the tokens in the window."""
    window = settings.number(key, least=0)
    own = _own(settings, _OF_WINDOWS)
    # MiMo's class doubles the heads of keys there, whatever its configuration calls them.
    twice = 2 if settings.raw("model_type") == "mimo_v2_flash" else 1
    yield sliding("sliding", twice * width(settings if twice > 1 else own), tokens, window)


def chunked(settings: Settings, tokens: int) -> Iterable[Held]:
    """Llama 4: kept as a window of one chunk; only the mask differs."""
    return windowed(settings, tokens, "attention_chunk_size")


def indexed(settings: Settings, tokens: int) -> Iterable[Held]:
    """DeepSeek sparse attention: the indexer's key of every token beside the rest."""
    yield growing("latent", width(settings), tokens)
    if settings.raw(INDEXER) == "shared":  # reads what the layer before has chosen
        return
    head_dim = settings.number("index_head_dim")
    # GLM-5 next keeps each key with its gate and a mark of padding.
    keys = growing("latent", 2 * head_dim + 1 if settings.has("index_kpool") else head_dim, tokens)
    if settings.raw("model_type") == "dots3_note_text":
        keys = Held("latent", float32=keys.values)
    yield keys


def linear(settings: Settings, tokens: int) -> Iterable[Held]:
    """The states alone."""
    yield state(settings)


def hybrid(settings: Settings, tokens: int) -> Iterable[Held]:
    """Attention and states side by side in one layer."""
    yield from full(settings, tokens)
    yield state(settings)


def hybrid_windowed(settings: Settings, tokens: int) -> Iterable[Held]:
    """The same with a window."""
    yield from windowed(settings, tokens)
    yield state(_own(settings, _OF_WINDOWS))


def convolution(settings: Settings, tokens: int) -> Iterable[Held]:
    """A short convolution in place of attention."""
    yield short_convolution(settings)


def nothing(settings: Settings, tokens: int) -> Iterable[Held]:
    """An MLP or experts alone; or keys and values that are another layer's."""
    yield constant("shared")


def heavily_compressed(settings: Settings, tokens: int) -> Iterable[Held]:
    """DeepSeek V4: a window, whose keys are its values, and one entry for every so many tokens."""
    head_dim = settings.number("head_dim")
    yield sliding("sliding", head_dim, tokens, settings.number("sliding_window", least=0))
    rate = settings.within("compress_rates").number("heavily_compressed_attention")
    yield _compressed(head_dim, head_dim, rate, tokens)


def compressed_sparse(settings: Settings, tokens: int) -> Iterable[Held]:
    """DeepSeek V4: entries that overlap, each of two series; the indexer has its own."""
    head_dim = settings.number("head_dim")
    yield sliding("sliding", head_dim, tokens, settings.number("sliding_window", least=0))
    rate = settings.within("compress_rates").number("compressed_sparse_attention")
    for width_ in (head_dim, settings.number("index_head_dim")):
        held = _compressed(width_, 2 * width_, rate, tokens)
        overlap = 2 * rate * width_ if tokens >= rate else 0
        yield held._replace(
            values=held.values + overlap, peak=held.peak + overlap, paged=held.paged + overlap
        )


def _compressed(entry: int, projected: int, rate: int, tokens: int) -> Held:
    """`tokens // rate` entries, and key and gate of what fills no entry yet.

    The rest is a view of the whole prompt's projections until the next token.
    """
    entries = entry * (tokens // rate)
    values = entries + 2 * projected * (tokens % rate)
    return Held("latent", values, entries + 2 * projected * tokens, -(-entry // rate), values)


RULES: dict[str, Callable[[Settings, int], Iterable[Held]]] = {
    "full_attention": full,
    "attention": full,
    "sliding_attention": windowed,
    "chunked_attention": chunked,
    "indexed_attention": indexed,
    "linear_attention": linear,
    "mamba": linear,
    "conv": convolution,
    "hybrid": hybrid,
    "hybrid_sliding": hybrid_windowed,
    "moe": nothing,
    "mlp": nothing,
    "dummy": nothing,
    "reference_sliding_attention": full,
    "heavily_compressed_attention": heavily_compressed,
    "compressed_sparse_attention": compressed_sparse,
}


def held(layer_type: str, settings: Settings, tokens: int) -> list[Held]:
    """What a layer of that type keeps. Raises NotKnown."""
    rule = RULES.get(layer_type)
    if rule is None:
        raise NotKnown(f"no rule for what layers of type {quoted(layer_type)} keep")
    return list(rule(settings, tokens))


def is_latent(settings: Settings) -> bool:
    """Whether keys and values are cached compressed, as DeepSeek's multi-head latent attention."""
    return settings.has("kv_lora_rank") and settings.has("qk_rope_head_dim")


def width(settings: Settings) -> int:
    """Values a token takes, keys and values together."""
    if is_latent(settings):
        return settings.number("kv_lora_rank") + settings.number("qk_rope_head_dim", least=0)
    heads, head_dim = key_heads(settings), head_width(settings)
    return heads * (head_dim + settings.number_or(head_dim, "v_head_dim"))


def key_heads(settings: Settings) -> int:
    """Heads that keys and values have. Falcon's new architecture caches them spread out."""
    if settings.flag("new_decoder_architecture"):
        return settings.number(*HEADS)
    multi_query = settings.raw("multi_query")
    if isinstance(multi_query, bool):  # GPT-BigCode's other key says 1 either way
        return 1 if multi_query else settings.number("num_kv_heads", *HEADS)
    return settings.number(*KEY_HEADS, *HEADS)


def head_width(settings: Settings) -> int:
    """The width of a head: said, else the model's width over its heads."""
    if settings.has(*HEAD_DIM):
        return settings.number(*HEAD_DIM)
    return divided(settings, HIDDEN, HEADS)


def _of_full(settings: Settings) -> Settings:
    """Gemma 4's full layers are wider; the class moves these keys into `per_layer_config`."""
    if settings.has("per_layer_config"):
        return settings
    own = _own(settings, _OF_FULL)
    return (
        own
        if settings.raw("attention_k_eq_v") is not False
        else own.overridden({"num_key_value_heads": settings.raw("num_key_value_heads")})
    )


def _own(settings: Settings, names: dict[str, str]) -> Settings:
    own = {base: settings.raw(name) for name, base in names.items() if settings.has(name)}
    return settings.overridden(own) if own else settings
