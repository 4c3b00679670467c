"""Activations of a forward by estimate: what lives at its peak beside weights and cache.

A token costs a sum of widths of one layer (`widths.py`); attention that writes its scores out
costs each pair of tokens something as well; the logits come at the end. How much of each a model
type takes was found by running its class on the meta device at its default size
(`tools.make_knowledge`): those factors are scaled to the sizes of the configuration at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv.settings import NotKnown
from modelscope_cli.analysis.memory.widths import Widths, widths
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.lines import look_up


class Activations(NamedTuple):
    """Bytes beside weights and cache; always an estimate.

    `prefill_bytes`: `context` tokens at once, with the logits that `generate` asks for (the last
    position's, where the class lets it choose); `all_logits_bytes` with those of every position,
    as a plain call gives them; `decode_bytes`: one token more, 0 for what generates nothing.
    """

    prefill_bytes: int
    decode_bytes: int
    all_logits_bytes: int
    note: str


class Factors(NamedTuple):
    """What a model type takes, over what `widths` says, as measured at its default size.

    `token`: of a token's widths, in a short prompt; `late` of them where scores dominate, with
    `pair` elements a pair of tokens (a head, if `by_head`). `logits`: copies of a position's
    logits; `chooses`: whether the class can give the last position's alone. `step`: elements a
    cached token when one is added, of the kind `step_of`; `given` text, picture or sound.
    """

    token: float = 1.0
    late: float = 0.0
    pair: float = 0.0
    by_head: bool = True
    logits: float = 1.0
    chooses: bool = True
    step: float = 0.5
    step_of: str = "keys"
    given: str = "text"


GENERIC = Factors()
_TABLE = "activations"
_LARGEST = 1 << 40


def estimate(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int,
    context: int,
    dtype_bytes: float,
    encoder_context: int | None = None,
) -> Activations | Unknown:
    """Prefill and decode of `batch` sequences of `context` tokens, in a dtype of that many bytes.

    Attention as `sdpa` does it on a GPU where the class has it, else with the scores written out.
    Unknown where the configuration lacks a width, and for input that is no text or picture.
    """
    known = factors(config, dtype_bytes)
    if isinstance(known, Unknown):
        return known
    try:
        sizes = widths(config)
        tokens = _tokens(sizes, known, context, encoder_context)
    except NotKnown as error:
        return Unknown(f"activations: {error}")
    if min(batch, context) < 0 or max(batch, tokens) > _LARGEST:
        return Unknown("activations: the number of tokens is out of all proportion")
    head = sizes.vocabulary if has_logits(architecture) else 0
    body = _body(sizes, known, tokens)
    last = 4 * sizes.hidden * tokens  # what is still there when the logits are made
    every = max(body, last + known.logits * head * max(context, 1))
    chooses = known.chooses and _generates(architecture)
    one = max(body, last + known.logits * head) if chooses else every
    step = _step(sizes, known, context, head) if known.step > 0 else 0.0
    unit = batch * dtype_bytes
    note = _note(config, known, sizes)
    return Activations(round(one * unit), round(step * unit), round(every * unit), note)


def _note(config: Mapping[str, Any], known: Factors, sizes: Widths) -> str:
    if known is GENERIC:
        named = str(config.get("model_type"))[:_SHOWN]
        return f"activations are a plain decoder's: nothing is known of model type {named}"
    if known.given == "sound" and not sizes.frames:
        return "activations are estimated for ten seconds of sound"
    return (
        "activations are estimated from layer widths, without what GPU kernels need for themselves"
    )


_SHOWN = 40  # characters of a model type


def _body(sizes: Widths, known: Factors, tokens: int) -> float:
    """Elements inside the widest layer."""
    short = known.token * sizes.token * tokens
    heads = sizes.heads if known.by_head else 1
    long = known.late * sizes.token * tokens + known.pair * heads * tokens * tokens
    return max(short, long)


def _step(sizes: Widths, known: Factors, cached: int, head: int) -> float:
    """Elements at the widest place of a step: a cache that grows is copied, layer by layer."""
    width = sizes.keys if known.step_of == "keys" else sizes.attention
    scores = 2 * sizes.heads * cached if known.pair else 0
    copied = known.step * width * cached + scores + 4 * sizes.hidden
    return max(copied, known.token * sizes.token, known.logits * head + 4 * sizes.hidden)


def factors(config: Mapping[str, Any], dtype_bytes: float) -> Factors | Unknown:
    """Those of the model type, between what was measured in 16 and in 32 bit."""
    model_type = config.get("model_type")
    found = look_up(_TABLE, model_type) if isinstance(model_type, str) else None
    if found is None:
        return GENERIC
    if "unknown" in found:
        return Unknown(f"activations: {found['unknown']}")
    half, full = Factors(**found["16"]), Factors(**found.get("32", found["16"]))
    share = min(max((dtype_bytes - 2) / 2, 0.0), 1.0)
    return half._replace(
        token=half.token + share * (full.token - half.token),
        late=half.late + share * (full.late - half.late),
        pair=half.pair + share * (full.pair - half.pair),
    )


def _tokens(sizes: Widths, known: Factors, context: int, encoder_context: int | None) -> int:
    """Of the longest sequence that goes through: an encoder's, a picture's, the text."""
    if known.given == "picture":
        return sizes.patches
    if known.given == "sound":
        return max(sizes.frames, 1)
    return max(context, encoder_context or 0)


def _generates(architecture: str | None) -> bool:
    """Only what generates can give the last position's logits alone."""
    return architecture is None or not architecture.endswith(("ForMaskedLM", "ForPreTraining"))


_NO_HEAD = ("Model", "Classification", "QuestionAnswering", "MultipleChoice", "EncoderModel")


def has_logits(architecture: str | None) -> bool:
    """Whether the class gives a number a word of the vocabulary, for each position."""
    if architecture is None:
        return True
    return "LMHead" in architecture or not architecture.endswith(_NO_HEAD)
