"""Mixtures of experts: how many parameters one token passes through."""

from __future__ import annotations

import re
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
_NUMBERED = re.compile(r"\.experts?\.\{\}\.")
_FUSED = re.compile(r"\.experts\.[a-z_]+(\.weight|\.bias)?$|_exps\.(weight|bias)$")


def active_parameters(
    rows: Sequence[RowFact], table: TensorTable, config: Mapping[str, Any] | None, total: int
) -> int | Unknown:
    """Parameters used for one token: all of them but the routed experts not chosen.

    With E routed experts of which k are chosen, a routed tensor counts k / E of its weights.
    `rows` are the rows of `table`, `total` its parameters.
    """
    routed = [row for row in rows if is_routed(row.row.template) and row.role == PARAMETER]
    if not routed:
        return total
    top_k = _top_k(config)
    if isinstance(top_k, Unknown):
        return top_k
    numbered = _experts_of_layers([row.row for row in routed])
    return total - sum(_idle(row, table, numbered, top_k) for row in routed)


def is_routed(template: str) -> bool:
    """Whether names of this template are tensors of routed experts."""
    return _NUMBERED.search(template) is not None or _FUSED.search(template) is not None


def _experts_of_layers(rows: Sequence[Folded]) -> dict[tuple[str, tuple[int, ...]], set[int]]:
    """The experts that each layer's tensors are numbered by, a layer being all before them."""
    found: dict[tuple[str, tuple[int, ...]], set[int]] = {}
    for row in rows:
        if place := _expert_hole(row):
            prefix, hole = place
            for layer in product(*row.grid[:hole]):
                found.setdefault((prefix, layer), set()).update(row.grid[hole])
    return found


def _expert_hole(row: Folded) -> tuple[str, int] | None:
    """The template before the expert's number, and which of the row's numbers that is."""
    match = _NUMBERED.search(row.template)
    if match is None or not row.grid:
        return None
    prefix = row.template[: match.start()]
    return prefix, prefix.count(HOLE)


def _idle(
    fact: RowFact,
    table: TensorTable,
    numbered: Mapping[tuple[str, tuple[int, ...]], set[int]],
    top_k: int,
) -> int:
    """Weights of a row that a token does not use."""
    weights, row = fact.parameters, fact.row
    if isinstance(weights, Unknown):
        return 0  # then the total is unknown, and nobody asks
    place = _expert_hole(row)
    if place is None:  # fused: all experts in one tensor, the first dimension counts them
        experts = max(1, *table.shapes[row.indices[0]][:1])
        return weights - weights * min(top_k, experts) // experts
    prefix, hole = place
    layers = list(product(*row.grid[:hole]))
    of_a_layer = weights // len(layers)
    return sum(
        of_a_layer - of_a_layer * min(top_k, experts) // experts
        for layer in layers
        if (experts := len(numbered[prefix, layer]))
    )


def _top_k(config: Mapping[str, Any] | None) -> int | Unknown:
    if config is None:
        return Unknown("experts are here, but no configuration that says how many a token uses")
    for level in levels(config):
        for key in TOP_K_KEYS:
            value = level.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return Unknown("the configuration does not say how many experts a token uses")


def levels(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration and its sub-configurations, one level down, outermost first."""
    yield config
    for value in config.values():
        if isinstance(value, Mapping):
            yield value
