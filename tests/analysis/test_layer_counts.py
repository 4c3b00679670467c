"""Layers by part, from configurations as they come."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.layer_counts import layer_counts
from modelscope_cli.facts import Unknown


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        ({"model_type": "llama", "num_hidden_layers": 3}, {"model": 3}),
        ({"model_type": "gpt2", "n_layer": 5}, {"model": 5}),
        ({"model_type": "never-heard-of", "n_layers": 7}, {"model": 7}),
        ({"model_type": "t5", "num_layers": 4, "num_decoder_layers": 2},
         {"decoder": 2, "encoder": 4}),
        ({"model_type": "whisper", "encoder_layers": 3, "decoder_layers": 2},
         {"decoder": 2, "encoder": 3}),
        ({"model_type": "clip", "vision_config": {"num_hidden_layers": 24},
          "text_config": {"num_hidden_layers": 6}}, {"text": 6, "vision": 24}),
        ({"vision_config": {"num_hidden_layers": 9},
          "thinker_config": {"text_config": {"num_hidden_layers": 8}}},
         {"thinker.text": 8, "vision": 9}),
    ],
)  # fmt: skip
def test_layers_by_part(config: dict[str, Any], counts: dict[str, int]) -> None:
    found = layer_counts(config)
    assert isinstance(found, dict)
    assert list(found.items()) == list(counts.items())


def test_a_saved_configuration_leaves_out_what_is_the_default() -> None:
    assert layer_counts({"model_type": "bert"}) == {"model": 12}


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"model_type": ["x"]},
        {"num_hidden_layers": "12"},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": True},
        {"num_hidden_layers": 10**30},
        {"text_config": {"text_config": {"text_config": {"text_config": {"n_layer": 1}}}}},
    ],
)
def test_what_does_not_say_is_unknown(config: dict[str, Any] | None) -> None:
    assert isinstance(layer_counts(config), Unknown)
