"""F003 beside transformers itself: what `from_pretrained` says of the same folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.audit.conftest import Audit, Said
from tests.builders import safetensors
from tests.builders.safetensors import Tensor

pytest.importorskip("modelscope_cli.footprint", reason="what weighs a model is not there")
live = pytest.mark.skipif(find_spec("transformers") is None, reason="asks transformers")

_SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "vocab_size": 64,
}  # fmt: skip
_CONV = {
    "conv_dim": [8, 8], "conv_stride": [2, 2], "conv_kernel": [3, 3],
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_CLASSES: Mapping[str, Mapping[str, Any]] = {
    "LlamaForCausalLM": {"num_key_value_heads": 2},
    "Qwen3ForCausalLM": {"num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True},
    "MixtralForCausalLM": {"num_key_value_heads": 2, "num_local_experts": 3},
    "DeepseekV3ForCausalLM": {
        "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2,
        "topk_group": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4, "v_head_dim": 8, "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
    },
    "Phi3ForCausalLM": {"pad_token_id": 0},
    "GPTNeoXForCausalLM": {},
    "BertForSequenceClassification": {},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "T5ForConditionalGeneration": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2},
    "Wav2Vec2ForCTC": _CONV,
    "HubertForCTC": _CONV,
    "WavLMForCTC": _CONV,
    "UniSpeechSatForCTC": _CONV,
    "SEWForCTC": {**_CONV, "squeeze_factor": 1},
    "Data2VecAudioForCTC": {**_CONV, "conv_pos_kernel_size": 3},
}  # fmt: skip

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module", params=_CLASSES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of a class, as `save_pretrained` writes it."""
    import transformers

    cls = getattr(transformers, request.param)
    keys = {} if request.param.startswith(("GPT2", "T5")) else _SMALL
    config = cls.config_class(**keys, **_CLASSES[request.param])
    folder = tmp_path_factory.mktemp("saved")
    cls(config).save_pretrained(folder)
    return folder


def _shapes(folder: Path) -> Shapes:
    raw = (folder / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return {name: tuple(each["shape"]) for name, each in header.items() if name[0] != "_"}


def _without(*names: str) -> Callable[[Shapes], Shapes]:
    return lambda shapes: {k: shape for k, shape in shapes.items() if k not in names}


def _changes(shapes: Shapes) -> Iterator[Callable[[Shapes], Shapes]]:
    """The file as it is, then without one tensor or with another shape, all over it."""
    names = sorted(shapes)
    yield dict
    heads = [name for name in names if "head" in name or "embed_out" in name]
    experts = [name for name in names if ".experts.1." in name]
    for name in dict.fromkeys([names[0], names[len(names) // 2], *heads[-1:], *experts[:2]]):
        yield _without(name)
    vectors = [name for name in names if len(shapes[name]) == 1]
    for name in (vectors[-1], names[len(names) // 3]):
        wrong = (*shapes[name][:-1], shapes[name][-1] + 1)
        yield lambda each, name=name, wrong=wrong: {**each, name: wrong}  # type: ignore[misc]
    yield lambda each: {**each, "nobody.loads.this": (3,)}


def _told(folder: Path) -> tuple[bool, bool]:
    """Whether transformers would make something anew or refuse it, and whether some is extra."""
    import transformers

    config = json.loads((folder / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    try:
        _, info = cls.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except RuntimeError:  # parts that cannot be put together
        return True, False
    return bool(info["missing_keys"] or info["mismatched_keys"]), bool(info["unexpected_keys"])


def _found(said: Said) -> tuple[bool, bool]:
    severities = {each["severity"] for each in said.findings("F003")}
    return "error" in severities, "warning" in severities


@live
def test_the_rule_says_what_transformers_says(saved: Path, audit: Audit, tmp_path: Path) -> None:
    shapes = _shapes(saved)
    config = json.loads((saved / "config.json").read_text())
    for number, change in enumerate(_changes(shapes)):
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        tensors = [Tensor(name, "F32", shape) for name, shape in change(shapes).items()]
        (folder / "model.safetensors").write_bytes(
            safetensors.build(tensors, metadata={"format": "pt"})
        )
        (folder / "config.json").write_text(json.dumps(config))
        said = audit(None, "--select", "F003", model=str(folder))
        assert _found(said) == _told(folder), (number, said.findings("F003"))


@live
@pytest.mark.parametrize("saved", ["MixtralForCausalLM"], indirect=True)
def test_experts_are_named_one_by_one(saved: Path, audit: Audit, tmp_path: Path) -> None:
    shapes = _shapes(saved)
    gone = next(name for name in sorted(shapes) if ".experts.1." in name)
    tensors = [Tensor(name, "F32", shape) for name, shape in _without(gone)(shapes).items()]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(safetensors.build(tensors))
    (tmp_path / "m" / "config.json").write_bytes((saved / "config.json").read_bytes())
    assert audit(None, "--select", "F003").one("F003")["tensor"] == gone


@live
@pytest.mark.parametrize(
    "saved",
    ["LlamaForCausalLM", "MixtralForCausalLM", "Wav2Vec2ForCTC", "HubertForCTC", "SEWForCTC"],
    indirect=True,
)
def test_what_is_known_alone_gives_no_false_alarm(
    saved: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelscope_cli.audit.class_tensors.find_spec", lambda name: None)
    said = audit(None, "--select", "F003", model=str(saved))
    assert not said.findings("F003")


@live
@pytest.mark.parametrize("saved", ["LlamaForCausalLM", "MixtralForCausalLM"], indirect=True)
def test_what_is_known_alone_tells_a_head_and_an_expert(
    saved: Path, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelscope_cli.audit.class_tensors.find_spec", lambda name: None)
    shapes = _shapes(saved)
    for gone in ("lm_head.weight", *[each for each in shapes if ".experts.1." in each][:1]):
        folder = tmp_path / gone
        folder.mkdir()
        tensors = [Tensor(name, "F32", shape) for name, shape in _without(gone)(shapes).items()]
        (folder / "model.safetensors").write_bytes(safetensors.build(tensors))
        (folder / "config.json").write_bytes((saved / "config.json").read_bytes())
        assert audit(None, "--select", "F003", model=str(folder)).one("F003")["tensor"] == gone
