"""Names of files as transformers reads them: asked of its own loading code."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.knowledge.modules import find
from modelscope_cli.knowledge.renames import LONGEST_NAME, Renamed, Rule
from tests.bounded import within
from tools import knowledge_build as building
from tools import knowledge_conversions, knowledge_tables, knowledge_truth

# Type, class, and names as they are in published files: old ones, ones of the base model.
FILES = (
    ("mixtral", "MixtralForCausalLM", (
        "model.layers.3.block_sparse_moe.experts.7.w1.weight",
        "model.layers.3.block_sparse_moe.experts.7.w2.weight",
        "model.layers.3.block_sparse_moe.gate.weight",
        "layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
    )),
    ("deepseek_v3", "DeepseekV3ForCausalLM", (
        "model.layers.3.mlp.experts.200.gate_proj.weight",
        "model.layers.3.mlp.experts.200.down_proj.weight",
        "model.layers.3.mlp.gate.e_score_correction_bias",
        "model.layers.3.mlp.shared_experts.up_proj.weight",
        "model.layers.61.eh_proj.weight",
    )),
    ("bert", "BertForMaskedLM", (
        "bert.embeddings.LayerNorm.gamma",
        "embeddings.LayerNorm.beta",
        "encoder.layer.11.output.LayerNorm.weight",
        "bert.pooler.dense.weight",
        "cls.seq_relationship.weight",
        "cls.predictions.transform.LayerNorm.gamma",
    )),
    ("bert", "BertModel", (
        "bert.embeddings.LayerNorm.gamma",
        "bert.pooler.dense.bias",
        "cls.predictions.bias",
        "bertembeddings.word_embeddings.weight",
    )),
    ("gpt2", "GPT2LMHeadModel", ("h.0.attn.c_attn.weight", "wte.weight", "h.0.attn.bias")),
    ("llava", "LlavaForConditionalGeneration", (
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "language_model.lm_head.weight",
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
        "multi_modal_projector.linear_1.bias",
        "model.language_model.model.norm.weight",
    )),
    ("qwen2_vl", "Qwen2VLForConditionalGeneration", (
        "visual.blocks.0.attn.qkv.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.visual.merger.mlp.0.weight",
        "lm_head.weight",
    )),
    ("wav2vec2", "Wav2Vec2ForCTC", (
        "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
        "wav2vec2.encoder.pos_conv_embed.conv.weight_v",
        "encoder.layers.0.final_layer_norm.weight",
    )),
    # With another configuration it has this norm in the base model.
    ("beit", "BeitForMaskedImageModeling", ("layernorm.weight", "beit.cls_token")),
    ("vit", "ViTForImageClassification", (
        "vit.encoder.layer.0.attention.attention.query.weight",
        "vit.encoder.layer.0.intermediate.dense.weight",
        "vit.encoder.layer.0.output.dense.weight",
    )),
)  # fmt: skip


@pytest.mark.parametrize(("model_type", "name", "names"), FILES, ids=[row[1] for row in FILES])
def test_names_of_published_files(model_type: str, name: str, names: tuple[str, ...]) -> None:
    pytest.importorskip("transformers", reason="the truth is the library's loading code")
    model = building.build(building.class_of(name), building.config_of(model_type, name))
    renaming = knowledge_truth.Renaming(model)
    found = find(model_type, name)
    assert found is not None
    for each in names:
        got = found.rename(each)
        assert (got.name, got.merged) == renaming.of(each)
        assert (found.parameter(got.name) is not None) == (got.name in renaming.own)


def test_the_table_is_what_the_library_maps() -> None:
    pytest.importorskip("transformers", reason="the table is made of the library's mapping")
    assert knowledge_conversions.records() == knowledge_tables.read("conversions")


def test_experts_become_one_tensor() -> None:
    mixtral = find("mixtral", None)
    assert mixtral is not None
    target = "model.layers.0.mlp.experts.gate_up_proj"
    for part in ("w1", "w3"):
        renamed = mixtral.rename(f"model.layers.0.block_sparse_moe.experts.5.{part}.weight")
        assert renamed == Renamed(target, (target,), merged=True)


def test_one_tensor_becomes_several() -> None:
    found = find("radio", None)
    assert found is not None
    renamed = found.rename("radio_model.model.blocks.3.attn.qkv.weight")
    of = [f"encoder.layer.3.attention.{part}_proj.weight" for part in "qkv"]
    assert [name.removeprefix(f"{found.base_prefix}.") for name in renamed.targets] == of
    assert not renamed.merged


def test_a_group_waits_for_the_name_that_only_old_files_have() -> None:
    data: dict[str, Any] = {
        "p": [[0, r"blocks.(\d+).norm0(?!\w)"], [1, r"blocks.(\d+).norm1(?!\w)"]],
        "t": [r"blocks.\1.norm1", r"blocks.\1.norm2"],
        "k": "group",
    }
    rule = Rule(data, None)
    assert rule.guards("blocks.7.norm0.weight")
    assert not rule.guards("blocks.7.norm1.weight")
    assert rule.apply("blocks.7.norm0.weight") == "blocks.7.norm1.weight"
    assert rule.apply("blocks.7.norm1.weight") == "blocks.7.norm2.weight"


@pytest.mark.parametrize("old", [True, False])
def test_an_old_file_and_a_new_one(old: bool) -> None:
    pytest.importorskip("transformers", reason="the truth is the library's loading code")
    name = building.class_names("kimi_k25")[0]
    model = building.build(building.class_of(name), building.config_of("kimi_k25", name))
    norms = ("norm0", "norm1", "mlp.fc0", "mlp.fc1") if old else ("norm1", "norm2", "mlp.fc1")
    names = sorted(
        f"vision_tower.encoder.blocks.{n}.{part}.weight" for n in (0, 1) for part in norms
    )
    renaming = knowledge_truth.Renaming(model)
    found = find("kimi_k25", name)
    assert found is not None
    found.look_at(names)
    assert [found.rename(each).name for each in names] == [renaming.of(each)[0] for each in names]


@pytest.mark.parametrize("model_type", ["mixtral", "deepseek_v3", "qwen2_vl", "radio", "beit"])
def test_no_name_takes_long_to_rename(model_type: str) -> None:
    found = find(model_type, None)
    assert found is not None
    most = LONGEST_NAME
    names = [
        ("mlp.experts.gate_proj.weight" * 40)[:most],
        ("gate_proj.weight" + ".mlp.experts" * 100)[:most],
        ("model." * 200)[:most],
        "model." + "0." * 400,
        "block_sparse_moe.experts" * 40,
        "a" * 10_000_000,
        "\n" * most,
        "(" * most,
        "\\1" * 400,
    ]

    def work() -> None:
        for _ in range(10):
            for name in names:
                found.rename(name)

    within(0.3, work)
