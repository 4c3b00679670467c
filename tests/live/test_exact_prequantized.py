"""`--exact` for checkpoints that are quantized already: skeletons of transformers' quantizers."""

from __future__ import annotations

import importlib.util
import json
from math import ceil, prod
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.facts import Unknown
from modelscope_cli.live.exact_weights import ExactParts, exact_weights
from tests.live import loaded
from tests.live.tiny import MODELS, Tiny, configured

torch = pytest.importorskip("torch", reason="models are built with it")
transformers = pytest.importorskip("transformers", reason="its quantizers are asked")


def tiny_of(model_type: str) -> Tiny:
    return next(tiny for tiny in MODELS if tiny.model_type == model_type)


def declared(tiny: Tiny, quantization: dict[str, Any]) -> dict[str, Any]:
    return {**configured(tiny, dtype="bfloat16"), "quantization_config": quantization}


def plain(tiny: Tiny) -> ExactParts:
    found = exact_weights(configured(tiny, dtype="bfloat16"), tiny.architecture)
    assert isinstance(found, ExactParts)
    return found


def exact(config: dict[str, Any]) -> ExactParts:
    found = exact_weights(config, config["architectures"][0])
    assert isinstance(found, ExactParts), found
    return found


def test_fp8_in_blocks_experts_included() -> None:
    """As DeepSeek-V3's files say, on a card with the kernels."""
    tiny = tiny_of("deepseek_v3")
    quantization = {"quant_method": "fp8", "weight_block_size": [16, 16]}
    found = exact(declared(tiny, {**quantization, "activation_scheme": "dynamic"}))
    before = {held.name: held for held in plain(tiny).tensors}

    packed = [held for held in found.tensors if held.dtype == "F8_E4M3"]
    assert {held.shape for held in packed} == {before[held.name].shape for held in packed}
    assert found.quantized_parameters == sum(prod(held.shape) for held in packed)
    assert found.quantization == 4 * sum(
        prod(held.shape[:-2]) * ceil(held.shape[-2] / 16) * ceil(held.shape[-1] / 16)
        for held in packed
    )
    assert found.weights == sum(
        held.bytes // (2 if name in {each.name for each in packed} else 1)
        for name, held in before.items()
        if held.part == "weights"
    )
    assert any("experts" in held.name for held in packed)


def test_mxfp4_keeps_experts_packed() -> None:
    tiny = tiny_of("gpt_oss")
    skip = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
    found = exact(declared(tiny, {"quant_method": "mxfp4", "modules_to_not_convert": skip}))
    packed = {held.name: held for held in found.tensors if held.dtype == "U8"}
    experts = [held for held in plain(tiny).tensors if held.name.endswith(("up_proj", "down_proj"))]

    assert len(experts) == 2 * 2
    for held in experts:
        weights = prod(held.shape)
        assert packed[held.name].bytes == weights // 2
        assert packed[f"{held.name}_scales"].bytes == weights // 32
    assert found.quantized_parameters == sum(prod(held.shape) for held in experts)
    assert found.quantization == sum(prod(held.shape) // 32 for held in experts)


_PACKED_INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32},
        }
    },
}


def test_compressed_tensors_beside_a_real_load(tmp_path: Path) -> None:
    compressors = pytest.importorskip("compressed_tensors.compressors", reason="it packs weights")
    settings = pytest.importorskip("compressed_tensors.quantization", reason="it packs weights")
    from safetensors.torch import save_file

    tiny = tiny_of("llama")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**tiny.settings)).bfloat16()
    asked = {key: value for key, value in _PACKED_INT4.items() if key != "quantization_status"}
    scheme = settings.QuantizationConfig(**asked)
    settings.apply_quantization_config(model, scheme)
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            module.weight_scale.data.fill_(1)
    compressors.ModelCompressor(quantization_config=scheme).compress_model(model)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = declared(tiny, _PACKED_INT4)
    (tmp_path / "config.json").write_text(json.dumps(config))

    theirs = loaded.parts(transformers.AutoModelForCausalLM.from_pretrained(tmp_path))
    found = exact(config)
    assert found.load_bytes == sum(theirs.values())
    assert found.buffers == theirs["buffers"]
    assert {held.dtype for held in found.tensors if held.part == "quantization"} == {"BF16", "I64"}
    assert found.quantized_modules == 2 * 7
    assert found.quantized_parameters == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_what_needs_a_package_that_is_not_there(method: str) -> None:
    if any(importlib.util.find_spec(name) for name in ("gptqmodel", "optimum")):
        pytest.skip("the packages are there")
    asked = {"quant_method": method, "bits": 4, "group_size": 32, "zero_point": True}
    found = exact_weights(declared(tiny_of("llama"), asked), "LlamaForCausalLM")

    assert isinstance(found, Unknown)
    assert "Error" in found.reason


def test_no_bitsandbytes_on_top() -> None:
    found = exact_weights(
        declared(tiny_of("llama"), {"quant_method": "fp8"}), "LlamaForCausalLM", scheme="nf4"
    )

    assert isinstance(found, Unknown)
    assert "quantized already (fp8)" in found.reason


def test_nothing_is_written_while_a_skeleton_is_converted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("compressed_tensors", reason="it draws progress bars")
    exact(declared(tiny_of("llama"), _PACKED_INT4))

    assert capfd.readouterr() == ("", "")
