"""How wide a layer is: elements that a token takes inside it, read from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv.rules import head_width, is_latent, width
from modelscope_cli.analysis.memory.kv.settings import NotKnown, Settings
from modelscope_cli.knowledge import configs

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "decoder_hidden_size")
_INNER = (
    "intermediate_size", "ffn_dim", "d_ff", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim",
    "ffn_hidden_size", "hidden_dim", "d_inner", "block_ff_dim",
)  # fmt: skip
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads",
          "encoder_attention_heads")  # fmt: skip
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts",
           "num_selected_experts", "moe_top_k", "n_activated_experts")  # fmt: skip
_EXPERT = ("moe_intermediate_size", "expert_ffn_size", "expert_ffn_hidden_size",
           "moe_ffn_hidden_size", "expert_hidden_dim", "expert_dim")  # fmt: skip
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


class Widths(NamedTuple):
    """Elements. `token`: of the widest place of a layer, for each token.

    `keys`: a layer's cached keys and values for a token, `attention` all heads' queries.
    `patches` of a picture and `frames` of a sound are tokens, 0 where there are none.
    """

    hidden: int
    token: int
    heads: int
    keys: int
    attention: int
    vocabulary: int
    patches: int
    frames: int


def widths(config: Mapping[str, Any]) -> Widths:
    """Of the text decoder, else of the model as a whole. Raises NotKnown naming a key."""
    whole = configs.effective(config)
    text = Settings(configs.text(config), whole)
    hidden = text.number(*_HIDDEN)
    heads = text.number_or(1, *_HEADS)
    attention = heads * _query(text, hidden // heads)
    return Widths(
        hidden,
        max(_dense(text, hidden), _experts(text, hidden), 3 * hidden + 5 * attention),
        heads,
        _keys(text, attention),
        attention,
        text.number_or(0, "vocab_size"),
        _patches(Settings(_vision(whole), whole)),
        2 * text.number_or(0, "max_source_positions", least=0),
    )


def _query(text: Settings, usual: int) -> int:
    """A head's width; latent attention has a part that turns and a part that does not."""
    if is_latent(text):
        return text.number_or(usual, "qk_nope_head_dim", least=0) + text.number("qk_rope_head_dim")
    try:
        return head_width(text)
    except NotKnown:  # no attention in it
        return max(usual, 1)


def _keys(text: Settings, attention: int) -> int:
    try:
        return width(text)
    except NotKnown:
        return 2 * attention


def _dense(text: Settings, hidden: int) -> int:
    """The residual, its norm, the layer's input and the embeddings, and gate, up and product."""
    try:
        inner = text.number_or(4 * hidden, *_INNER)
    except NotKnown:  # some types list one width a layer
        inner = 4 * hidden
    return 4 * hidden + 3 * inner


def _experts(text: Settings, hidden: int) -> int:
    """The tokens once for each expert chosen, gate and up side by side, and their product."""
    if not text.has(*_EXPERTS):
        return 0
    try:
        chosen = text.number_or(1, *_CHOSEN)
        inner = text.number_or(text.number_or(hidden, *_INNER), *_EXPERT)
    except NotKnown:
        return 0
    return 4 * hidden + chosen * (hidden + 4 * inner)


def _vision(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    found = whole.get("vision_config")
    return found if isinstance(found, Mapping) else {}


def _patches(vision: Settings) -> int:
    try:
        side = vision.number_or(224, "image_size")
        patch = vision.number_or(16, "patch_size")
    except NotKnown:  # a picture of two sides
        return (224 // 16) ** 2
    return max(side // patch, 1) ** 2
