"""Packing a whole model, and stored shapes read backwards."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modelscope_cli.analysis import packing, params
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable
from modelscope_cli.schemes.base import Options
from modelscope_cli.sources import builtin
from tests.analysis.tables import table


def rows(name: str) -> tuple[TensorTable, list[RowFact]]:
    facts = builtin.load(name)
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors, params.examine(facts, facts.tensors, params.Choice()).folded()


def test_huozi3_in_nf4_is_what_transformers_4_held_of_it() -> None:
    tensors, facts = rows("huozi3")
    found = packing.what_if(facts, tensors, "nf4", Options())
    assert found.stored_bytes == 27_057_227_776
    assert sum(len(row.row.indices) for row in found.packed) == 928


def test_what_stays_has_a_reason() -> None:
    tensors, facts = rows("llama3-8b")
    found = packing.what_if(facts, tensors, "nf4", Options(double_quant=True))
    assert {kept.fact.row.name: kept.reason for kept in found.kept}["lm_head.weight"]
    assert all(kept.reason for kept in found.kept)


def test_llama3_8b_in_double_quant_is_what_bitsandbytes_allocates() -> None:
    # 5,702,540,160 B as measured holds 320 bytes of buffers beside parameters and state.
    tensors, facts = rows("llama3-8b")
    found = packing.what_if(facts, tensors, "nf4", Options(double_quant=True))
    assert 0 <= 5_702_540_160 - found.stored_bytes < 1024


def kept_of(
    shapes: Mapping[str, tuple[int, ...]], scheme: str = "nf4", model_type: str | None = None
) -> set[str]:
    """Two-dimensional weights that stay, of a model of those tensors."""
    made = table([(name, "BF16", shape) for name, shape in shapes.items()])
    config = {"model_type": model_type}
    facts = ModelFacts(ModelRef("m", "directory"), made, config=config)
    found = packing.what_if(
        params.examine(facts, made, params.Choice()).folded(), made, scheme, Options(), config
    )
    return {
        made.names[index]
        for kept in found.kept
        for index in kept.fact.row.indices
        if len(made.shapes[index]) == 2
    }


LAYER = {"layer.0.fc.weight": (64, 64), "layer.0.fc.bias": (64,)}
T5 = {
    "shared.weight": (96, 64),
    "encoder.block.0.layer.0.SelfAttention.q.weight": (64, 64),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 8),
    "encoder.block.0.layer.1.DenseReluDense.wi.weight": (128, 64),
    "encoder.block.0.layer.1.DenseReluDense.wo.weight": (64, 128),
    "lm_head.weight": (96, 64),
}


@pytest.mark.parametrize("model_type", ["t5", None])
def test_t5_keeps_what_bitsandbytes_keeps(model_type: str | None) -> None:
    packed = set(T5) - kept_of(T5, "int8", model_type)
    assert {name.split(".")[-2] for name in packed} == {"q", "wi"}
    assert "wo" in {name.split(".")[-2] for name in set(T5) - kept_of(T5, "q8_0", model_type)}


@pytest.mark.parametrize("head", ["classifier", "score", "qa_outputs", "cls.seq_relationship"])
def test_a_head_with_a_bias_is_packed_by_bitsandbytes_alone(head: str) -> None:
    weight = {f"{head}.weight": (32, 64)}
    biased = {**LAYER, **weight, f"{head}.bias": (32,)}
    assert not kept_of(biased)
    assert kept_of(biased, "q8_0") == set(weight)
    assert kept_of({**LAYER, **weight}) == set(weight)  # then it is the last parameter


@pytest.mark.parametrize("head", ["lm_head", "embed_out", "cls.predictions.decoder"])
def test_an_output_embedding_stays_with_a_bias_too(head: str) -> None:
    weight = {f"{head}.weight": (32, 64)}
    assert kept_of({**LAYER, **weight, f"{head}.bias": (32,)}) == set(weight)


def test_the_transform_before_berts_head_is_a_linear_layer() -> None:
    base = "cls.predictions.transform.dense"
    assert not kept_of({**LAYER, f"{base}.weight": (64, 64), f"{base}.bias": (64,)})


def test_clip_keeps_its_last_parameter() -> None:
    both = {"text_projection.weight": (64, 64), "visual_projection.weight": (64, 64)}
    assert kept_of({**LAYER, **both}) == {"text_projection.weight"}
    del both["text_projection.weight"]
    assert kept_of({**LAYER, **both}) == {"visual_projection.weight"}


def test_nothing_of_falcon_is_packed_by_bitsandbytes() -> None:
    assert kept_of(LAYER, "nf4", "falcon") == {"layer.0.fc.weight"}
    assert not kept_of(LAYER, "q8_0", "falcon")
    assert not kept_of(LAYER, "nf4", "falcon_h1")


def test_gpt2s_transposed_layers_are_packed() -> None:
    gpt2 = {"wte.weight": (96, 64), "h.0.attn.c_attn.weight": (64, 192)}
    assert kept_of({**gpt2, "h.0.attn.c_attn.bias": (192,)}) == {"wte.weight"}


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_every_scheme_packs_and_reads_its_own_shape_backwards(scheme: str) -> None:
    made = packing.pack(scheme, (512, 1024), Options())
    stored = made.packed
    readings = packing.backwards(stored.shape, None)
    assert any(reading.held.weights == made.elements for reading in readings)
    assert made.total_bytes == sum(part.bytes for part in made.parts)


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_a_scheme_without_options_passes_the_check(scheme: str) -> None:
    packing.check(scheme, Options())


@pytest.mark.parametrize("size", [16, 24, 32, 96, 128, 1000])
def test_group_sizes_that_divide_pass_the_check(size: int) -> None:
    packing.check("awq", Options(group=size))
    packing.check("fp8-block", Options(block=size))


def test_a_stored_shape_finds_the_experts_it_can_be() -> None:
    tensors, facts = rows("huozi3")
    readings = list(packing.backwards((29_360_128, 1), "U8", facts, tensors))
    fits = next(reading.fits for reading in readings if reading.held.weights == 58_720_256)
    assert sum(len(fact.row.indices) for fact in fits) == 768
    assert {packing.repeats(fact) for fact in fits} == {"8 experts x 32 layers"}


def test_an_option_that_a_scheme_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="--bits means nothing to nf4"):
        packing.pack("nf4", (8, 8), Options(bits=3))


def test_a_scheme_nobody_has_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError) as refusal:
        packing.pack("nf44", (8, 8), Options())
    assert "nf4" in (refusal.value.hint or "")
