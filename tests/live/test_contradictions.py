"""Checkpoints that lack something or contradict their configuration, beside transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import footprint, load
from modelscope_cli.analysis.memory import modes, weighing
from tests.live import loaded
from tests.live.test_exact_weights import MODES, header_only, loaded_from, saved
from tests.live.tiny import MODELS

safetensors = pytest.importorskip("safetensors.torch", reason="it writes what is loaded")
pytest.importorskip("transformers", reason="it loads the models")

LLAMA = next(tiny for tiny in MODELS if tiny.architecture == "LlamaForCausalLM")
PLAIN = [mode for mode in MODES if mode.name in ("bfloat16", "nf4", "int8")]


def _changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _without(folder: Path, part: str) -> None:
    path = folder / "model.safetensors"
    kept = {name: t for name, t in safetensors.load_file(path).items() if part not in name}
    safetensors.save_file(kept, path, metadata={"format": "pt"})


@pytest.mark.parametrize("lacking", ["1.mlp.up_proj", "0.self_attn", "layers.1.", "a whole layer"])
def test_what_the_file_lacks_is_in_memory_all_the_same(lacking: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    saved(tmp_path, LLAMA)
    if lacking == "a whole layer":
        _changed(tmp_path, num_hidden_layers=3)
    else:
        _without(tmp_path, lacking)
    for mode in PLAIN:
        theirs = loaded_from(tmp_path, LLAMA, mode.dtype, mode.bitsandbytes)
        assert header_only(tmp_path, mode) == loaded.parts(theirs), mode.name


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 128},
        {"intermediate_size": 200},
        {"num_attention_heads": 5},
        {"num_key_value_heads": 1},
        {"num_hidden_layers": "2"},
        {"tie_word_embeddings": "true"},
        {"vocab_size": 999},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_transformers_refuses_is_a_warning(changes: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path, LLAMA)
    _changed(tmp_path, head_dim=None, **changes)
    with pytest.raises(Exception, match=r"mismatched|multiple|expected"):
        loaded_from(tmp_path, LLAMA, "bfloat16", None)
    model = footprint.model_of(load.open_model(str(tmp_path)))
    assert any("transformers would refuse it" in each.text for each in model.warnings)
    assert weighing.why_estimate(model, modes.Mode("16")) is not None
