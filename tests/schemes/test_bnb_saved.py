"""Checkpoints that transformers saves of tiny models quantized with bitsandbytes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import pytest

from modelscope_cli import load
from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.facts import ModelFacts, Shape, TensorTable
from modelscope_cli.schemes import FAMILIES, bnb, bnb_state
from modelscope_cli.schemes.base import Logical, Member, Options

torch = pytest.importorskip("torch", reason="bitsandbytes runs on torch")
transformers = pytest.importorskip("transformers", reason="saves the checkpoints")
pytest.importorskip("accelerate", reason="transformers needs it to quantize")
pytest.importorskip("bitsandbytes", reason="the library that packs")

LLAMA = {
    "vocab_size": 99, "hidden_size": 36, "intermediate_size": 52, "num_hidden_layers": 2,
    "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 12,
    "max_position_embeddings": 32,
}  # fmt: skip
GPT2 = {"vocab_size": 99, "n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": 32}
MODELS = {"llama": ("LlamaForCausalLM", LLAMA), "gpt2": ("GPT2LMHeadModel", GPT2)}
MODES: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4 twice": {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
    },
    "fp4": {"load_in_4bit": True},
    "nf4 in bfloat16": {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_quant_storage": "bfloat16",
    },
    "fp4 twice in float32": {
        "load_in_4bit": True, "bnb_4bit_use_double_quant": True,
        "bnb_4bit_quant_storage": "float32",
    },
    "int8": {"load_in_8bit": True},
}  # fmt: skip


class Saved(NamedTuple):
    """A quantized checkpoint, its config's settings, and the shapes before by module."""

    facts: ModelFacts
    settings: dict[str, Any]
    before: dict[str, Shape]


@pytest.fixture(scope="module", params=[(m, how) for m in MODELS for how in MODES], ids=str)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Saved, loaded quantized, saved again in shards that part a weight from its tensors."""
    model, mode = request.param
    class_, settings = getattr(transformers, MODELS[model][0]), MODES[mode]
    config = class_.config_class(**MODELS[model][1])
    plain, packed = (tmp_path_factory.mktemp(name) for name in ("plain", "packed"))
    original = class_(config).to(torch.bfloat16)
    original.save_pretrained(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the libraries say of each other
        quantized = class_.from_pretrained(
            plain,
            quantization_config=transformers.BitsAndBytesConfig(**settings),
            device_map="cpu",
        )
        quantized.save_pretrained(packed, max_shard_size="8KB")
    return Saved(load.open_model(str(packed)), settings, _linear_shapes(original))


def _linear_shapes(model: Any) -> dict[str, Shape]:
    """[out, in] of each layer that computes `x W`; Conv1D keeps the transpose."""
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    return {
        name: tuple(module.weight.T.shape if isinstance(module, kinds[1]) else module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    }


def _packed(facts: ModelFacts) -> dict[str, dict[str, Member]]:
    """The members of every packed weight, by its module's name, as FAMILIES names them."""
    table = facts.tensors
    assert isinstance(table, TensorTable)
    rows = {row.name: row for row in table}
    found: dict[str, dict[str, Member]] = {}
    for family in FAMILIES:
        if family.module != "bnb":
            continue
        for name in rows:
            if not name.endswith(family.marker):
                continue
            base = name.removesuffix(family.marker[0])
            found[base.removesuffix(".weight")] = {
                suffix: Member(
                    rows[base + suffix].dtype,
                    rows[base + suffix].shape,
                    facts.values.get((None, base + suffix)),
                )
                for suffix in (family.packed, *family.state)
                if base + suffix in rows
            }
    return found


def test_every_packed_tensor_is_seen_through(saved: Saved) -> None:
    packed = _packed(saved.facts)
    scheme = "int8" if "load_in_8bit" in saved.settings else saved.settings.get(
        "bnb_4bit_quant_type", "fp4"
    )  # fmt: skip

    seen = {name: bnb.see_through(members, {}) for name, members in packed.items()}

    assert len(seen) == len(saved.before) - 1  # all but the output head
    for name, logical in seen.items():
        assert isinstance(logical, Logical), (name, logical)
        assert (logical.scheme, logical.shape) == (scheme, saved.before[name])


def test_every_packed_tensor_is_what_pack_makes(saved: Saved) -> None:
    storage = saved.settings.get("bnb_4bit_quant_storage")
    options = Options(
        double_quant=saved.settings.get("bnb_4bit_use_double_quant", False),
        storage=TORCH[storage].name if storage else None,
    )
    for name, members in _packed(saved.facts).items():
        scheme = next((s for s in bnb.FOUR_BITS if bnb_state.SUFFIX + s in members), "int8")
        packing = bnb.pack(scheme, saved.before[name], options)
        head = "weight" if "" in members else "."
        parts = {
            (part.name.removeprefix("weight") if head == "weight" else f".{part.name}"): part
            for part in packing.parts
            if part.name != "weight.nested_offset"  # a number in quant_state
        }
        apart = {bnb_state.SUFFIX + scheme, ".weight_format"}  # told of in the steps
        assert {
            suffix: (member.dtype, member.shape)
            for suffix, member in members.items()
            if suffix not in apart
        } == {suffix: (part.dtype, part.shape) for suffix, part in parts.items()}
        for suffix in apart & members.keys():
            assert _told(packing.steps, members[suffix]), (suffix, packing.steps)


def _told(steps: tuple[str, ...], member: Member) -> bool:
    """Whether a step gives the size of what a saved file adds."""
    size = DTYPES[member.dtype].size(member.elements)
    if b"nested_offset" in (member.value or b""):
        digits = (member.value or b"").rpartition(b" ")[2].rstrip(b"}")
        return any(f"{member.elements - len(digits)} bytes of JSON +" in step for step in steps)
    return any("a saved file adds" in step and f" {size} byte" in step for step in steps)
