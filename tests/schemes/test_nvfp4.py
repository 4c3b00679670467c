"""NVFP4 against ModelOpt's own packing and export, and against itself backwards."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis import params
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, TensorTable, Unknown
from modelscope_cli.load import open_model
from modelscope_cli.schemes import nvfp4
from modelscope_cli.schemes.base import Logical, Member, Options, Packing
from tests.schemes import hostile

LEAD = st.lists(st.integers(0, 9), max_size=2).map(tuple)
SHAPES = st.tuples(LEAD, st.integers(0, 40)).map(lambda pair: (*pair[0], pair[1] * 16))
NO_TORCH = "torch and transformers are not in the test extra"
NO_MODELOPT = "nvidia-modelopt is not in the test extra"


def pack(*shape: int, group: int | None = None) -> Packing:
    return nvfp4.pack("nvfp4", shape, Options(group=group))


def as_members(packing: Packing) -> dict[str, Member]:
    return {f".{part.name}": Member(part.dtype, part.shape) for part in packing.parts}


def members(
    weight: Shape, scale: Shape, scale_2: Shape = (), /, **dtypes: str
) -> dict[str, Member]:
    return {
        ".weight": Member(dtypes.get("weight", "U8"), weight),
        ".weight_scale": Member(dtypes.get("scale", "F8_E4M3"), scale),
        ".weight_scale_2": Member(dtypes.get("scale_2", "F32"), scale_2),
    }


@pytest.fixture
def quiet() -> Iterator[None]:
    """ModelOpt warns of the transformers it was not tried with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("quiet")
def test_modelopt_packs_the_same_shapes_and_bytes() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    pytest.importorskip("modelopt", reason=NO_MODELOPT)
    library = pytest.importorskip("modelopt.torch.quantization.qtensor.nvfp4_tensor")
    rng = random.Random(1)
    for _ in range(120):
        group = 16  # ModelOpt itself takes others, which no file tells of
        shape = (rng.randint(1, 40), group * rng.randint(1, 12))
        packed, scale, scale_2 = library.NVFP4QTensor.quantize(torch.randn(shape), group)
        ours = pack(*shape, group=group)
        theirs = (packed._quantized_data, scale, scale_2)
        for part, tensor in zip(ours.parts, theirs, strict=False):
            assert part.shape == tuple(tensor.shape)
            assert part.bytes == tensor.numel() * tensor.element_size()
        declared = {"group_size": group}
        seen = nvfp4.see_through(as_members(ours), declared)
        assert seen == Logical("nvfp4", shape, 4, group)


@pytest.mark.usefixtures("quiet")
def test_modelopt_refuses_the_same_rows() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    pytest.importorskip("modelopt", reason=NO_MODELOPT)
    library = pytest.importorskip("modelopt.torch.quantization.qtensor.nvfp4_tensor")
    for row in range(1, 50):
        try:
            library.NVFP4QTensor.get_weights_scaling_factor(torch.randn(2, row), 16)
        except AssertionError:
            with pytest.raises(UsageError, match="no whole number of groups"):
                pack(2, row)
        else:
            pack(2, row)


@pytest.mark.parametrize("kind", ["llama", "gpt_oss"])
@pytest.mark.usefixtures("quiet")
def test_modelopt_exports_are_seen_through(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    transformers = pytest.importorskip("transformers", reason=NO_TORCH)
    pytest.importorskip("modelopt", reason=NO_MODELOPT)
    quantization = pytest.importorskip("modelopt.torch.quantization")
    export = pytest.importorskip("modelopt.torch.export")
    model = tiny(transformers, kind).to(torch.bfloat16)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    tokens = torch.arange(8)[None]
    model = quantization.quantize(
        model, quantization.NVFP4_DEFAULT_CFG, lambda model: model(tokens)
    )
    export.export_hf_checkpoint(model, dtype=torch.bfloat16, export_dir=str(tmp_path))
    facts = open_model(str(tmp_path))
    assert isinstance(facts.tensors, TensorTable)
    examined = params.examine(facts, facts.tensors, params.Choice())
    seen = {
        facts.tensors.names[index]: fact.logical.shape
        for fact in examined.rows
        if isinstance(fact.logical, Logical)
        for index in fact.row.indices
    }
    assert len(seen) == {"llama": 14, "gpt_oss": 12}[kind]
    assert seen == {name: shapes[name] for name in seen}
    assert examined.totals.parameters == sum(map(prod, shapes.values()))


def tiny(transformers: Any, kind: str) -> Any:
    sizes = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
        "tie_word_embeddings": False,
    }  # fmt: skip
    if kind == "llama":
        config = transformers.LlamaConfig(**sizes, architectures=["LlamaForCausalLM"])
        return transformers.LlamaForCausalLM(config)
    config = transformers.GptOssConfig(
        **sizes, num_local_experts=4, num_experts_per_tok=2, architectures=["GptOssForCausalLM"]
    )
    return transformers.GptOssForCausalLM(config)


@given(SHAPES)
def test_packing_then_seeing_through_is_the_same_shape(shape: Shape) -> None:
    packing = pack(*shape)
    assert nvfp4.see_through(as_members(packing), {}) == Logical("nvfp4", shape, 4, 16)
    assert packing.total_bytes * 8 == packing.elements * 4.5 + 64


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_experts_packed_along_the_middle(experts: int, groups: int, columns: int) -> None:
    """Along the axis whose scales fit; 8 bytes a group cannot be mistaken for the other."""
    weight, scale = (experts, groups * 8, columns), (experts, groups, columns)
    seen = nvfp4.see_through(members(weight, scale, (experts,)), {})
    assert seen == Logical("nvfp4", (experts, groups * 16, columns), 4, 16)
    held = list(nvfp4.holds(weight, "U8"))
    assert (experts, groups * 16, columns) in [each.shape for each in held]


@given(SHAPES)
def test_a_stored_shape_holds_what_was_packed(shape: Shape) -> None:
    stored = pack(*shape).packed
    for dtype in (stored.dtype, None):
        held = [each[:3] for each in nvfp4.holds(stored.shape, dtype)]
        assert ("nvfp4", prod(shape), shape) in held
    assert ("nvfp4", prod(shape), shape) in [each[:3] for each in nvfp4.holds(shape, "F4")]


@pytest.mark.parametrize("dtype", ["I32", "F32", "F8_E4M3"])
def test_no_other_dtype_holds_any(dtype: str) -> None:
    assert not list(nvfp4.holds((4, 16), dtype))
    assert not list(nvfp4.holds((), None))
    assert not list(nvfp4.holds((4, 7), None))


def test_weights_typed_f4_count_as_they_lie() -> None:
    seen = nvfp4.see_through(members((6, 64), (6, 4), weight="F4"), {})
    assert seen == Logical("nvfp4", (6, 64), 4, 16)


def test_steps() -> None:
    packing = pack(4096, 14336)
    assert packing.steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "4 bits each, two in a byte along a row: 14,336 / 2 = 7,168 bytes a row",
        "weight uint8 [4096, 7168] -> 29,360,128 bytes",
        "an FP8 scale per 16 of a row: 14,336 / 16 = 896 a row",
        "weight_scale float8_e4m3fn [4096, 896] -> 3,670,016 bytes",
        "weight_scale_2 for the whole weight, input_scale for its input: 2 x float32 -> 8 bytes",
        "total 33,030,152 bytes, 4.5000 bits a weight, overhead 11.1 %",
    )


@pytest.mark.parametrize(
    ("shape", "group", "says"),
    [
        ((), None, "no rows"),
        ((4, 17), None, "no whole number of groups of 16"),
        ((4, 16), 0, "a group of 0"),
        ((4, 16), -16, "a group of -16"),
        ((4, 64), 32, "groups of 16 weights, not of 32"),
        ((4, 9), 3, "does not fill whole bytes"),
    ],
)
def test_refused(shape: Shape, group: int | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        pack(*shape, group=group)


@pytest.mark.parametrize(
    ("stored", "declared", "says"),
    [
        (members((4, 16), (4, 1)), {}, "one scale for 16 weights"),
        (members((4, 16), (4, 1)), {"group_size": 8}, "one scale for 8 weights"),
        (members((4, 16), (4, 0)), {}, "do not fit"),
        (members((4, 16), (3, 2)), {}, "do not fit"),
        (members((4, 16), (4, 2, 1)), {}, "do not fit"),
        (members((), ()), {}, "do not fit"),
        (members((4, 16), (4, 2), (4,)), {}, "weight_scale_2 [4] is no single number"),
        (members((4, 16), (4, 2), scale="F32"), {}, "weight_scale is F32"),
        (members((4, 16), (4, 2), scale_2="U8"), {}, "weight_scale_2 is U8"),
        (members((4, 16), (4, 2), weight="I32"), {}, "weight is I32"),
        ({".weight": Member("U8", (4, 16))}, {}, "here are only weight"),
    ],
)
def test_contradictions_are_unknown(
    stored: dict[str, Member], declared: dict[str, Any], says: str
) -> None:
    seen = nvfp4.see_through(stored, declared)
    assert isinstance(seen, Unknown)
    assert says in seen.reason


@pytest.mark.parametrize(
    "declared",
    [{"group_size": 32}, {"config_groups": {"group_0": {"weights": {"group_size": 32}}}}],
)
def test_an_odd_group_must_be_declared(declared: dict[str, Any]) -> None:
    stored = members((4, 32), (4, 2))
    assert nvfp4.see_through(stored, declared) == Logical("nvfp4", (4, 64), 4, 32)
    assert isinstance(nvfp4.see_through(stored, {}), Unknown)


@given(
    hostile.stored(
        [".weight", "", ".weight_scale", "_weight_scale", ".weight_scale_2", "_weight_scale_2"],
        ["U8", "F4", "F8_E4M3", "F32"],
    ),
    hostile.declarations("group_size", "config_groups"),
)
def test_nothing_stored_raises(stored: dict[str, Member], declared: dict[str, Any]) -> None:
    assert isinstance(nvfp4.see_through(stored, declared), (Logical, Unknown))
