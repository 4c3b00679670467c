"""The one shape that most buffers have: half of what turns of a head, `inv_freq`.

transformers' `modeling_rope_utils` makes it of int(head_dim * partial_rotary_factor) numbers, every
second of them; the head's width may be told or follow from the hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from tools.knowledge_fitting import Example, Expression, fits

_HEADS = ("num_attention_heads", "num_heads", "n_head")
_WIDTHS = ("hidden_size", "n_embd", "embed_dim", "d_model")
_TOLD = ("head_dim", "qk_rope_head_dim", "attention_head_dim")
_WHOLE = 1.0


def half_a_head(examples: list[Example]) -> Expression | None:
    """The first of the known forms that gives every example; None where none does."""
    scope = examples[0].scope
    for prefix, label in product(_levels(scope), _labels(scope)):
        for width in _head_widths(prefix):
            found = ["ceil", ["/", ["int", ["*", width, _factor(prefix, label)]], 2]]
            if fits(found, examples):
                return found
    return None


def _levels(scope: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield from (f"{key}." for key, value in scope.items() if key.endswith("_config") and value)


def _labels(scope: Mapping[str, Any]) -> Iterable[str]:
    ropes = scope.get("rope_parameters")
    labels = ropes if isinstance(ropes, Mapping) else {}
    return ["", *(key for key, value in labels.items() if isinstance(value, Mapping))]


def _head_widths(prefix: str) -> Iterator[Expression]:
    derived = [["//", prefix + width, prefix + heads] for width, heads in product(_WIDTHS, _HEADS)]
    for told in _TOLD:
        yield prefix + told
        yield from (["??", prefix + told, each] for each in derived)
    yield from derived


def _factor(prefix: str, label: str) -> Expression:
    inner = f"{label}." if label else ""
    return ["??", f"{prefix}rope_parameters.{inner}partial_rotary_factor", _WHOLE]
