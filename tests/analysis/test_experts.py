"""Active parameters of mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis import experts, packed, roles
from modelscope_cli.analysis.fold import fold, templates
from modelscope_cli.facts import Shape, TensorTable, Unknown
from modelscope_cli.sources import builtin
from tests.analysis.tables import table


def active(made: TensorTable, config: Mapping[str, Any] | None) -> int | Unknown:
    alike = list(zip(made.shapes, made.dtypes, strict=True))
    folded = fold(made.names, templates(made.names), alike)
    rows = roles.of(packed.see(folded, made, {}, {}), made)
    total = roles.parameters(rows)
    assert isinstance(total, int)
    return experts.active_parameters(rows, made, config, total)


def moe(layers: int, of: int) -> list[tuple[str, str, Shape]]:
    return [
        (f"m.layers.{layer}.experts.{expert}.w.weight", "F32", (2, 5))
        for layer in range(layers)
        for expert in range(of)
    ]


def test_mixtral_as_published() -> None:
    facts = builtin.load("huozi3")
    assert isinstance(facts.tensors, TensorTable)
    assert active(facts.tensors, facts.config) == 13_084_741_632


def test_a_dense_model_uses_all_of_it() -> None:
    assert active(table([("a.weight", "F32", (3, 3))]), None) == 9


def test_experts_without_a_configuration_are_unknown() -> None:
    assert isinstance(active(table(moe(2, 4)), None), Unknown)


def test_a_configuration_that_does_not_say_is_unknown() -> None:
    assert isinstance(active(table(moe(2, 4)), {"num_experts_per_tok": True}), Unknown)


def test_two_of_four_experts() -> None:
    assert active(table(moe(3, 4)), {"num_experts_per_tok": 2}) == 3 * 2 * 10


def test_the_number_may_stand_in_a_sub_configuration() -> None:
    assert active(table(moe(1, 4)), {"text_config": {"num_experts_per_tok": 1}}) == 10


def test_layers_with_fewer_experts_count_their_own() -> None:
    rows = [*moe(1, 4), ("m.layers.1.experts.0.w.weight", "F32", (2, 5))]
    assert active(table(rows), {"num_experts_per_tok": 2}) == 20 + 10


def test_experts_of_one_layer_stored_in_two_dtypes_are_one_layer() -> None:
    rows = [(name, "BF16" if ".0.w" in name else "F32", shape) for name, _, shape in moe(1, 4)]
    assert active(table(rows), {"num_experts_per_tok": 2}) == 20


def test_fused_experts_are_counted_by_their_first_dimension() -> None:
    rows: list[tuple[str, str, Shape]] = [
        ("m.layers.0.mlp.experts.gate_up_proj", "BF16", (8, 6, 4)),
        ("blk.0.ffn_gate_exps.weight", "BF16", (8, 3, 2)),
        ("m.layers.0.mlp.shared_experts.up_proj.weight", "BF16", (5, 1)),
    ]
    assert active(table(rows), {"num_experts_per_tok": 2}) == 2 * 24 + 2 * 6 + 5
