"""Configurations that the tensors beside them contradict: said, and nothing built on them."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.memory.weights.prepared import Prepared, prepare
from tests.analysis.memory.weights.holding import Rows, examined

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 131,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip
LAYER = {
    "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64), "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64),
    "mlp.down_proj": (64, 96), "input_layernorm": (64,), "post_attention_layernorm": (64,),
}  # fmt: skip
ROWS: Rows = [
    ("model.embed_tokens.weight", "BF16", (131, 64)),
    ("model.norm.weight", "BF16", (64,)),
    ("lm_head.weight", "BF16", (131, 64)),
    *(
        (f"model.layers.{layer}.{name}.weight", "BF16", shape)
        for layer in range(2)
        for name, shape in LAYER.items()
    ),
]


def found(config: dict[str, Any], rows: Rows = ROWS) -> Prepared:
    facts, made = examined(rows, config)
    return prepare(facts, made, config)


def test_what_fits_is_no_contradiction() -> None:
    prepared = found(CONFIG)
    assert (prepared.warnings, prepared.doubts, prepared.anew) == ((), (), ())


@pytest.mark.parametrize(
    ("changes", "says", "spoils"),
    [
        ({"num_attention_heads": 5}, "hidden_size 64 is not divisible by num_attention_heads 5", 2),
        ({"num_key_value_heads": 3}, "heads 4 is not divisible by num_key_value_heads 3", 2),
        ({"num_key_value_heads": 4}, "64 rows together, the configuration asks for 128", 2),
        ({"num_key_value_heads": None}, "num_key_value_heads 4 by default", 2),
        ({"num_attention_heads": None}, "num_attention_heads 32 by default", 2),
        ({"head_dim": 8}, "asks for 32: 2 heads of keys, 8 wide", 2),
        ({"intermediate_size": 200}, "has 96 rows, intermediate_size is 200", 1),
        ({"vocab_size": 999}, "nothing in the configuration is 131", 1),
        ({"num_hidden_layers": 1}, "9 tensors of the file are of layers that the configuration", 0),
        ({"tie_word_embeddings": "true"}, "is 'true', not true or false", 0),
        ({"num_hidden_layers": "2"}, "num_hidden_layers is '2', not a whole number", 0),
    ],
)
def test_each_is_told_with_both_sides(changes: dict[str, Any], says: str, spoils: int) -> None:
    config = {**CONFIG, **changes}
    prepared = found({key: value for key, value in config.items() if value is not None})
    told = [each for each in prepared.warnings if says in each.text]
    assert len(told) == 1
    assert len(told[0].spoils) == spoils


def test_layers_that_are_not_loaded_leave_the_figure_exact() -> None:
    assert found({**CONFIG, "num_hidden_layers": 1}).doubts == ()


def test_layers_that_predict_more_tokens_are_expected() -> None:
    config = {**CONFIG, "num_hidden_layers": 1, "num_nextn_predict_layers": 1}
    assert found(config).warnings == ()


def test_a_width_of_heads_that_is_said_need_not_divide_anything() -> None:
    config = {**CONFIG, "num_attention_heads": 6, "head_dim": 16}
    assert found(config).warnings == ()
