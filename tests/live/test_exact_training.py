"""A training step on meta, beside real ones on the CPU, and what the estimate says of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from modelscope_cli.analysis.memory.training.activations import Kept, kept
from modelscope_cli.facts import Unknown
from modelscope_cli.live.exact_training import exact_training
from tests.analysis.memory.test_activations import config_of
from tests.live.published import DECODERS, OTHERS, Published
from tests.live.test_exact_run import allocated, inputs, real
from tests.live.tiny import MODELS, Tiny, configured

torch = pytest.importorskip("torch", reason="steps are made with it")
pytest.importorskip("transformers", reason="its classes are trained")

CHOSEN = ("LlamaForCausalLM", "Qwen3ForCausalLM", "OPTForCausalLM", "GPTNeoXForCausalLM",
          "BertForMaskedLM", "BartForConditionalGeneration", "GraniteForCausalLM")  # fmt: skip
NEAR, MOST = 0.25, 0.8


def without_dropout(tiny: Tiny) -> Tiny:
    """Its masks are made in kernels on a CPU, and as tensors on meta."""
    off = ("attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout",
           "activation_dropout", "hidden_dropout")  # fmt: skip
    there = configured(tiny)
    return tiny._replace(settings={**tiny.settings, **{k: 0.0 for k in off if k in there}})


def step(model: Any, given: dict[str, Any]) -> None:
    words = given.get("decoder_input_ids", given["input_ids"])
    model(**given, labels=words, use_cache=False).loss.backward()


def real_step(tiny: Tiny, *, checkpointing: bool = False) -> int:
    """The most that is allocated in a step, gradients given away at once."""
    model, given = real(tiny, torch.float32).train(), inputs(tiny, torch.float32)
    if checkpointing:  # the name before and after 5.23
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)()
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return allocated(lambda: step(model, given))[0]


@pytest.mark.parametrize("tiny", [t for t in MODELS if t.id in CHOSEN], ids=lambda tiny: tiny.id)
def test_a_step_on_the_cpu(tiny: Tiny) -> None:
    """Gradients pass through the real one; here they are some KiB of what is kept."""
    tiny = without_dropout(tiny)
    found = exact_training(
        configured(tiny), tiny.architecture, batch=2, context=37, encoder_context=23, dtype="F32",
        device="cpu",
    )  # fmt: skip

    assert isinstance(found, int), found
    assert found == pytest.approx(real_step(tiny), rel=0.1)


def ratio(model: Published, context: int) -> float | None:
    config = config_of(model)
    truth = exact_training(config, model.architecture, context=context)
    if isinstance(truth, Unknown):
        return None
    guess = kept(config, model.architecture, batch=1, context=context, dtype_bytes=2)
    assert isinstance(guess, Kept)
    return guess.bytes / truth


@pytest.mark.parametrize("context", [512, 1500])
def test_the_estimate_is_within_a_quarter_for_most(context: int) -> None:
    ratios = {model.name: ratio(model, context) for model in DECODERS + OTHERS[:1]}
    known = {name: found for name, found in ratios.items() if found is not None}
    off = {name: found for name, found in known.items() if abs(found - 1) > NEAR}

    assert len(known) > 0.9 * len(DECODERS)
    assert len(off) <= (1 - MOST) * len(known), off


def test_checkpointing_keeps_inputs_of_layers_alone() -> None:
    """Of many layers: beside one that is made again, what each is given."""
    tiny = without_dropout(MODELS[0])
    deep = tiny._replace(settings={**tiny.settings, "num_hidden_layers": 24})
    asked: dict[str, Any] = {"batch": 2, "context": 37, "dtype_bytes": 4}
    all_of_it, inputs_alone = (
        kept(configured(deep), deep.architecture, **asked, checkpointing=checkpointing)
        for checkpointing in (False, True)
    )

    assert isinstance(all_of_it, Kept)
    assert isinstance(inputs_alone, Kept)
    assert all_of_it.bytes == pytest.approx(real_step(deep), rel=NEAR)
    assert inputs_alone.bytes == pytest.approx(real_step(deep, checkpointing=True), rel=NEAR)
    assert inputs_alone.bytes < all_of_it.bytes / 4


def test_what_is_not_trained_so() -> None:
    vit = next(tiny for tiny in MODELS if tiny.model_type == "vit")
    bert = next(tiny for tiny in MODELS if tiny.id == "BertModel")
    picture = exact_training(configured(vit), vit.architecture, context=10)
    headless = exact_training(configured(bert), bert.architecture, context=10)

    assert picture == Unknown("ViTForImageClassification is trained on no text")
    assert isinstance(headless, Unknown)
    assert "BertModel cannot be trained" in headless.reason


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_configuration_that_makes_no_sense(checkpointing: bool) -> None:
    asked: dict[str, Any] = {"dtype_bytes": 2, "checkpointing": checkpointing}
    sizes = {"hidden_size": 64, "num_attention_heads": 4}

    assert isinstance(kept({}, None, batch=1, context=8, **asked), Unknown)
    nothing = kept({**sizes, "num_hidden_layers": "x"}, None, batch=1, context=8, **asked)
    huge = kept({**sizes, "num_hidden_layers": 2}, None, batch=2**50, context=8, **asked)
    assert isinstance(nothing, Unknown)
    assert "num_hidden_layers" in nothing.reason
    assert huge == Unknown("activations: the number of tokens is out of all proportion")
