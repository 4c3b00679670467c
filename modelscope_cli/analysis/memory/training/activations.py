"""Activations that training keeps for the backward pass, by estimate.

Every layer keeps what its backward needs, a factor of its widths; attention that writes its
scores out keeps those; the loss takes the logits several times over, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.activations import Factors, factors, has_logits
from modelscope_cli.analysis.memory.kv.layers import layer_count
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings
from modelscope_cli.analysis.memory.widths import Widths, widths
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import configs


class Kept(NamedTuple):
    """Bytes at the peak of a step beside weights, gradients and optimizer; always an estimate."""

    bytes: int
    note: str


_LARGEST = 1 << 40
_LAYER = 1.7  # elements kept of a layer, over its widths: measured on plain decoders
_PAIR = 2.0  # of a head and pair of tokens, where scores are written out
_IN_FLOAT32 = 12  # bytes beside the logits: as float32, their log-softmax, its gradient


def kept(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int,
    context: int,
    dtype_bytes: float,
    checkpointing: bool = False,
) -> Kept | Unknown:
    """For a step on `batch` sequences of `context` tokens, in a dtype of that many bytes.

    `checkpointing`: each layer keeps its input and makes the rest again, one layer at a time.
    Unknown where the configuration lacks a width or the number of layers.
    """
    try:
        sizes = widths(config)
        count = layers(config)
    except NotKnown as error:
        return Unknown(f"activations: {error}")
    if min(batch, context) < 0 or max(batch, context, count) > _LARGEST:
        return Unknown("activations: the number of tokens is out of all proportion")
    known = factors(config, dtype_bytes)
    if isinstance(known, Unknown):
        return known
    layer = _layer(sizes, known) * context
    if known.pair and known.by_head:
        layer += _PAIR * sizes.heads * context**2
    inputs = sizes.hidden * context * count
    body = inputs + layer if checkpointing else layer * count
    unit = dtype_bytes * batch
    upcast = not (architecture or "").endswith(_IN_16_BIT) and not _has_encoder(config)
    loss = _loss(sizes, architecture, dtype_bytes, upcast=upcast) * context * batch
    last = sizes.token * context * unit  # of the backward of one layer, where there is no loss
    how = "inputs of layers, one made again" if checkpointing else "all that backward needs"
    return Kept(round(body * unit + max(loss, last)), f"{how}, by its widths and measured factors")


def _layer(sizes: Widths, known: Factors) -> float:
    """Elements a token: less than its widths where no gate is, as the forward showed."""
    return _LAYER * min(known.token, 1.0) * sizes.token


_IN_16_BIT = ("ForMaskedLM", "ForPreTraining")  # classes whose loss takes the logits as they are


def _has_encoder(config: Mapping[str, Any]) -> bool:
    return Settings(configs.effective(config)).flag("is_encoder_decoder")


def layers(config: Mapping[str, Any]) -> int:
    """Of the decoder, and of the encoder where there is one. Raises NotKnown."""
    whole = Settings(configs.effective(config))
    count = layer_count(Settings(configs.text(config)))
    if whole.flag("is_encoder_decoder"):
        return count + whole.number_or(count, "encoder_layers", "num_layers", "num_encoder_layers")
    return count


def _loss(sizes: Widths, architecture: str | None, dtype_bytes: float, *, upcast: bool) -> float:
    """Bytes a token."""
    beside = _IN_FLOAT32 if upcast else 2 * dtype_bytes
    return (dtype_bytes + beside) * sizes.vocabulary if has_logits(architecture) else 0
