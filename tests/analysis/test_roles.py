"""Roles: parameters, buffers, and what belongs to a quantized weight."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import packed, roles
from modelscope_cli.analysis.fold import fold, templates
from modelscope_cli.facts import Shape
from tests.analysis.tables import table

Row = tuple[str, str, Shape]


def rows_of(*rows: Row) -> list[roles.RowFact]:
    made = table(rows)
    alike = list(zip(made.dtypes, made.shapes, strict=True))
    folded = fold(made.names, templates(made.names), alike)
    return roles.of(packed.see(folded, made, {}, {}), made)


def found(*rows: Row) -> list[str]:
    return [row.role for row in rows_of(*rows)]


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
    rows = rows_of(("l.weight", "F8_E4M3", (128, 128)), ("l.weight_scale_inv", "F32", (1, 1)))
    assert [row.role for row in rows] == ["parameter", "quantization"]
    assert roles.parameters(rows) == 128 * 128
