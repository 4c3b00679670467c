"""Mixtures of experts: how many parameters one token passes through."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from modelscope_cli.analysis.fold import HOLE, Folded
from modelscope_cli.analysis.roles import PARAMETER, RowFact
from modelscope_cli.facts import TensorTable, Unknown

# What configs call the number of routed experts a token is sent to.
TOP_K_KEYS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
    "num_selected_experts",
    "expert_used_count",
)
# What configs call the number of routed experts there are.
_EXPERTS_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
# Classes whose routers choose a fixed number that their configs do not mention.
_FIXED_TOP_K = {"switch_transformers": 1, "nllb-moe": 2}
# An expert's own number, a part of the name (then folded) or the end of one: `expert_0`.
_NUMBERED = re.compile(r"\.experts?\.(?:\{\}|expert_([0-9]{1,9}))\.")
_FUSED = re.compile(r"\.experts\.[a-z_]+(\.weight|\.bias)?$|_exps\.(weight|bias)$")
_PARALLEL = re.compile(r"\.(input_linear|output_linear)\.weight$")  # [E, out, in] if fused


def active_parameters(
    rows: Sequence[RowFact], table: TensorTable, config: Mapping[str, Any] | None, total: int
) -> int | Unknown:
    """Parameters used for one token: all of them but the routed experts not chosen.

    With E routed experts of which k are chosen, a routed tensor counts k / E of its weights.
    `rows` are the rows of `table`, `total` its parameters.
    """
    routed = [row for row in rows if _is_routed(row, table)]
    if not routed:
        return total
    top_k = _top_k(config)
    if isinstance(top_k, Unknown):
        return top_k
    numbered = _experts_of_layers([row.row for row in routed])
    idle: Counter[int] = Counter()  # by number of experts, and divided by it only in the end
    for row in routed:
        for of, weights in _weights_by_experts(row, table, numbered):
            idle[of] += weights * (of - min(top_k, of))
    return total - sum(weights // of for of, weights in idle.items())


def unseen(
    rows: Sequence[RowFact], table: TensorTable, config: Mapping[str, Any] | None
) -> Unknown | None:
    """Why nobody can say what a token uses: experts are declared, and none is recognised.

    `rows` are all rows of `table`, not those chosen for a listing.
    """
    for level in levels(config or {}):
        for key in _EXPERTS_KEYS:
            count = level.get(key)
            if isinstance(count, int) and not isinstance(count, bool) and count > 1:
                if any(_is_routed(row, table) for row in rows):
                    return None
                return Unknown(
                    f"the configuration says {key} {count}, and no tensor is known for an expert's"
                )
    return None


def is_routed(template: str) -> bool:
    """Whether names of this template are tensors of routed experts, whatever their shapes."""
    return _NUMBERED.search(template) is not None or _FUSED.search(template) is not None


def _is_routed(fact: RowFact, table: TensorTable) -> bool:
    """Whether tensors of this row belong to routed experts."""
    if fact.role != PARAMETER:
        return False
    template, dimensions = fact.row.template, len(table.shapes[fact.row.indices[0]])
    if _PARALLEL.search(template):
        return dimensions > 2  # those of a shared expert have two
    return is_routed(template) and (dimensions > 1 or _NUMBERED.search(template) is not None)


def _experts_of_layers(rows: Sequence[Folded]) -> dict[tuple[str, tuple[int, ...]], set[int]]:
    """The experts that each layer's tensors are numbered by, a layer being all before them."""
    found: dict[tuple[str, tuple[int, ...]], set[int]] = {}
    for row in rows:
        if place := _expert_place(row):
            prefix, hole, numbers = place
            for layer in product(*row.grid[:hole]):
                found.setdefault((prefix, layer), set()).update(numbers)
    return found


def _expert_place(row: Folded) -> tuple[str, int, tuple[int, ...]] | None:
    """The template before the experts' numbers, how many numbers are in it, and the experts'."""
    match = _NUMBERED.search(row.template)
    if match is None:
        return None
    prefix = row.template[: match.start()]
    hole = prefix.count(HOLE)
    if match[1] is not None:
        return prefix, hole, (int(match[1]),)
    return (prefix, hole, row.grid[hole]) if row.grid else None


def _weights_by_experts(
    fact: RowFact,
    table: TensorTable,
    numbered: Mapping[tuple[str, tuple[int, ...]], set[int]],
) -> Iterator[tuple[int, int]]:
    """Of how many experts a row's weights are, layer by layer, and the weights."""
    weights, row = fact.parameters, fact.row
    if isinstance(weights, Unknown):
        return  # then the total is unknown, and nobody asks
    place = _expert_place(row)
    if place is None:  # fused: all experts in one tensor, the first dimension counts them
        yield max(1, *table.shapes[row.indices[0]][:1]), weights
        return
    prefix, hole, _ = place
    layers = list(product(*row.grid[:hole]))
    for layer in layers:
        if of := len(numbered[prefix, layer]):
            yield of, weights // len(layers)


def _top_k(config: Mapping[str, Any] | None) -> int | Unknown:
    if config is None:
        return Unknown("experts are here, but no configuration that says how many a token uses")
    for level in levels(config):
        for key in TOP_K_KEYS:
            value = level.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    for level in levels(config):
        if isinstance(kind := level.get("model_type"), str) and kind in _FIXED_TOP_K:
            return _FIXED_TOP_K[kind]
    return Unknown("the configuration does not say how many experts a token uses")


def levels(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration and its sub-configurations, one level down, outermost first."""
    yield config
    for value in config.values():
        if isinstance(value, Mapping):
            yield value
