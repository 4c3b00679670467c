"""Active parameters of mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.analysis import experts, packed, params, roles
from modelscope_cli.analysis.fold import fold, templates
from modelscope_cli.facts import ModelFacts, ModelRef, Shape, TensorTable, Unknown
from modelscope_cli.load import How, open_model
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


def test_experts_in_one_linear_layer_of_three_dimensions() -> None:
    rows: list[tuple[str, str, Shape]] = [
        ("m.layers.0.block_sparse_moe.input_linear.weight", "BF16", (4, 6, 2)),
        ("m.layers.0.block_sparse_moe.output_linear.weight", "BF16", (4, 2, 3)),
        ("m.layers.0.block_sparse_moe.router.layer.weight", "BF16", (4, 2)),
        ("m.layers.0.shared_mlp.input_linear.weight", "BF16", (6, 2)),
        ("m.layers.0.self_attention.experts.bias", "BF16", (4,)),
    ]
    config = {"num_local_experts": 4, "num_experts_per_tok": 2}
    assert active(table(rows), config) == (48 + 24) // 2 + 8 + 12 + 4


def test_experts_whose_names_end_in_their_number() -> None:
    rows: list[tuple[str, str, Shape]] = [
        (f"d.block.{layer}.layer.2.mlp.experts.expert_{n}.wi.weight", "F32", (2, 5))
        for layer in (1, 3)
        for n in range(4)
    ]
    rows.append(("d.block.1.layer.2.mlp.router.classifier.weight", "F32", (4, 2)))
    assert active(table(rows), {"model_type": "switch_transformers"}) == 2 * 10 + 8
    assert active(table(rows), {"model_type": "nllb-moe"}) == 2 * 20 + 8
    assert isinstance(active(table(rows), {"num_experts": 4}), Unknown)


@pytest.mark.parametrize(
    "key", ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"]
)
@pytest.mark.parametrize("nested", [True, False])
def test_declared_experts_that_no_name_shows_are_unknown(key: str, nested: bool) -> None:
    config = {"ffn_config": {key: 4}} if nested else {key: 4}
    assert isinstance(examined([("ffn.experts.mlp.w1", "F32", (8, 2))], config), Unknown)
    assert examined([("a.weight", "F32", (8, 2))], {key: 1}) == 16


def test_a_part_of_a_mixture_without_experts_is_used_whole() -> None:
    config = {"num_experts": 4, "num_experts_per_tok": 2}
    rows = [*moe(1, 4), ("norm.weight", "F32", (5,))]
    assert examined(rows, config, match=("norm",)) == 5


def examined(
    rows: list[tuple[str, str, Shape]], config: Mapping[str, Any], match: tuple[str, ...] = ()
) -> int | Unknown:
    made = table(rows)
    facts = ModelFacts(ModelRef("x", "directory", format="safetensors"), made, config=config)
    return params.examine(facts, made, params.Choice(match=match)).totals.active_parameters


WHY = "asks transformers and torch, which the test extra leaves out"
MIXTURES: dict[str, tuple[dict[str, Any], int]] = {
    "GraniteMoeForCausalLM": (
        {
            "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
        2,
    ),
    "SwitchTransformersForConditionalGeneration": (
        {
            "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_decoder_layers": 2,
            "num_heads": 2, "num_experts": 4, "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1, "decoder_start_token_id": 0,
        },
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_what_the_class_itself_leaves_idle(name: str, tmp_path: Path) -> None:
    """Of four experts the class holds, those it does not choose are what is left out."""
    pytest.importorskip("torch", reason=WHY)
    transformers: Any = pytest.importorskip("transformers", reason=WHY)
    settings, used = MIXTURES[name]
    cls = getattr(transformers, name)
    config = cls.config_class(vocab_size=40, pad_token_id=0, **settings)
    cls(config).save_pretrained(tmp_path)
    facts = open_model(str(tmp_path), How())
    assert isinstance(facts.tensors, TensorTable)
    found = params.examine(facts, facts.tensors, params.Choice()).totals
    fewer = cls.config_class.from_dict({**config.to_dict(), **dict.fromkeys(EXPERTS, used)})
    # A router keeps a row for each expert, and is used whole.
    routers = sum(p.numel() for n, p in cls(config).named_parameters() if "router" in n)
    less = sum(p.numel() for n, p in cls(fewer).named_parameters() if "router" not in n)
    assert found.active_parameters == less + routers


EXPERTS = ("num_experts", "num_local_experts", "num_experts_per_tok")
