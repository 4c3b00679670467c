"""What llama.cpp computes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.gguf_cache import Tokens
from modelscope_cli.facts import TensorTable, Unknown


class Compute(NamedTuple):
    """Bytes of the compute buffer; why it is an estimate, and of what."""

    bytes: int | Unknown
    reason: str | None = None
    note: str | None = None


def compute_buffer(metadata: Mapping[str, Any], table: TensorTable, tokens: Tokens) -> Compute:
    """Bytes of the buffer that a graph of 512 tokens is computed in."""
    reason = "llama.cpp's compute buffer depends on its graph and the backend"
    return Compute(Unknown(reason), reason)
