"""Roles: parameters, buffers, and what belongs to a quantized weight."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import roles
from modelscope_cli.analysis.fold import templates
from modelscope_cli.facts import Shape, Unknown
from tests.analysis.tables import table

Row = tuple[str, str, Shape]


def found(*rows: Row) -> list[str]:
    made = table(rows)
    return roles.of(made, templates(made.names)).roles


@pytest.mark.parametrize(
    ("row", "role"),
    [
        (("model.layers.0.mlp.up_proj.weight", "BF16", (4, 4)), "parameter"),
        (("embeddings.position_ids", "I64", (1, 512)), "buffer"),
        (("vision_model.embeddings.position_ids", "F32", (1, 577)), "buffer"),
        (("bn1.running_mean", "F32", (64,)), "buffer"),
        (("bn1.running_var", "F32", (64,)), "buffer"),
        (("bn1.num_batches_tracked", "I64", ()), "buffer"),
        (("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (64,)), "buffer"),
        (("h.0.attn.masked_bias", "F32", ()), "buffer"),
        (("final_logits_bias", "F32", (1, 10)), "buffer"),
        (("model.layers.3.mlp.gate.e_score_correction_bias", "F32", (256,)), "buffer"),
        (("rope_freqs.weight", "F32", (64,)), "buffer"),
        (("h.0.attn.bias", "BOOL", (1, 1, 8, 8)), "buffer"),
        (("h.0.attn.bias", "F32", (8,)), "parameter"),
        (("codes", "U8", (8,)), "buffer"),
        (("x.scales", "F32", (8,)), "parameter"),  # no packed weight beside it
    ],
)
def test_one_tensor_alone(row: Row, role: str) -> None:
    assert found(row) == [role]


def test_an_int8_weight_beside_its_scales_is_a_parameter() -> None:
    assert found(("l.weight", "I8", (8, 4)), ("l.SCB", "F32", (8,))) == [
        "parameter",
        "quantization",
    ]


def test_fp8_weights_have_as_many_parameters_as_elements() -> None:
    made = table([("l.weight", "F8_E4M3", (128, 128)), ("l.weight_scale_inv", "F32", (1, 1))])
    seen = roles.of(made, templates(made.names))
    assert seen.roles == ["parameter", "quantization"]
    assert seen.parameters(made) == 128 * 128


PACKED: list[list[Row]] = [
    [
        ("l.weight", "U8", (32, 1)),
        ("l.weight.absmax", "F32", (1,)),
        ("l.weight.quant_map", "F32", (16,)),
        ("l.weight.quant_state.bitsandbytes__nf4", "U8", (90,)),
    ],
    [
        ("l.qweight", "I32", (8, 64)),
        ("l.qzeros", "I32", (1, 8)),
        ("l.scales", "F16", (1, 64)),
        ("l.g_idx", "I32", (64,)),
    ],
    [
        ("l.weight_packed", "I32", (64, 8)),
        ("l.weight_scale", "BF16", (64, 1)),
        ("l.weight_shape", "I64", (2,)),
    ],
    [
        ("mlp.experts.gate_up_proj_blocks", "U8", (4, 8, 2, 16)),
        ("mlp.experts.gate_up_proj_scales", "U8", (4, 8, 2)),
    ],
]


@pytest.mark.parametrize("rows", PACKED, ids=["bitsandbytes", "gptq", "compressed", "mxfp4"])
def test_packed_weights_and_their_state(rows: list[Row]) -> None:
    assert found(*rows) == ["parameter", *["quantization"] * (len(rows) - 1)]


@pytest.mark.parametrize("rows", PACKED, ids=["bitsandbytes", "gptq", "compressed", "mxfp4"])
def test_packed_elements_are_never_counted_as_parameters(rows: list[Row]) -> None:
    made = table([*rows, ("norm.weight", "BF16", (8,))])
    count = roles.of(made, templates(made.names)).parameters(made)
    assert isinstance(count, Unknown)
    assert "packed" in count.reason
