"""Mixtures of experts: how many parameters one token passes through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_cli.analysis.roles import PARAMETER, Roles
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
_NUMBERED = re.compile(r"\.experts?\.(\d{1,6})\.")
_FUSED = re.compile(r"\.experts\.[a-z_]+(\.weight|\.bias)?$|_exps\.(weight|bias)$")


def active_parameters(
    table: TensorTable, roles: Roles, config: Mapping[str, Any] | None, total: int
) -> int | Unknown:
    """Parameters used for one token: all of them but the routed experts not chosen.

    With E routed experts of which k are chosen, a routed tensor counts k / E of its elements.
    """
    counts = _expert_counts(table)
    if not counts:
        return total
    top_k = _top_k(config)
    if isinstance(top_k, Unknown):
        return top_k
    idle = 0
    for index, experts in counts.items():
        if roles.roles[index] == PARAMETER and top_k < experts:
            idle += table.elements[index] * (experts - top_k) // experts
    return total - idle


def _expert_counts(table: TensorTable) -> dict[int, int]:
    """For each routed expert tensor, how many experts its layer routes between."""
    layers: dict[str, set[str]] = {}
    numbered: list[tuple[int, str]] = []
    counts: dict[int, int] = {}
    for index, name in enumerate(table.names):
        if "exp" not in name:
            continue
        if match := _NUMBERED.search(name):
            layer = name[: match.start()]
            layers.setdefault(layer, set()).add(match[1])
            numbered.append((index, layer))
        elif _FUSED.search(name) and table.shapes[index]:
            counts[index] = table.shapes[index][0]
    counts.update({index: len(layers[layer]) for index, layer in numbered})
    return counts


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
