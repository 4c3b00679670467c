"""What is known of classes: compared with the classes themselves, and generated again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelscope_cli.knowledge import lines, modules
from modelscope_cli.knowledge.modules import ClassModules, Parameter, Tie, find, is_known_type
from modelscope_cli.knowledge.renames import LONGEST_NAME
from tests.bounded import within
from tools import knowledge_build as building
from tools import knowledge_classes, knowledge_tables, knowledge_truth

# A model type of each make; `-k` chooses one.
SAMPLE = (
    "llama", "mixtral", "deepseek_v3", "gpt2", "falcon", "bloom", "gemma3", "llava", "clip",
    "bert", "roberta", "t5", "bart", "whisper", "mamba", "jamba", "qwen3_next", "gpt_oss",
    "qwen2_vl", "vit", "wav2vec2", "d_fine", "mimi", "blip-2", "vision-encoder-decoder",
)  # fmt: skip
# Few seconds each, and what they are made by has every kind of branch.
GENERATED = ("llama", "deepseek_v3", "llava", "t5")


def known(model_type: str, name: str | None = None, **config: Any) -> ClassModules:
    found = find(model_type, name, config)
    assert found is not None
    return found


def test_parameters_by_name() -> None:
    llama = known("llama")
    assert llama.name == "LlamaForCausalLM"
    assert llama.parameter("model.layers.79.mlp.down_proj.weight") == Parameter("linear", None)
    assert llama.parameter("model.embed_tokens.weight") == Parameter("embedding", None)
    assert llama.parameter("model.norm.weight") == Parameter("norm", None)
    for name in ("", ".", "model", "model.norm", "model.norm.bias", "norm.weight", "model.layers.x",
                 "model.layers.*", "model.layers..mlp.down_proj.weight", "lm_head.weight.weight",
                 "\0", "model.layers.²‍.mlp.down_proj.weight"):  # fmt: skip
        assert llama.parameter(name) is None, name


@pytest.mark.parametrize(
    ("model_type", "name", "kind"),
    [
        ("mixtral", "model.layers.0.mlp.experts.gate_up_proj", "raw"),
        ("mixtral", "model.layers.0.mlp.gate.weight", "raw"),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", "conv1d"),
        ("falcon", "transformer.h.0.self_attention.dense.weight", "sublinear"),
        ("clip", "vision_model.embeddings.patch_embedding.weight", "conv"),
        ("deepseek_v3", "model.layers.9.mlp.gate.e_score_correction_bias", "buffer"),
        ("llama", "model.layers.9.self_attn.q_proj.bias", "linear"),  # with attention_bias
        ("deepseek_v3", "model.layers.9.self_attn.q_proj.weight", "linear"),  # q_lora_rank: null
        ("t5", "encoder.block.1.layer.1.DenseReluDense.wi.weight", "linear"),  # not gated
    ],
)
def test_kinds_of_parameters(model_type: str, name: str, kind: str) -> None:
    found = known(model_type).parameter(name)
    assert found is not None
    assert found.kind == kind


def test_the_configuration_chooses_the_models_within() -> None:
    bias = "model.language_model.layers.0.self_attn.q_norm.weight"
    assert known("llava").parameter(bias) is None  # Llama
    qwen = known("llava", text_config={"model_type": "qwen3"})
    assert qwen.parameter(bias) == Parameter("norm", None)
    assert "model.language_model.layers.*" in qwen.no_split
    other = known("llava", text_config={"model_type": "no such type"})
    assert other.unknown_parts == ("model.language_model",)
    assert other.parameter(bias) is None
    assert other.parameter("model.multi_modal_projector.linear_1.weight") is not None


def test_what_is_not_known() -> None:
    assert find("llama", "BertModel") is None
    assert find("no such type", None) is None
    assert find(None, "LlamaForCausalLM") is None
    assert find("llama/LlamaModel", None) is None
    for kind in ('llama"', "llama\t", "llama\n", "", "\0", "\ud800", "x" * 100_000):
        assert not is_known_type(kind)
    assert is_known_type("llama")
    assert not is_known_type(None)
    assert find("llava", None, {"text_config": [1], "vision_config": {"model_type": 3}}) is not None


def test_what_loading_asks() -> None:
    bert = known("bert", "BertForMaskedLM")
    word = "bert.embeddings.word_embeddings.weight"
    assert Tie("cls.predictions.decoder.weight", word, "tie_word_embeddings") in bert.ties
    assert bert.last == "cls.predictions.decoder.bias"
    assert bert.output_embedding == "cls.predictions.decoder"
    assert known("t5").keep_in_fp32 == ("wo",)
    assert known("deepseek_v3").keep_in_fp32_strict == ("e_score_correction_bias",)
    assert known("llama").no_split == ("model.layers.*",)
    assert known("llama4").patched == ("language_model.model.layers.*.feed_forward.experts",)
    assert known("llama").order()[0] == "model.embed_tokens.weight"


def test_models_within_models_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a configuration says, and however deep."""
    record = {
        "parts": [["inner", "text_config", "a", "base", 1]],
        "tree": {"inner": "@=base:text_config"},
    }
    table = {"a": {"classes": ["A"], "auto": {"base": "A"}}, "a/A": record}
    monkeypatch.setattr(modules, "look_up", lambda _, key: table.get(key))
    found = find("a", None, {})
    assert found is not None
    assert found.parameter("inner." * 100 + "weight") is None
    assert list(found.order()) == []


def test_names_of_any_length_take_little_time() -> None:
    llama = known("llama")
    names = [
        "model.layers." + "9" * 900,
        "model." * 160,
        "." * LONGEST_NAME,
        "model.layers.0.mlp.experts" * 40_000,
        "9" * 10_000_000,
    ]

    def work() -> None:
        for name in names:
            assert llama.parameter(name) is None
            llama.rename(name)
            llama.position(name)

    within(0.1, work)


def test_a_file_of_parameters_takes_little_time() -> None:
    parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj", "input_layernorm")
    names = [f"model.layers.{i}.{part}.weight" for i in range(125) for part in parts]

    def work() -> None:
        lines._mapped.cache_clear()
        lines.look_up.cache_clear()
        llama = known("llama", "LlamaForCausalLM")
        assert all(llama.parameter(llama.rename(name).name) for name in names)

    within(0.01, work)


def test_the_tables_are_sorted_lines() -> None:
    for table in ("classes", "conversions"):
        path = knowledge_tables.FOLDER / f"{table}.jsonl"
        text = path.read_text(encoding="utf-8")
        values = knowledge_tables.read(table)
        assert text == "".join(knowledge_tables.line(k, values[k]) + "\n" for k in sorted(values))
        for key in sorted(values)[::50]:
            assert json.dumps(lines.look_up(table, key)) == json.dumps(values[key])


@pytest.mark.parametrize("model_type", SAMPLE)
def test_classes_are_as_they_are_built(model_type: str) -> None:
    """Parameters, dtypes, order, renames, ties and skip lists of every class of the type."""
    pytest.importorskip("transformers", reason="the truth is the library's classes")
    for name in building.class_names(model_type):
        found = find(model_type, name)
        if found is None:
            continue  # not built by default: listed by `python -m tools.knowledge_truth`
        model = knowledge_truth.small_model(model_type, name)
        assert list(knowledge_truth.differences(model, found)) == [], name


@pytest.mark.parametrize("model_type", GENERATED)
def test_the_lines_are_what_the_generator_writes(model_type: str) -> None:
    pytest.importorskip("transformers", reason="the generator builds the library's classes")
    path = knowledge_tables.FOLDER / "classes.jsonl"
    of_type = (f'"{model_type}"', f'"{model_type}/')
    written = [each for each in path.read_text("utf-8").splitlines() if each.startswith(of_type)]
    now = knowledge_classes.records(model_type)
    assert [knowledge_tables.line(key, now[key]) for key in sorted(now)] == written
