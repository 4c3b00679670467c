"""Gradients and optimizer states, beside torch's and bitsandbytes' own after a step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from modelscope_cli.analysis.memory.training.states import (
    Linear,
    Trained,
    Training,
    chosen_linears,
    full,
    lora,
)
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown

SIZES = ((4096, 3), (64, 64), (63, 65), (300, 301), (7,), (1, 1))
DTYPES = {"F32": "float32", "BF16": "bfloat16"}


def stepped(parameters: list[Any], optimizer: Any) -> tuple[int, int]:
    """Bytes of gradients, and of what the optimizer keeps on the device, after one step."""
    for parameter in parameters:
        parameter.grad = parameter.detach().clone()
    optimizer.step()
    seen: dict[int, int] = {}
    for name, tensor in states(optimizer):
        if name != "step":
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
    return sum(p.grad.nbytes for p in parameters), sum(seen.values())


def states(optimizer: Any) -> Iterator[tuple[str, Any]]:
    for state in optimizer.state.values():
        for name, value in state.items():
            if hasattr(value, "untyped_storage"):
                yield name, value


def made(dtype: str) -> tuple[list[Trained], list[Any]]:
    torch = pytest.importorskip("torch", reason="its optimizers are asked")
    parameters = [
        torch.nn.Parameter(torch.ones(size, dtype=getattr(torch, DTYPES[dtype]))) for size in SIZES
    ]
    return [Trained(p.numel(), dtype) for p in parameters], parameters


@pytest.mark.parametrize("dtype", DTYPES)
def test_torchs_adamw(dtype: str) -> None:
    trained, parameters = made(dtype)
    torch = pytest.importorskip("torch", reason="its optimizers are asked")
    found = full(trained, "adamw")

    assert isinstance(found, Training)
    assert (found.gradients, found.optimizer) == stepped(parameters, torch.optim.AdamW(parameters))
    assert found.parameters == sum(p.numel() for p in parameters)
    assert found.adapters == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_bitsandbytes_adamw_in_8_bit(dtype: str) -> None:
    trained, parameters = made(dtype)
    bnb = pytest.importorskip("bitsandbytes", reason="its optimizer is asked")
    found = full(trained, "adamw-8bit")
    optimizer = bnb.optim.AdamW8bit(parameters)
    for group, parameter in enumerate(parameters):
        optimizer.init_state(optimizer.param_groups[0], parameter, 0, group)
    seen = {t.data_ptr(): t.untyped_storage().nbytes() for _, t in states(optimizer)}

    assert isinstance(found, Training)
    assert found.optimizer == sum(seen.values())


def test_many_alike_are_as_many_ones() -> None:
    one = full([Trained(5000, "BF16")] * 7, "adamw-8bit")

    assert full([Trained(5000, "BF16", 7)], "adamw-8bit") == one


def test_packed_weights_have_no_gradient() -> None:
    assert full([Trained(10, "F32"), Trained(10, "U8")], "adamw") == Unknown(
        "weights packed as U8 have no gradient: --train lora trains adapters"
    )


def test_an_optimizer_that_nobody_has() -> None:
    with pytest.raises(UsageError, match="adamw, adamw-8bit"):
        full([], "sgd")


LINEARS = (
    Linear("model.layers.*.self_attn.q_proj", 64, 64, 2),
    Linear("model.layers.*.self_attn.k_proj", 64, 32, 2),
    Linear("model.layers.*.mlp.down_proj", 96, 64, 2),
)


@pytest.mark.parametrize("targets", [("all",), ("q_proj", "k_proj"), ("mlp.down_proj",)])
@pytest.mark.parametrize("rank", [1, 8])
def test_adapters_made_by_hand(rank: int, targets: tuple[str, ...]) -> None:
    """A [rank, in] and B [out, rank] in float32, trained with torch's AdamW."""
    torch = pytest.importorskip("torch", reason="its optimizers are asked")
    chosen = chosen_linears(LINEARS, targets)
    adapters = [
        torch.nn.Parameter(torch.ones(shape))
        for each in chosen
        for _ in range(each.times)
        for shape in ((rank, each.inputs), (each.outputs, rank))
    ]
    found = lora(LINEARS, "adamw", rank=rank, targets=targets)

    assert (found.gradients, found.optimizer) == stepped(adapters, torch.optim.AdamW(adapters))
    assert found.adapters == sum(adapter.nbytes for adapter in adapters)
    assert found.parameters == sum(adapter.numel() for adapter in adapters)


def test_peft_makes_the_same_adapters() -> None:
    peft = pytest.importorskip("peft", reason="it makes the adapters")
    transformers = pytest.importorskip("transformers", reason="it makes the model")
    torch = pytest.importorskip("torch", reason="it makes the model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                vocab_size=99,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
        ).to(torch.bfloat16)
        linears = [
            Linear(name, module.in_features, module.out_features)
            for name, module in model.named_modules()
            if type(module) is torch.nn.Linear and name != "lm_head"
        ]
        made = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear"))
    trained = [p for p in made.parameters() if p.requires_grad]
    found = lora(linears, "adamw", rank=4)

    assert found.parameters == sum(p.numel() for p in trained)
    assert found.adapters == sum(p.nbytes for p in trained)


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no linear layer is called gate") as caught:
        lora(LINEARS, "adamw", rank=8, targets=("q_proj", "gate"))

    assert caught.value.hint == "there are down_proj, k_proj, q_proj"
    with pytest.raises(UsageError, match="called proj"):  # whole parts of a name only
        lora(LINEARS, "adamw", rank=8, targets=("proj",))


def test_nothing_to_adapt() -> None:
    assert lora((), "adamw-8bit", rank=8) == Training(
        0, 0, 0, 0, "rank 8 beside 0 linear layers, adapters in float32 as peft keeps them"
    )
