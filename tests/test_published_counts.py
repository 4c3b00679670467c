"""Quantized checkpoints of published models come out at the counts their makers publish.

The checkpoints are header-only, with the real names, dtypes and shapes; where a library can be
asked, it is: for the names a quantizer saves, and for the count of the model it quantized.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelscope_cli.schemes import mxfp4
from modelscope_cli.schemes.base import Logical, Member
from tests.builders import checkpoints
from tests.builders.checkpoints import Checkpoint
from tests.running import Run

NO_TORCH = "torch and transformers are not in the test extra"


class Published(NamedTuple):
    """A checkpoint, how many parameters it has, and what counting stored elements gives."""

    checkpoint: Checkpoint
    parameters: int
    stored_elements: int
    packed: int  # weights that are packed
    scheme: str


def llama(sizes: checkpoints.Llama, quantizer: Any, config: Any, dtype: str = "BF16") -> Checkpoint:
    return checkpoints.llama(sizes, quantizer, config, dtype)


PUBLISHED = {
    "gpt-oss-20b": Published(
        checkpoints.gpt_oss(), 20_914_757_184, 11_956_805_184, 48, "mxfp4"
    ),
    "Llama-3.1-8B-bnb-4bit": Published(
        llama(checkpoints.LLAMA_3_1_8B, checkpoints.nf4, checkpoints.BNB_4BIT),
        8_030_261_248, 4_650_175_072, 224, "nf4",
    ),
    "Llama-2-7B-GPTQ": Published(
        llama(checkpoints.LLAMA_2_7B, checkpoints.gptq, checkpoints.GPTQ_4BIT, "F16"),
        6_738_415_616, 1_129_967_616, 224, "gptq",
    ),
    "Llama-3.1-8B-NVFP4": Published(
        llama(checkpoints.LLAMA_3_1_8B, checkpoints.nvfp4, checkpoints.NVFP4)._replace(
            files={"hf_quant_config.json": checkpoints.HF_QUANT_CONFIG}
        ),
        8_030_261_248, 4_976_808_384, 224, "nvfp4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("declared", [True, False])
def test_counts(name: str, declared: bool, tmp_path: Path, run: Run) -> None:
    """With or without a quantization config: shapes decide."""
    published = PUBLISHED[name]
    config = dict(published.checkpoint.config)
    if not declared:
        config.pop("quantization_config")
    checkpoint = published.checkpoint._replace(
        config=config, files=published.checkpoint.files if declared else {}
    )
    folder = checkpoints.write(tmp_path / name, checkpoint)
    done = run("params", str(folder), "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    totals = document["totals"]
    assert totals["parameters"] == published.parameters
    assert totals["stored_elements"] == published.stored_elements
    schemes = Counter(tensor["scheme"] for tensor in document["tensors"] if tensor["scheme"])
    assert schemes[published.scheme] == published.packed
    roles = {tensor["name"]: tensor["role"] for tensor in document["tensors"]}
    assert set(roles.values()) == {"parameter", "quantization"}
    assert done.err == ""


@pytest.mark.parametrize("name", PUBLISHED)
def test_pack_lists_what_is_packed(name: str, tmp_path: Path, run: Run) -> None:
    published = PUBLISHED[name]
    folder = checkpoints.write(tmp_path / name, published.checkpoint)
    done = run("pack", str(folder), "--json")
    assert done.code == 0, done.err
    tensors = json.loads(done.out)["tensors"]
    assert len(tensors) == published.packed
    assert all(tensor["logical"]["elements"] > 0 for tensor in tensors)
    bits = {tensor["bits_per_weight"] for tensor in tensors}
    assert all(4 < each < 4.6 for each in bits)


def test_gpt_oss_through_the_scheme_alone() -> None:
    tensors = {tensor.name: tensor for tensor in checkpoints.gpt_oss().tensors}
    parameters = 0
    for name, tensor in tensors.items():
        if name.endswith("_scales"):
            continue
        shape = tuple(tensor.shape)
        if name.endswith("_blocks"):
            scales = tensors[name.removesuffix("_blocks") + "_scales"]
            seen = mxfp4.see_through(
                {
                    "_blocks": Member(tensor.dtype, shape),
                    "_scales": Member(scales.dtype, tuple(scales.shape)),
                },
                {},
            )
            assert isinstance(seen, Logical)
            shape = seen.shape
        parameters += prod(shape)
    assert parameters == 20_914_757_184


@pytest.mark.parametrize(
    ("checkpoint", "parameters"),
    [(published.checkpoint, published.parameters) for published in PUBLISHED.values()],
    ids=list(PUBLISHED),
)
def test_transformers_counts_the_same(checkpoint: Checkpoint, parameters: int) -> None:
    model = built(checkpoint)
    assert sum(tensor.numel() for tensor in model.parameters()) == parameters


def built(checkpoint: Checkpoint) -> Any:
    """The model of a checkpoint's config, unquantized, on the meta device."""
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    transformers = pytest.importorskip("transformers", reason=NO_TORCH)
    config = dict(checkpoint.config)
    config.pop("quantization_config")
    kind = transformers.CONFIG_MAPPING[config.pop("model_type")]
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(kind.from_dict(config))


def test_gpt_oss_has_the_names_that_transformers_loads() -> None:
    checkpoint = checkpoints.gpt_oss()
    names = {tensor.name: tuple(tensor.shape) for tensor in checkpoint.tensors}
    theirs = {name: tuple(tensor.shape) for name, tensor in built(checkpoint).named_parameters()}
    for name in list(names):
        if name.endswith("_blocks"):
            base = name.removesuffix("_blocks")
            *lead, groups, size = names.pop(name)
            assert names.pop(f"{base}_scales") == (*lead, groups)
            experts, rows = lead
            assert theirs.pop(base) == (experts, groups * size * 2, rows)  # its transpose
    assert names == theirs


def test_nf4_has_the_names_that_bitsandbytes_saves() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not in the test extra")
        for rows, columns in [(64, 192), (33, 65), (7, 9), (512, 640)]:
            layer = bnb.nn.Linear4bit(columns, rows, bias=False, quant_type="nf4")
            layer.weight = bnb.nn.Params4bit(
                torch.randn(rows, columns, dtype=torch.bfloat16),
                quant_type="nf4", compress_statistics=True,
            )  # fmt: skip
            saved = layer.to("cpu").state_dict()
            ours = checkpoints.nf4(rows, columns)
            state = "weight.quant_state.bitsandbytes__nf4"
            theirs = {name: tuple(tensor.shape) for name, tensor in saved.items() if name != state}
            assert {t.name: tuple(t.shape) for t in ours.tensors if t.name != state} == theirs
            described = json.loads(bytes(saved[state].tolist()))
            assert {**json.loads(ours.values[state]), "nested_offset": 0.0} == {
                **described, "nested_offset": 0.0
            }  # fmt: skip
