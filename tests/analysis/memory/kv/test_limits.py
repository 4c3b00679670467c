"""The longest context a model was made for."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.memory.kv.limits import context_limit
from tests.analysis.memory.kv.test_cache import DEEPSEEK_V3, LLAMA_8B, WHISPER


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LLAMA_8B, 8192),
        (DEEPSEEK_V3, 163_840),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 32_768}}, 32_768),
        (WHISPER, 448),
        ({"model_type": "mamba"}, None),
        ({"model_type": "xlnet"}, None),
        ({"model_type": "llama", "max_position_embeddings": "many"}, None),
        ({"model_type": "bert"}, 512),
        (
            {
                "model_type": "qwen2",
                "max_position_embeddings": 32_768,
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32_768,
                },
            },
            131_072,
        ),
    ],
    ids=lambda value: str(value.get("model_type")) if isinstance(value, dict) else str(value),
)
def test_context_limit(config: dict[str, Any], limit: int | None) -> None:
    assert context_limit(config) == limit
