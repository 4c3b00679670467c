"""What a tensor is for, by its name: embedding, attention, expert, norm and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelscope_cli.facts import TensorTable

# First match wins: an expert's up_proj is an expert's, the norm of an attention block a norm.
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("norm", r"(^|[._])(\w*norm\w*|ln_?\w*|layer_?norm\w*|bn\d*|batch_?norm\w*)\.[^.]+$"),
        ("router", r"(^|[._])(router|gate|gate_inp|gating)\.(weight|bias|e_score\w*|wg\.weight)$"),
        ("router", r"(^|\.)(router|gate)\."),
        ("expert", r"experts?[._]|_exps\.|_shexp\."),
        ("head", r"^output\.|(^|\.)(lm_head|embed_out|classifier|score|qa_outputs|cls)\."),
        ("embedding", r"_embd\.|embed|(^|\.)(wte|wpe|shared)\.|tok_embeddings|position_ids$|"
                      r"relative_attention_bias\."),
        ("attention", r"att(entio)?n|self_att|(^|[._])([qkvo]|qkv|kv|query|key|value)(_proj)?[._]"),
        ("mixer", r"(^|[._])(mamba|mixer|ssm|conv1d|linear_attn|dt_proj|x_proj|A_log)([._]|$)"),
        ("mlp", r"(^|[._])(mlp|ffn|ff|feed_forward|fc\d?|intermediate|dense|gate_proj|up_proj|"
                r"down_proj|w[123])([._]|$)"),
        ("convolution", r"(^|[._])(conv\w*|downsample|patch_embedding)\."),
    )
)  # fmt: skip
OTHER = "other"


def of(table: TensorTable) -> list[str]:
    """The kind of each tensor of a table."""
    return of_names(table.names)


def of_names(names: Iterable[str]) -> list[str]:
    """The kind of each name; they repeat but for numbers, so each pattern is asked once."""
    known: dict[str, str] = {}
    kinds = []
    for name in names:
        key = _DIGITS.sub("0", name[-_LOOKED_AT:])  # bounded: patterns may take quadratic time
        if key not in known:
            known[key] = next((k for k, pattern in _KINDS if pattern.search(key)), OTHER)
        kinds.append(known[key])
    return kinds


_DIGITS = re.compile(r"\d+")
_LOOKED_AT = 200
