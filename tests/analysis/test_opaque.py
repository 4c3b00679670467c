"""What no family reads: packed all the same, state without its weight, or just a tensor."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis import roles
from modelscope_cli.facts import Unknown
from tests.analysis.test_packed import Row, gptq, nf4, seen

NORM: Row = ("norm.weight", "BF16", (5,))
_MX: Row = ("l.gate_up_proj_blocks", "U8", (2, 8, 4, 16))
HIDDEN: list[tuple[list[Row], str | None, str]] = [
    ([("l.weight", "U8", (3072, 1))], None, ".absmax"),
    ([("l.weight", "U8", (3072, 1)), ("l.weight.quant_map", "F32", (16,))], None, ".absmax"),
    ([("l.w1", "U8", (3072, 1)), ("l.w1.quant_map", "F32", (16,))], None, ".absmax"),
    ([("l.weight", "U8", (3072, 1))], "bitsandbytes", "bitsandbytes is declared"),
    ([("l.weight", "I8", (64, 96))], None, ".SCB"),
    ([_MX], None, "gate_up_proj_scales"),
    ([("l.weight_packed", "I32", (64, 16))], "compressed-tensors", ".weight_scale"),
    ([("l.weight", "U8", (64, 48))], "modelopt", ".weight_scale"),
    ([("l.weight_packed", "I32", (64, 8)), ("l.meta", "I16", (64, 8)),
      ("l.scale_packed", "F16", (1, 64))], "compressed-tensors", ".weight_scale"),
    ([("l.qweight", "I32", (16, 64))], "gptq", ".scales"),
    ([("l.W_q", "U8", (64, 48)), ("l.scale", "F16", (1, 64)), ("l.zero", "F16", (1, 64))],
     "hqq", "hqq"),
    ([("l.W_q", "U8", (64, 48))], None, "HQQ"),
    ([("l.codes", "I8", (64, 8, 1)), ("l.codebooks", "F16", (1, 256, 1, 8)),
      ("l.scales", "F16", (64, 1, 1, 1))], "aqlm", "aqlm"),
    ([("l.codes", "I8", (64, 8, 1)), ("l.codebooks", "F16", (1, 256, 1, 8))], None, "AQLM"),
    ([("l.weight", "I8", (64, 96)), ("l.weight_scales", "F16", (96,))], "eetq", "eetq"),
    ([("l.weight._data", "I8", (64, 96)), ("l.weight._scale", "F16", (64, 1))], None, "quanto"),
    ([("l.weight", "I16", (64, 96)), ("l.scales", "F16", (64, 1))], "higgs", "higgs"),
    ([("l.dense_weights", "U16", (64, 96))], "spqr", "spqr"),
    ([("l.indices", "I16", (1, 64, 96))], "vptq", "vptq"),
    ([("l.q_weight", "I32", (64, 96)), ("l.q_scale", "I32", (4, 12))], "exl2", "exl2"),
    ([("l.anything", "U8", (64, 96))], "torchao", "torchao"),
    ([("l.weight", "U32", (64, 12)), ("l.scales", "BF16", (64, 2)),
      ("l.biases", "BF16", (64, 2))], None, "MLX"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "method", "named"), HIDDEN)
def test_packing_that_cannot_be_seen_through_is_unknown(
    rows: list[Row], method: str | None, named: str
) -> None:
    declared: dict[str, Any] = {} if method is None else {"quant_method": method}
    facts = seen([*rows, NORM], declared=declared)
    hidden = facts[0]
    assert isinstance(hidden.logical, Unknown)
    assert named in hidden.logical.reason
    assert (hidden.role, hidden.scheme) == ("parameter", method)
    assert [fact.role for fact in facts[1:-1]] == ["quantization"] * (len(rows) - 1)
    assert facts[-1].parameters == 5
    assert isinstance(roles.parameters(facts), Unknown)


@pytest.mark.parametrize(
    "row",
    [
        ("embeddings.position_ids", "I64", (1, 512)),
        ("embeddings.position_ids", "I32", (1, 512)),
        ("attn.mask", "U8", (1, 1, 64, 64)),
        ("attn.bias_mask", "I8", (64, 64)),
        ("bn.num_batches_tracked", "I64", ()),
        ("vq.codes", "I32", (64, 8)),
        ("attn.relative_position_index", "I32", (49, 49)),
        ("table.weight", "I32", (9,)),
        ("table.weight", "I64", (9, 9)),
        ("blk.0.ffn_gate_tid2eid.weight", "I32", (64, 6)),
    ],
)
def test_ordinary_integers_stay_buffers(row: Row) -> None:
    assert [fact.role for fact in seen([row, NORM])] == ["buffer", "parameter"]


def test_a_shard_whose_state_is_in_another_one_hides_only_those_weights() -> None:
    rows, values = nf4("l.0.weight", 96, 64)
    facts = seen([*rows, ("l.1.weight", "U8", (3072, 1))], values)
    assert [f.row.name for f in facts if isinstance(f.logical, Unknown)] == ["l.1.weight"]


def test_declared_methods_leave_the_buffers_of_models_they_read_alone() -> None:
    facts = seen([*gptq("l", 64, 128), ("a.table", "I32", (4, 4))], None, {"quant_method": "gptq"})
    assert facts[-1].role == "buffer"


@pytest.mark.parametrize(
    ("row", "method"),
    [
        (("l.scales", "F16", (4, 64)), "gptq"),
        (("l.g_idx", "I32", (64,)), "gptq"),
        (("l.SCB", "F32", (64,)), "bitsandbytes"),
        (("l.weight.absmax", "F32", (48,)), "bitsandbytes"),
        (("l.weight.quant_map", "F32", (16,)), "bitsandbytes"),
        (("l.weight_scale", "F32", (64, 1)), "compressed-tensors"),
        (("l.weight_scale_inv", "F32", (2, 2)), "fp8"),
        (("l.self_attn.q_scale", "F32", (1,)), "compressed-tensors"),
        (("l.self_attn.k_scale", "F32", (1,)), None),
        (("l.self_attn.v_scale", "F32", ()), None),
        (("l.attn.prob_output_scale", "F32", (1,)), None),
        (("l.k_proj.k_scale", "F32", ()), None),
        (("l.kv_scale", "F32", (1,)), None),
        (("l.down_proj.pre_quant_scale", "BF16", (64,)), None),
    ],
)
def test_state_without_its_weight_is_no_parameter(row: Row, method: str | None) -> None:
    declared = {} if method is None else {"quant_method": method}
    facts = seen([row, ("l.k_proj.weight", "BF16", (4, 4))], declared=declared)
    assert [fact.role for fact in facts] == ["quantization", "parameter"]
    assert roles.parameters(facts) == 16


def test_state_of_a_family_that_is_met_elsewhere_is_no_parameter() -> None:
    facts = seen([*gptq("l.0", 64, 128), ("m.1.scales", "F16", (4, 9))])
    assert facts[-1].role == "quantization"


def test_what_norms_and_layers_call_scale_stays_a_parameter() -> None:
    rows: list[Row] = [("norm.scale", "BF16", (5,)), ("l.k_scale", "F32", (9,))]
    assert {fact.role for fact in seen(rows)} == {"parameter"}
    facts = seen([*gptq("l.0", 64, 128), rows[0], ("layer_scale", "F32", (9,))])
    assert [fact.role for fact in facts[-2:]] == ["parameter", "parameter"]


@pytest.mark.parametrize("scaled", [0, 1, 2, 3])
def test_fp8_without_scales_is_plain_whatever_its_neighbours(scaled: int) -> None:
    rows: list[Row] = [(f"l.{i}.weight", "F8_E4M3", (8, 4)) for i in range(3)]
    rows += [(f"l.{i}.weight_scale", "F32", ()) for i in range(scaled)]
    assert roles.parameters(seen(rows)) == 96


@pytest.mark.parametrize(
    "rows",
    [
        [("l.weight", "U8", (64, 48)), ("l.weight_scale", "BF16", (1,))],
        [("l.weight", "U8", (64, 48)), ("l.weight_scale", "BF16", (64, 1))],
        [("l.weight", "U8", (64, 48)), ("l.weight_scale", "F8_E4M3", (64, 6))],
    ],
)
def test_what_is_not_understood_has_the_declared_scheme(rows: list[Row]) -> None:
    assert seen(rows)[0].scheme is None
    fact = seen(rows, declared={"quant_method": "bitnet"})[0]
    assert fact.scheme == "bitnet"
    assert isinstance(fact.logical, Unknown)
    assert "MXFP4" not in fact.logical.reason


def test_floats_called_blocks_and_scales_are_plain() -> None:
    rows: list[Row] = [("x_blocks", "F32", (4, 16)), ("x_scales", "F32", (4,))]
    assert roles.parameters(seen(rows)) == 68
