"""Footprints of GGUF files: llama.cpp's memory, one row a way or one row a file."""

from __future__ import annotations

from modelscope_cli.analysis.memory import gguf_cache, gguf_rows
from modelscope_cli.analysis.memory.request import Asked
from modelscope_cli.analysis.memory.rows import Model
from modelscope_cli.facts import ModelFacts
from modelscope_cli.footprint.models import examined, gguf_models
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.footprint.workload import notes, require_cache_dtype, workload


def of_gguf(facts: ModelFacts, asked: Asked, runtime: int) -> Footprint:
    """Of GGUF files: the rows of one, or of several one row each."""
    require_cache_dtype(asked, is_gguf=True)
    files = gguf_models(facts)
    first, several = files[0], len(files) > 1
    limit = gguf_cache.context_limit(first.metadata)
    work = workload(asked, limit)
    wanted = asked.modes[:1] if several else asked.modes
    found = tuple(
        gguf_rows.row(file, mode, work, several=several) for file in files for mode in wanted
    )
    at_limit = None
    if limit is not None and limit != work.context:
        at_limit = gguf_rows.cache(first, wanted[0], work._replace(context=limit))
    model = Model((first.prepared(),), {}, None)
    return Footprint(
        found, model, examined(facts).totals, work, limit, at_limit,
        asked.context is not None, runtime, notes(work, limit),
    )  # fmt: skip
