"""How a model is opened, and one source read as that asks."""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli import reading
from modelscope_cli.facts import ModelFacts
from modelscope_cli.sources.base import Source

_TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its switches


class How(NamedTuple):
    """How a model is opened: the shared MODEL options."""

    revision: str | None = None
    weights: str | None = None
    cache_dir: str | None = None
    offline: bool = False
    refresh: bool = False
    jobs: int | None = None
    each: bool = False  # of several GGUF files on the Hub: read all of them, not list their names

    @property
    def may_ask(self) -> bool:
        """Whether the network may be used, by the option and as huggingface_hub's users know it."""
        switch = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
        return not self.offline and switch.upper() not in _TRUE


def read(
    source: Source, name: str | None, quant: str | None, how: How, want_tensors: bool
) -> ModelFacts:
    """Read a source, or one file of it, as the model."""
    if name is not None:
        return reading.read_file(source, name, want_tensors=want_tensors)
    # Threads of readers are for a slow disk: the Hub's files have been asked for all at once.
    jobs = None if source.ref.kind == "hub" else how.jobs
    return reading.read_folder(
        source, how.weights, quant=quant, jobs=jobs, want_tensors=want_tensors
    )
