"""Activations by estimate, beside forwards of transformers' classes on the meta device."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from modelscope_cli.analysis.memory.activations import Activations, estimate
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.lines import look_up
from modelscope_cli.live.exact_run import ExactRun, exact_run
from tests.live.published import DECODERS, OTHERS, Published

NEAR = 0.25
MOST = 0.8


def config_of(model: Published) -> dict[str, Any]:
    transformers = pytest.importorskip("transformers", reason="its classes are run")
    made = transformers.CONFIG_MAPPING[model.model_type](**model.settings, dtype="bfloat16")
    written: dict[str, Any] = made.to_dict()
    return written


@cache
def both(name: str, batch: int, context: int) -> tuple[Activations, ExactRun]:
    model = next(each for each in DECODERS + OTHERS if each.name == name)
    pytest.importorskip("torch", reason="forwards are run with it")
    config = config_of(model)
    guess = estimate(
        config, model.architecture, batch=batch, context=context, dtype_bytes=2,
        encoder_context=context,
    )  # fmt: skip
    run = exact_run(config, model.architecture, batch=batch, context=context)
    assert isinstance(guess, Activations), (model.name, guess)
    assert isinstance(run, ExactRun), (model.name, run)
    return guess, run


def far(model: Published, batch: int, context: int) -> list[tuple[str, str, float]]:
    """What is off by more than a quarter: name, which figure, estimate over truth."""
    guess, run = both(model.name, batch, context)
    fields = [field for field in run.activations._fields if getattr(run.activations, field)]
    ratios = {field: getattr(guess, field) / getattr(run.activations, field) for field in fields}
    return [(model.name, field, ratio) for field, ratio in ratios.items() if abs(ratio - 1) > NEAR]


FIGURES = ("prefill_bytes", "all_logits_bytes", "decode_bytes")


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("models", "batch", "context"),
    [(DECODERS, 1, 2000), (DECODERS, 4, 300), (OTHERS, 2, 700)],
    ids=["decoders", "decoders, short", "encoders, pictures and sound"],
)
def test_most_are_within_a_quarter(
    models: tuple[Published, ...], batch: int, context: int, figure: str
) -> None:
    off = [each for model in models for each in far(model, batch, context) if each[1] == figure]

    assert len(off) <= (1 - MOST) * len(models), off


LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
}  # fmt: skip


def guessed(config: dict[str, Any], architecture: str | None = None, **more: Any) -> Activations:
    asked = {"batch": 1, "context": 2048, "dtype_bytes": 2, **more}
    found = estimate(config, architecture, **asked)
    assert isinstance(found, Activations), found
    return found


def test_llama_3_8b() -> None:
    """Measured: 810,549,248 with the cache's 268,435,456, and 512,770,048 with one logit."""
    found = guessed(LLAMA)

    assert found.prefill_bytes == pytest.approx(512_770_048 - 268_435_456, rel=0.02)
    assert found.all_logits_bytes == pytest.approx(810_549_248 - 268_435_456, rel=0.1)


def test_what_it_grows_with() -> None:
    one = guessed(LLAMA).prefill_bytes

    assert guessed(LLAMA, batch=3).prefill_bytes == 3 * one
    assert guessed(LLAMA, context=4096).prefill_bytes == 2 * one
    assert guessed(LLAMA, dtype_bytes=4).prefill_bytes == 2 * one
    assert guessed({**LLAMA, "num_hidden_layers": 64}).prefill_bytes == one
    assert guessed(LLAMA, context=0).prefill_bytes < one / 100


def test_scores_that_are_written_out_grow_with_pairs() -> None:
    """gpt-oss has no other attention: its sinks."""
    config = {"model_type": "gpt_oss"}
    short, long = (guessed(config, context=n).prefill_bytes for n in (4096, 8192))

    assert long > 3.5 * short


def test_a_model_without_a_head_has_no_logits() -> None:
    head, none = (
        guessed(LLAMA, architecture).all_logits_bytes
        for architecture in ("LlamaForCausalLM", "LlamaForSequenceClassification")
    )

    assert head > none == guessed(LLAMA, "LlamaModel").prefill_bytes


def test_a_type_that_nobody_knows_is_taken_for_a_plain_decoder() -> None:
    found = guessed({**LLAMA, "model_type": "made-up"})

    assert found.prefill_bytes == pytest.approx(guessed(LLAMA).prefill_bytes, rel=0.1)
    assert found.note.endswith("nothing is known of model type made-up")


def test_sound_of_which_no_size_is_known() -> None:
    assert "ten seconds of sound" in guessed({"model_type": "hubert"}, "HubertForCTC").note


@pytest.mark.parametrize("model_type", ["llama", "bert", "gpt2"])
def test_what_is_known_is_what_the_library_does(model_type: str) -> None:
    pytest.importorskip("torch", reason="forwards are run with it")
    pytest.importorskip("transformers", reason="its classes are run")
    from tools import knowledge_activations

    assert knowledge_activations.record(model_type) == look_up("activations", model_type)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "hidden_size"),
        ({"model_type": "made-up", "hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({**LLAMA, "hidden_size": 0}, "hidden_size is 0"),
        ({**LLAMA, "num_attention_heads": -1}, "num_attention_heads is -1"),
        ({**LLAMA, "vocab_size": [1]}, "vocab_size"),
    ],
)
def test_a_configuration_that_makes_no_sense(config: dict[str, Any], reason: str) -> None:
    found = estimate(config, None, batch=1, context=100, dtype_bytes=2)

    assert isinstance(found, Unknown)
    assert reason in found.reason


@pytest.mark.parametrize(("batch", "context"), [(1, 2**60), (2**60, 1), (-1, 1), (1, -1)])
def test_numbers_out_of_all_proportion(batch: int, context: int) -> None:
    found = estimate(LLAMA, None, batch=batch, context=context, dtype_bytes=2)

    assert found == Unknown("activations: the number of tokens is out of all proportion")
