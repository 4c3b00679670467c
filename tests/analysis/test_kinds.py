"""Kinds of tensors by their names, over the naming habits of many architectures."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import kinds
from tests.analysis.tables import table
from tests.bounded import within


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("embeddings.position_ids", "embedding"),
        ("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "embedding"),
        ("token_embd.weight", "embedding"),
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("blk.0.attn_q.weight", "attention"),
        ("h.0.attn.c_attn.weight", "attention"),
        ("model.layers.0.mlp.gate_proj.weight", "mlp"),
        ("blk.0.ffn_up.weight", "mlp"),
        ("encoder.layer.0.intermediate.dense.weight", "mlp"),
        ("model.layers.3.mlp.experts.7.down_proj.weight", "expert"),
        ("blk.3.ffn_gate_exps.weight", "expert"),
        ("model.layers.3.block_sparse_moe.gate.weight", "router"),
        ("model.layers.3.mlp.gate.e_score_correction_bias", "router"),
        ("blk.3.ffn_gate_inp.weight", "router"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.0.self_attn.q_norm.weight", "norm"),
        ("embeddings.LayerNorm.weight", "norm"),
        ("blk.0.attn_norm.weight", "norm"),
        ("h.0.ln_1.weight", "norm"),
        ("lm_head.weight", "head"),
        ("output.weight", "head"),
        ("backbone.layers.0.mixer.A_log", "mixer"),
        ("features.0.conv.weight", "convolution"),
        ("something.else", "other"),
    ],
)
def test_names_as_they_are_met(name: str, kind: str) -> None:
    assert kinds.of(table([(name, "F32", (1,))])) == [kind]


def test_a_hostile_name_costs_no_time() -> None:
    hostile = table([("norm_" * 13_000, "F32", (1,)), ("a." * 30_000, "F32", (1,))])
    within(1, lambda: kinds.of(hostile))
