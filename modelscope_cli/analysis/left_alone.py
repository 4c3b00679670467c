"""Which weights packing leaves alone by default, as far as names and a config's type tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis import kinds
from modelscope_cli.analysis.roles import RowFact

Judge = Callable[[RowFact], str | None]


def judge(scheme: str, rows: Sequence[RowFact], config: Mapping[str, Any] | None) -> Judge:
    """Says of a two-dimensional weight among `rows` why it stays; None where it is packed."""
    return _bitsandbytes_keeps(rows, config) if scheme in BITSANDBYTES else _kept_by_kind


def _kept_by_kind(fact: RowFact) -> str | None:
    """Why a weight is left alone, by what it is for."""
    return _STAYS.get(kinds.of_names([fact.row.template])[0])


_STAYS: Mapping[str, str] = {
    "embedding": "an embedding, not a linear layer",
    "head": "the output head, left alone by default",
}
BITSANDBYTES = ("nf4", "fp4", "int8")
# Classes that keep more than names tell, by their config's model_type: a pattern of module names,
# and why.
_FP32_WO = (r"\.wo$", "kept in float32 by its class (_keep_in_fp32_modules)")
_FALCON = (r"", "FalconLinear, a subclass of Linear: bitsandbytes takes Linear itself only")
_KEPT_BY_TYPE: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("t5", "mt5", "umt5", "udop", "pop2piano"), _FP32_WO),
    **dict.fromkeys(("falcon", "RefinedWeb", "RefinedWebModel"), _FALCON),
}
# T5's own names, where a pipeline or a bare file has no config beside them.
_T5_WO = re.compile(r"\.DenseReluDense\.wo$")
# Output embeddings of transformers' classes. Other heads are kept only if their weight is the
# model's last parameter, which it is not where a bias follows.
_OUTPUT = re.compile(
    r"(^|\.)(lm_head|embed_out|generator_lm_head|vocab_projector|predictions\.decoder|"
    r"lm_head\.decoder)$|^output$"
)
_LAST = ("text_projection", "visual_projection")  # CLIP's last parameter, of those that are there


def _bitsandbytes_keeps(rows: Sequence[RowFact], config: Mapping[str, Any] | None) -> Judge:
    """Which weights transformers keeps from bitsandbytes, and why: its default skip list."""
    there = {fact.row.template for fact in rows}
    last = next((name for name in _LAST if f"{name}.weight" in there), None)
    pattern, by_type = _KEPT_BY_TYPE.get(str((config or {}).get("model_type")), (None, None))

    def reason(fact: RowFact) -> str | None:
        template = fact.row.template
        module = template.removesuffix(".weight")
        parent, _, last_part = module.rpartition(".")
        if last_part == "in_proj_weight" or f"{parent}.in_proj_weight" in there:
            return "of torch's MultiheadAttention, which has no Linear itself"
        if _OUTPUT.search(module):
            return _STAYS["head"]
        if pattern is not None and re.search(pattern, module):
            return by_type
        if _T5_WO.search(module):
            return _FP32_WO[1]
        if module == last:
            return "the model's last parameter, left alone by default"
        # A bias makes it a linear layer whatever its name, and a head not the last parameter.
        return None if f"{module}.bias" in there else _kept_by_kind(fact)

    return reason
