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
        (("h.0.attn.bias", "F32", (1, 1, 8, 8)), "buffer"),
        (("transformer.h.0.attn.attention.bias", "F32", (1, 1, 8, 8)), "buffer"),
        (("h.0.attn.bias", "F32", (1, 1, 8, 4)), "parameter"),
        (("h.0.cross.bias", "F32", (1, 1, 8, 8)), "parameter"),
        (("optimizer.state.0.exp_avg", "F32", (4, 4)), "buffer"),
        (("optimizer_states.0.state.0.exp_avg", "F32", (4, 4)), "buffer"),
        (("lr_schedulers.0.base", "F32", (4,)), "buffer"),
        (("model.optimizer.weight", "F32", (4,)), "parameter"),
        (("l.weight", "QI8", (8, 4)), "parameter"),
        (("l.weight", "QU8", (8, 4)), "parameter"),
        (("l.bias", "QI32", (8,)), "parameter"),
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


def test_gpt2_as_published_holds_its_masks() -> None:
    """124,439,808 parameters, and twelve causal masks that are none."""
    layer: list[Row] = [
        ("ln_1.weight", "F32", (768,)),
        ("ln_1.bias", "F32", (768,)),
        ("attn.bias", "F32", (1, 1, 1024, 1024)),
        ("attn.c_attn.weight", "F32", (768, 2304)),
        ("attn.c_attn.bias", "F32", (2304,)),
        ("attn.c_proj.weight", "F32", (768, 768)),
        ("attn.c_proj.bias", "F32", (768,)),
        ("ln_2.weight", "F32", (768,)),
        ("ln_2.bias", "F32", (768,)),
        ("mlp.c_fc.weight", "F32", (768, 3072)),
        ("mlp.c_fc.bias", "F32", (3072,)),
        ("mlp.c_proj.weight", "F32", (3072, 768)),
        ("mlp.c_proj.bias", "F32", (768,)),
    ]
    rows = rows_of(
        ("wte.weight", "F32", (50257, 768)),
        ("wpe.weight", "F32", (1024, 768)),
        *((f"h.{n}.{name}", dtype, shape) for n in range(12) for name, dtype, shape in layer),
        ("ln_f.weight", "F32", (768,)),
        ("ln_f.bias", "F32", (768,)),
    )
    assert roles.parameters(rows) == 124_439_808
