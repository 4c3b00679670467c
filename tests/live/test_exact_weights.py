"""`--exact`: weights beside models saved and loaded with transformers and bitsandbytes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelscope_cli import footprint, load
from modelscope_cli.analysis.memory import modes, weighing
from modelscope_cli.facts import Unknown
from modelscope_cli.live.exact_weights import ExactParts, exact_weights
from tests.live import loaded
from tests.live.tiny import MODELS, Tiny, configured

torch = pytest.importorskip("torch", reason="models are loaded with it")
transformers = pytest.importorskip("transformers", reason="it loads the models")


class Mode(NamedTuple):
    """A way to load: what is asked of us, and what from_pretrained is given."""

    name: str
    ours: dict[str, Any]
    dtype: str
    bitsandbytes: dict[str, Any] | None = None


_NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
MODES = (
    Mode("float32", {"dtype": "F32"}, "float32"),
    Mode("bfloat16", {"dtype": "BF16"}, "bfloat16"),
    Mode("float16", {"dtype": "F16"}, "float16"),
    Mode("nf4", {"scheme": "nf4", "dtype": "BF16"}, "bfloat16", _NF4),
    Mode("fp4", {"scheme": "fp4", "dtype": "F32"}, "float32", {"load_in_4bit": True}),
    Mode(
        "nf4 with double quantization",
        {"scheme": "nf4", "double_quant": True, "dtype": "F16"},
        "float16",
        {**_NF4, "bnb_4bit_use_double_quant": True},
    ),
    Mode("int8", {"scheme": "int8", "dtype": "F16"}, "float16", {"load_in_8bit": True}),
)


def loaded_from(folder: Path, tiny: Tiny, dtype: str | None, bnb: dict[str, Any] | None) -> Any:
    """The model as from_pretrained makes it; its warnings are about numbers, not bytes."""
    options: dict[str, Any] = {} if dtype is None else {"dtype": getattr(torch, dtype)}
    if bnb is not None:
        options["quantization_config"] = transformers.BitsAndBytesConfig(**bnb)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(transformers, tiny.architecture).from_pretrained(folder, **options)


def saved(tmp_path: Path, tiny: Tiny, **more: Any) -> dict[str, Any]:
    """Save random weights, and give the config.json that lies beside them."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[tiny.model_type](**{**tiny.settings, **more})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(transformers, tiny.architecture)(config).save_pretrained(tmp_path)
    found: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    return found


def exact(config: dict[str, Any], tiny: Tiny, **ours: Any) -> ExactParts:
    found = exact_weights(config, tiny.architecture, **ours)
    assert isinstance(found, ExactParts), found
    return found


def header_only(folder: Path, mode: Mode) -> dict[str, int]:
    """What `mscope memory` says of the saved folder: from its headers and configuration alone."""
    scheme = mode.ours.get("scheme")
    double = mode.ours.get("double_quant", False)
    asked = modes.Mode("stored", scheme, double, mode.ours["dtype"])
    found = weighing.weigh(footprint.model_of(load.open_model(str(folder))), asked)
    assert not isinstance(found, Unknown), found
    return dict(loaded.as_mapping(found))


@pytest.mark.parametrize("tiny", MODELS, ids=lambda tiny: tiny.id)
def test_every_mode_of_a_model(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    config = saved(tmp_path, tiny)
    ours = {mode.name: loaded.as_mapping(exact(config, tiny, **mode.ours)) for mode in MODES}
    theirs = {
        mode.name: loaded.parts(loaded_from(tmp_path, tiny, mode.dtype, mode.bitsandbytes))
        for mode in MODES
    }

    assert ours == theirs
    assert {mode.name: header_only(tmp_path, mode) for mode in MODES} == theirs


@pytest.mark.parametrize("saved_as", ["nf4", "int8"])
def test_a_checkpoint_that_bitsandbytes_saved(saved_as: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    tiny = MODELS[0]
    saved(tmp_path / "plain", tiny)
    mode = next(mode for mode in MODES if mode.name == saved_as)
    quantized = loaded_from(tmp_path / "plain", tiny, mode.dtype, mode.bitsandbytes)
    quantized.save_pretrained(tmp_path / "packed")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())

    theirs = loaded.parts(loaded_from(tmp_path / "packed", tiny, None, None))
    assert loaded.as_mapping(exact(config, tiny)) == theirs
    assert theirs["quantization"] > 0


def test_its_weights_keep_the_dtype_of_the_file(tmp_path: Path) -> None:
    """Loading it in another dtype leaves parameters called `weight` as the file has them."""
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    tiny = MODELS[0]
    saved(tmp_path / "plain", tiny)
    nf4 = next(mode for mode in MODES if mode.name == "nf4")
    loaded_from(tmp_path / "plain", tiny, nf4.dtype, nf4.bitsandbytes).save_pretrained(
        tmp_path / "packed"
    )
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    model = loaded_from(tmp_path / "packed", tiny, "float32", None)
    dtypes = {name: "BF16" for name, _ in model.named_parameters()}

    ours = exact(config, tiny, dtype="F32", file_dtypes=dtypes)
    assert loaded.as_mapping(ours) == loaded.parts(model)
    assert ours.weights != exact(config, tiny, dtype="F32").weights


def test_what_is_left_alone_and_why() -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    mixtral = next(tiny for tiny in MODELS if tiny.model_type == "mixtral")
    found = exact(configured(mixtral), mixtral, scheme="nf4", dtype="BF16")
    reasons = {row.pattern: row.reason for row in found.left}

    assert found.quantized_modules == 2 * 4
    assert found.quantized_parameters == 2 * (64 * 64 * 2 + 64 * 32 * 2)
    assert reasons["model.layers.*.mlp.experts.gate_up_proj"] == (
        "a raw parameter of MixtralExperts, no Linear"
    )
    assert reasons["lm_head.weight"] == "the output head, left alone by default"
    assert reasons["model.embed_tokens.weight"] == "an embedding, not a linear layer"
    assert sum(row.bytes for row in found.left) == sum(
        held.bytes for held in found.tensors if held.part == "weights" and held.dtype == "BF16"
    )


def test_a_list_of_modules_to_skip_replaces_the_default(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="it packs the weights")
    tiny = MODELS[0]
    config = saved(tmp_path, tiny)
    asked = {**_NF4, "llm_int8_skip_modules": ["q_proj"]}

    ours = exact(config, tiny, scheme="nf4", dtype="BF16", skip=["q_proj"])
    assert loaded.as_mapping(ours) == loaded.parts(loaded_from(tmp_path, tiny, "bfloat16", asked))
    reasons = {row.pattern: row.reason for row in ours.left}
    assert "lm_head.weight" not in reasons
    assert "list of modules" in reasons["model.layers.*.self_attn.q_proj.weight"]


def test_a_pair_that_differs_in_the_file_is_not_tied(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny = next(tiny for tiny in MODELS if tiny.model_type == "qwen3")
    config = saved(tmp_path, tiny)
    tensors = load_file(tmp_path / "model.safetensors")
    head = tensors["model.embed_tokens.weight"] + 1
    save_file({**tensors, "lm_head.weight": head}, tmp_path / "model.safetensors", {"format": "pt"})
    theirs = loaded.parts(loaded_from(tmp_path, tiny, None, None))

    tied, untied = exact(config, tiny), exact(config, tiny, untied=["lm_head.weight"])
    assert loaded.as_mapping(untied) == theirs
    assert theirs["weights"] == tied.weights + head.numel() * 4
    assert (tied.tied, untied.tied) == ((("lm_head.weight", "model.embed_tokens.weight"),), ())


def test_the_class_that_the_type_is_mostly_used_as() -> None:
    bert = next(tiny for tiny in MODELS if tiny.architecture == "BertForMaskedLM")
    config = configured(bert)
    made_up = exact_weights(config, "BertForNobody")

    assert isinstance(made_up, ExactParts)
    assert made_up.class_name == "BertLMHeadModel"
    assert "has no BertForNobody" in (made_up.note or "")
    whole = exact_weights(config, None)
    assert isinstance(whole, ExactParts)
    assert (whole.class_name, whole.note) == ("BertLMHeadModel", None)


def test_numbers_that_json_has_not() -> None:
    """transformers writes infinity as an object."""
    config = {"model_type": "mamba2", "time_step_limit": [0.0, {"__float__": "Infinity"}]}
    found = exact_weights({**config, "num_hidden_layers": 1}, "Mamba2ForCausalLM", dtype="BF16")

    assert isinstance(found, ExactParts), found


_LLAMA = configured(MODELS[0])
_REMOTE = {"auto_map": {"AutoModel": "code.Evil"}}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "no model_type"),
        ({"model_type": ["llama"]}, "no model_type"),
        ({"model_type": "made-up"}, "has no model type 'made-up'"),
        ({"model_type": "made-up", **_REMOTE}, "never run"),
        ({**_LLAMA, **_REMOTE, "architectures": ["Evil"]}, "Evil is remote code"),
        ({**_LLAMA, "num_attention_heads": 0}, "ZeroDivisionError"),
        ({**_LLAMA, "hidden_size": -64}, "cannot build LlamaForCausalLM"),
        ({**_LLAMA, "hidden_size": "a"}, "hidden_size"),
        ({**_LLAMA, "hidden_size": 10**12}, "hidden_size of this configuration is beyond"),
        ({**_LLAMA, "num_hidden_layers": 10**8}, "stopped at"),
        ({**_LLAMA, "quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ({**_LLAMA, "quantization_config": {}}, "quantization_config"),
    ],
)
def test_what_cannot_be_built_says_why(config: dict[str, Any], reason: str) -> None:
    architecture = (config.get("architectures") or [None])[0]
    found = exact_weights(config, architecture)

    assert isinstance(found, Unknown)
    assert reason in found.reason
    assert "\n" not in found.reason
