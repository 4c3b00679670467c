"""What layers without keys and values keep: the states of convolutions and recurrences.

A recurrent state is float32 in transformers even in a model of 16 bits, where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from modelscope_cli.analysis.memory.kv.held import Held, constant
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings, divided

HIDDEN = ("hidden_size", "d_model", "n_embd", "embedding_dim", "dim_model", "dim")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_MAMBA_HEADS = ("mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads")
_MAMBA_HEAD_DIM = ("mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim")
_MAMBA_GROUPS = ("mamba_n_groups", "mamba_ngroups", "n_groups")
_MAMBA_STATE = ("mamba_d_state", "ssm_state_size", "state_size")
_MAMBA_KERNEL = ("mamba_d_conv", "conv_kernel")


def short_convolution(settings: Settings) -> Held:
    """LFM2: the last `conv_L_cache` inputs of the layer."""
    return constant("conv", states=settings.number(*HIDDEN) * settings.number("conv_L_cache"))


def gated_delta(settings: Settings) -> Held:
    """Qwen3-Next: a convolution over queries, keys and values, a matrix of keys x values."""
    key_dim = settings.number("linear_key_head_dim")
    values = settings.number("linear_num_value_heads")
    value_dim = settings.number("linear_value_head_dim")
    channels = 2 * settings.number("linear_num_key_heads") * key_dim + values * value_dim
    return constant(
        "linear",
        states=channels * settings.number("linear_conv_kernel_dim"),
        float32=values * key_dim * value_dim,
    )


def kimi_delta(settings: Settings) -> Held:
    """Kimi Linear: queries, keys and values have heads alike."""
    heads, head_dim = settings.number("linear_num_heads"), settings.number("linear_head_dim")
    kernel = settings.number("linear_conv_kernel_dim", "short_conv_kernel_size")
    return constant(
        "linear", states=3 * heads * head_dim * kernel, float32=heads * head_dim * head_dim
    )


def kimi_delta_nested(settings: Settings) -> Held:
    """The same as its authors' configurations write it."""
    inner = settings.within("linear_attn_config")
    heads, head_dim = inner.number("num_heads"), inner.number("head_dim")
    kernel = inner.number("short_conv_kernel_size")
    return constant(
        "linear", states=3 * heads * head_dim * kernel, float32=heads * head_dim * head_dim
    )


def mamba2(settings: Settings) -> Held:
    """Mamba-2: the convolution runs over the inputs and both groups' projections."""
    state, kernel = settings.number(*_MAMBA_STATE), settings.number(*_MAMBA_KERNEL)
    heads = settings.number(*_MAMBA_HEADS)
    inner = heads * _mamba_head_dim(settings, heads)
    channels = inner + 2 * settings.number(*_MAMBA_GROUPS) * state
    return constant("ssm", states=channels * kernel, float32=inner * state)


def _mamba_head_dim(settings: Settings, heads: int) -> int:
    key = next((key for key in _MAMBA_HEAD_DIM if settings.has(key)), _MAMBA_HEAD_DIM[0])
    if settings.has(key) and settings.raw(key) != "auto":
        return settings.number(key)
    return _mamba_inner(settings) // heads


def _mamba_inner(settings: Settings) -> int:
    return settings.number("mamba_expand", "expand") * settings.number(*HIDDEN)


def mamba(settings: Settings) -> Held:
    """Mamba: one state a channel. Jamba's `intermediate_size` is its MLP's, Mamba's its own."""
    beside_attention = settings.has("mamba_d_state")
    inner = _mamba_inner(settings) if beside_attention else settings.number("intermediate_size")
    state, kernel = settings.number(*_MAMBA_STATE), settings.number(*_MAMBA_KERNEL)
    return constant("ssm", states=inner * kernel, float32=inner * state)


def lightning(settings: Settings) -> Held:
    """MiniMax: a matrix of keys and values a head, in the dtype of the model."""
    heads = settings.number(*_HEADS)
    head_dim = (
        settings.number("head_dim")
        if settings.has("head_dim")
        else divided(settings, HIDDEN, _HEADS)
    )
    return constant("linear", states=heads * head_dim * head_dim)


def griffin(settings: Settings) -> Held:
    """RecurrentGemma: `conv1d_width - 1` inputs and one recurrent unit a channel."""
    width = settings.number("lru_width", *HIDDEN)
    kernel = settings.number_or(4, "conv1d_width")
    return constant("linear", states=settings.number(*HIDDEN) * (kernel - 1), float32=width)


def compressed_convolution(settings: Settings) -> Held:
    """Zaya: inputs of two convolutions over queries and keys, and half of the last values."""
    heads, keys = settings.number(*_HEADS), settings.number("num_key_value_heads")
    head_dim = settings.number("head_dim")
    kernel = settings.number("cca_time0") + settings.number("cca_time1") - 2
    channels = (heads + keys) * head_dim
    return constant("conv", states=channels * kernel + keys * head_dim // 2)


def inkling_convolutions(settings: Settings) -> Held:
    """Inkling: short convolutions over keys, values and both residual branches, all float32."""
    width = settings.number("num_key_value_heads") * settings.number("head_dim")
    inner = width * settings.number("sconv_kernel_size")
    outer = settings.number(*HIDDEN) * settings.number("conv_kernel_size")
    return constant("conv", float32=2 * (inner + outer))


# The key that only a configuration of that kind has, most telling first.
STATES: tuple[tuple[str, Callable[[Settings], Held]], ...] = (
    ("linear_num_value_heads", gated_delta),
    ("linear_num_heads", kimi_delta),
    ("linear_attn_config", kimi_delta_nested),
    ("sconv_kernel_size", inkling_convolutions),
    ("cca_time0", compressed_convolution),
    ("lru_width", griffin),
    ("linear_attn_alpha_factor", lightning),
    ("mamba_n_groups", mamba2),
    ("mamba_ngroups", mamba2),
    ("n_groups", mamba2),
    ("mamba_d_state", mamba),
    ("state_size", mamba),
)


def state(settings: Settings) -> Held:
    """What a layer called `linear_attention` keeps. Raises NotKnown where no rule fits."""
    for key, rule in STATES:
        if settings.has(key):
            return rule(settings)
    raise NotKnown("no rule for what this model's linear attention layers keep")
