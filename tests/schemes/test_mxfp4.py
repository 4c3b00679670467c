"""MXFP4 against transformers' and ModelOpt's own unpacking, and against itself backwards."""

from __future__ import annotations

import random
import warnings
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import mxfp4
from modelscope_cli.schemes.base import Logical, Member, Options, Packing
from tests.schemes import hostile

ROWS = st.lists(st.integers(0, 9), max_size=3).map(tuple)
SHAPES = st.tuples(ROWS, st.integers(0, 40)).map(lambda pair: (*pair[0], pair[1] * 32))


def pack(*shape: int) -> Packing:
    return mxfp4.pack("mxfp4", shape, Options())


def members(packed: Shape, scales: Shape, *, packed_dtype: str = "U8", scale_dtype: str = "U8",
            names: tuple[str, str] = ("_blocks", "_scales")) -> dict[str, Member]:  # fmt: skip
    return {names[0]: Member(packed_dtype, packed), names[1]: Member(scale_dtype, scales)}


def as_members(packing: Packing) -> dict[str, Member]:
    return {
        part.name.removeprefix("weight"): Member(part.dtype, part.shape) for part in packing.parts
    }


def random_shapes(count: int, seed: int) -> list[tuple[int, int, int]]:
    rng = random.Random(seed)
    return [(rng.randint(1, 5), rng.randint(1, 40), 32 * rng.randint(1, 9)) for _ in range(count)]


def test_transformers_unpacks_to_the_transpose_of_our_logical_shape() -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the test extra")
    library = pytest.importorskip(
        "transformers.integrations.mxfp4", reason="transformers is not in the test extra"
    )
    for shape in random_shapes(120, 1):
        blocks, scales = (torch.zeros(part.shape, dtype=torch.uint8) for part in pack(*shape).parts)
        unpacked = library.convert_moe_packed_tensors(blocks, scales)
        assert tuple(unpacked.transpose(1, 2).shape) == shape
        seen = mxfp4.see_through(members(tuple(blocks.shape), tuple(scales.shape)), {})
        assert seen == Logical("mxfp4", shape, 4, 32)


def test_nibbles_unpack_in_the_order_of_our_logical_shape() -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the test extra")
    library = pytest.importorskip(
        "transformers.integrations.mxfp4", reason="transformers is not in the test extra"
    )
    shape = (3, 5, 96)
    codes = torch.randint(0, 16, shape, generator=torch.Generator().manual_seed(2))
    exponents = torch.arange(prod(shape) // 32).remainder(5).add(125).reshape(3, 5, 3)
    low, high = codes[..., 0::2], codes[..., 1::2]
    blocks = (low | high << 4).to(torch.uint8).reshape(pack(*shape).packed.shape)
    unpacked = library.convert_moe_packed_tensors(
        blocks, exponents.to(torch.uint8), dtype=torch.float32
    )
    values = torch.tensor(library.FP4_VALUES)[codes]
    expected = values * torch.exp2(exponents - 127.0).repeat_interleave(32, -1)
    assert torch.equal(unpacked.transpose(1, 2), expected)


def test_modelopt_packs_the_same_bytes_as_rows() -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the test extra")
    pytest.importorskip("modelopt", reason="nvidia-modelopt is not in the test extra")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("modelopt.torch.quantization.qtensor.mxfp4_tensor")
    for shape in random_shapes(120, 3):
        rows = shape[1:]
        packed, scales = library.MXFP4QTensor.quantize(torch.randn(rows), 32)
        stored, per_row = tuple(packed._quantized_data.shape), (*rows[:-1], rows[-1] // 32)
        assert scales.numel() == prod(per_row)  # which the export reshapes to rows
        seen = mxfp4.see_through(members(stored, per_row, names=(".weight", ".weight_scale")), {})
        assert seen == Logical("mxfp4", rows, 4, 32)
        assert pack(*rows).total_bytes == prod(stored) + prod(per_row)


@given(SHAPES)
def test_packing_then_seeing_through_is_the_same_shape(shape: Shape) -> None:
    packing = pack(*shape)
    assert mxfp4.see_through(as_members(packing), {}) == Logical("mxfp4", shape, 4, 32)
    assert packing.total_bytes * 8 == packing.elements * 4.25


@given(SHAPES)
def test_a_stored_shape_holds_what_was_packed(shape: Shape) -> None:
    stored = pack(*shape).packed
    held = list(mxfp4.holds(stored.shape, stored.dtype))
    assert ("mxfp4", prod(shape), shape) in [each[:3] for each in held]
    rows = (*shape[:-1], shape[-1] // 2)
    assert ("mxfp4", prod(shape), shape) in [each[:3] for each in mxfp4.holds(rows, None)]


@pytest.mark.parametrize("dtype", ["I32", "F32", "I8", ""])
def test_no_other_dtype_holds_any(dtype: str) -> None:
    assert not list(mxfp4.holds((4, 2, 16), dtype))
    assert not list(mxfp4.holds((), None))


def test_gpt_oss_steps() -> None:
    packing = pack(32, 5760, 2880)
    assert packing.packed.shape == (32, 5760, 90, 16)
    assert packing.steps == (
        "32 x 5,760 x 2,880 = 530,841,600 weights",
        "32 of a row share a scale: 2,880 / 32 = 90 groups a row",
        "4 bits each, two in a byte: 32 weights are 16 bytes",
        "weight_blocks uint8 [32, 5760, 90, 16] -> 265,420,800 bytes",
        "scales are exponents of 2, a byte for each group",
        "weight_scales uint8 [32, 5760, 90] -> 16,588,800 bytes",
        "total 282,009,600 bytes, 4.2500 bits a weight, overhead 5.9 %",
    )


@pytest.mark.parametrize("shape", [(), (31,), (4, 100), (32, 33)])
def test_a_row_must_be_whole_groups(shape: Shape) -> None:
    with pytest.raises(UsageError, match="no whole number of 32-weight groups"):
        pack(*shape)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (members((32, 5760, 90, 16), (32, 5760, 45)), "do not fit"),
        (members((32, 5760, 90, 8), (32, 5760, 90)), "do not fit"),
        (members((4, 48), (4, 2)), "do not fit"),
        (members((16,), ()), "do not fit"),
        (members((4, 2, 16), (4, 2), packed_dtype="I32"), "_blocks is I32"),
        (members((4, 2, 16), (4, 2), scale_dtype="F32"), "_scales F32"),
        ({"_blocks": Member("U8", (4, 2, 16))}, "one of them is not there"),
        ({}, "one of them is not there"),
    ],
)
def test_contradictions_are_unknown(stored: dict[str, Member], says: str) -> None:
    seen = mxfp4.see_through(stored, {})
    assert isinstance(seen, Unknown)
    assert says in seen.reason


@pytest.mark.parametrize("scale_dtype", ["U8", "F8_E8M0"])
def test_gpt_oss_own_names_and_typed_exponents(scale_dtype: str) -> None:
    stored = members((4, 2, 16), (4, 2), scale_dtype=scale_dtype, names=(".blocks", ".scales"))
    assert mxfp4.see_through(stored, {}) == Logical("mxfp4", (4, 64), 4, 32)


@given(
    hostile.stored(["_blocks", "_scales", ".weight", ".weight_scale"], ["U8", "F8_E8M0"]),
    hostile.declarations("quant_method"),
)
def test_nothing_stored_raises(stored: dict[str, Member], declared: dict[str, Any]) -> None:
    assert isinstance(mxfp4.see_through(stored, declared), (Logical, Unknown))
