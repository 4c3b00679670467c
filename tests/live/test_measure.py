"""`--measure`: a model loaded for real, beside what was predicted of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.live import memory_here
from modelscope_cli.live.exact_weights import ExactParts, exact_weights
from modelscope_cli.live.measure import Measured, measure
from modelscope_cli.load import open_model
from tests.live import loaded
from tests.live.test_exact_weights import loaded_from, saved
from tests.live.tiny import MODELS, Tiny

pytest.importorskip("torch", reason="models are loaded with it")
pytest.importorskip("transformers", reason="it loads the models")

ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": "F32"},
    {"scheme": "nf4", "dtype": "BF16"},
    {"scheme": "nf4", "double_quant": True, "dtype": "F16"},
    {"scheme": "int8", "dtype": "F16"},
)
CHOSEN = ("LlamaForCausalLM", "GPT2LMHeadModel", "MixtralForCausalLM", "T5EncoderModel",
          "CLIPModel", "Qwen3ForCausalLM")  # fmt: skip


def measured(facts: ModelFacts, **asked: Any) -> Measured:
    found = measure(facts, **asked)
    assert isinstance(found, Measured), found
    return found


@pytest.mark.parametrize("tiny", [t for t in MODELS if t.id in CHOSEN], ids=lambda tiny: tiny.id)
def test_as_predicted(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    config = saved(tmp_path, tiny)
    facts = open_model(str(tmp_path))
    for asked in ASKED:
        predicted = exact_weights(config, tiny.architecture, **asked)
        found = measured(facts, **asked)

        assert isinstance(predicted, ExactParts)
        assert loaded.as_mapping(found) == loaded.as_mapping(predicted)
        assert found.class_name == tiny.architecture
        assert (found.missing, found.unexpected) == ((), ())
        assert found.seconds > 0


def test_a_checkpoint_that_is_packed_already(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    tiny = MODELS[0]
    saved(tmp_path / "plain", tiny)
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    loaded_from(tmp_path / "plain", tiny, "bfloat16", nf4).save_pretrained(tmp_path / "packed")

    found = measured(open_model(str(tmp_path / "packed")))
    theirs = loaded.parts(loaded_from(tmp_path / "packed", tiny, None, None))
    assert loaded.as_mapping(found) == theirs
    assert found.quantization > 0


def test_what_the_file_lacks_and_what_nobody_loads(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path, MODELS[0])
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["made.up"] = tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})

    found = measured(open_model(str(tmp_path)))
    assert found.missing == ("model.norm.weight",)
    assert found.unexpected == ("made.up",)


def test_the_process_grows_by_about_as_much(tmp_path: Path) -> None:
    if memory_here.resident() is None:
        pytest.skip("this system does not tell")
    tiny = MODELS[0]
    saved(tmp_path, tiny, vocab_size=200_000, hidden_size=256)
    found = measured(open_model(str(tmp_path)), dtype="BF16")

    assert found.resident_bytes is not None
    assert found.resident_bytes > 0.8 * found.load_bytes
    assert found.devices == ()


def test_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, MODELS[0])
    monkeypatch.setattr(memory_here, "available", lambda torch: 1000)

    found = measure(open_model(str(tmp_path)))
    assert isinstance(found, Unknown)
    assert found.reason.endswith("1000 B are free here")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "not in safetensors"),
        ({"adapter_config.json": b"{}"}, "LoRA adapter"),
        ({"model.safetensors": b"\x02" + bytes(7) + b"{}", "config.json": b"{}"}, "no config.json"),
    ],
)
def test_what_is_not_loaded(files: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    saved(tmp_path, MODELS[0])
    facts = open_model(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    if "config.json" in files:
        facts = facts._replace(config=None)

    found = measure(facts)
    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_a_file_and_a_builtin_are_no_folder(tmp_path: Path) -> None:
    saved(tmp_path, MODELS[0])
    alone = measure(open_model(str(tmp_path / "model.safetensors")))
    builtin = measure(open_model("builtin:llama3-8b"))

    assert alone == Unknown("a model is loaded from its folder: name that, not one file")
    assert builtin == Unknown("a built-in model has no weights to load")


def test_a_file_that_the_library_refuses(tmp_path: Path) -> None:
    saved(tmp_path, MODELS[0])
    facts = open_model(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)

    found = measure(facts)
    assert isinstance(found, Unknown)
    assert "cannot load it" in found.reason


def test_no_code_of_the_model_is_run(tmp_path: Path) -> None:
    """A folder may bring code for a class that the library has too."""
    config = saved(tmp_path, MODELS[0])
    (tmp_path / "evil.py").write_text("raise SystemExit('it was run')")
    config["auto_map"] = {"AutoModelForCausalLM": "evil.LlamaForCausalLM",
                          "AutoConfig": "evil.LlamaConfig"}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert measured(open_model(str(tmp_path))).class_name == "LlamaForCausalLM"
