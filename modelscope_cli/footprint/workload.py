"""What is run: context and batch as asked for, by default, or as much as fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.memory.request import GGML_CACHES, MAX, Asked
from modelscope_cli.analysis.memory.row import Workload
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Note
from modelscope_cli.knowledge import configs

DEFAULT_CONTEXT = 4096


def unused(work: Workload, config: Mapping[str, Any]) -> tuple[Note, ...]:
    """A note where tokens of an encoder are told to a model that has none."""
    decoder = configs.text(config)
    sees = (
        configs.effective(config).get("is_encoder_decoder") or "cross_attention_layers" in decoder
    )
    if work.encoder_context is None or sees:
        return ()
    return (Note("--encoder-context changes nothing: the model's decoder looks at no encoder"),)


def notes(work: Workload, limit: int | None) -> tuple[Note, ...]:
    """A warning where more is asked than the model is made for."""
    if limit is None or work.context <= limit:
        return ()
    text = f"--context {work.context:,} is beyond the model's limit of {limit:,}"
    return (Note(text, warning=True),)


def workload(asked: Asked, limit: int | None) -> Workload:
    """What is run: the context asked for, by default 4,096 or the model's limit if that is less."""
    context = asked.context
    if context == MAX:
        if limit is None:
            raise UsageError("--context max: the configuration tells no limit", "--context 32k")
        context = limit
    if not isinstance(context, int):
        context = min(DEFAULT_CONTEXT, limit or DEFAULT_CONTEXT)
    return Workload(
        asked.batch or 1, context, asked.encoder_context, asked.kv_dtype, asked.training
    )


def require_cache_dtype(asked: Asked, *, is_gguf: bool) -> None:
    """Raises UsageError for a cache that only the other engine has."""
    dtype = asked.kv_dtype
    if dtype is None:
        return
    if not is_gguf and dtype in GGML_CACHES:
        raise UsageError(f"--kv-dtype {dtype.lower()}: only llama.cpp has it, for a GGUF")
    if is_gguf and dtype not in GGML_CACHES and not dtype.startswith(("F16", "F32", "BF16")):
        raise UsageError(f"--kv-dtype: llama.cpp has no cache of {dtype}", "q8_0, q4_0, f16")
