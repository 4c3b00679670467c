"""compressed-tensors without the library: identity, hostile files, and what is refused."""

from __future__ import annotations

import struct
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import compressed_tensors
from modelscope_cli.schemes.base import Logical, Member, Options
from tests.builders import words
from tests.schemes.stored import members
from tests.schemes.test_gptq import HOSTILE, stored

PACK = "pack-quantized"
sizes = st.integers(0, 300)


def shape_of(*numbers: int, dtype: str = "I64") -> Member:
    code = {"I64": "q", "I32": "i"}[dtype]
    return Member(dtype, (len(numbers),), struct.pack(f"<{len(numbers)}{code}", *numbers))


def config(**weights: Any) -> dict[str, Any]:
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "config_groups": groups}


@given(lead=st.lists(st.integers(0, 4), max_size=2), out=sizes, groups=sizes,
       bits=st.integers(1, 8), group=st.sampled_from([-1, 1, 32, 128]), symmetric=st.booleans(),
       act_order=st.booleans())  # fmt: skip
def test_seeing_through_undoes_packing_into_words(
    lead: list[int],
    out: int,
    groups: int,
    bits: int,
    group: int,
    symmetric: bool,
    act_order: bool,
) -> None:
    shape = (*lead, out, groups * abs(group))
    options = Options(bits=bits, group=group, symmetric=symmetric, act_order=act_order)
    packing = compressed_tensors.pack(PACK, shape, options)
    for declared in ({}, config(num_bits=bits, group_size=group)):
        seen = compressed_tensors.see_through(members(packing), declared)
        assert isinstance(seen, Logical)
        assert (seen.scheme, seen.shape) == (PACK, shape)
        assert seen.bits == bits or not declared or not shape[-1]
    assert packing.packed.name == "weight_packed"
    assert packing.steps[-1].startswith(f"total {packing.total_bytes:,} bytes")


@given(out=sizes, groups=sizes, scheme=st.sampled_from([*compressed_tensors.OPTIONS][1:]))
def test_seeing_through_undoes_packing_into_bytes(out: int, groups: int, scheme: str) -> None:
    shape = (out, groups * 32)
    packing = compressed_tensors.pack(scheme, shape, Options())
    seen = compressed_tensors.see_through(members(packing), {})
    assert isinstance(seen, Logical)
    assert (seen.scheme, seen.shape) == (scheme, shape)


@given(out=st.integers(1, 300), in_=st.integers(1, 300), block=st.sampled_from([1, 16, 100, 128]))
def test_blocks_are_read_as_declared(out: int, in_: int, block: int) -> None:
    packing = compressed_tensors.pack("float-quantized", (out, in_), Options(block=block))
    declared = config(num_bits=8, strategy="block", block_structure=[block, block])
    seen = compressed_tensors.see_through(members(packing), declared)
    assert isinstance(seen, Logical)
    assert seen.shape == (out, in_)


@given(out=st.integers(1, 99), in_=st.integers(1, 99), bits=st.integers(2, 8))
def test_the_truth_is_among_what_a_stored_shape_can_hold(out: int, in_: int, bits: int) -> None:
    shape = (out, in_ * 32)
    for scheme, dtype in (
        (PACK, "I32"), ("nvfp4-pack-quantized", "U8"), ("mxfp4-pack-quantized", "U8"),
        ("int-quantized", "I8"), ("float-quantized", "F8_E4M3"),
    ):  # fmt: skip
        options = Options(bits=bits, group=32) if scheme == PACK else Options()
        packing = compressed_tensors.pack(scheme, shape, options)
        held = compressed_tensors.holds(packing.packed.shape, dtype)
        assert (scheme, prod(shape), shape) in {(h.scheme, h.weights, h.shape) for h in held}


def test_nothing_else_is_held() -> None:
    assert not list(compressed_tensors.holds((7,), None))
    assert not list(compressed_tensors.holds((16, 32), "F16"))
    assert {held.scheme for held in compressed_tensors.holds((16, 32), None)} == {
        PACK, "nvfp4-pack-quantized", "mxfp4-pack-quantized",
    }  # fmt: skip


@pytest.mark.parametrize("bits", range(1, 9))
def test_values_packed_bit_by_bit_unpack_by_what_is_seen(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(30):
        out, in_ = (int(size) for size in rng.integers(1, 150, 2))
        values = rng.integers(0, 2**bits, (out, in_))
        packed = words.pack(values.T, bits).T
        packing = compressed_tensors.pack(PACK, (out, in_), Options(bits=bits, group=-1))
        assert packing.packed.shape == packed.shape
        seen = compressed_tensors.see_through(members(packing), config(num_bits=bits))
        assert isinstance(seen, Logical)
        assert seen.bits == bits
        assert np.array_equal(words.unpack(packed.T, bits, seen.shape[1]).T, values)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_releases_that_kept_each_value_in_one_word_are_read(bits: int) -> None:
    """In 0.12 a word held 32 // bits values, the rest of it nothing: 10 of 3 bits."""
    across, down = -(-1000 // (32 // bits)), -(-96 // (32 // bits))
    tensors = {
        **stored(weight_packed=("I32", (96, across)), weight_scale=("BF16", (96, 10)),
                 weight_zero_point=("I32", (down, 10))),
        ".weight_shape": shape_of(96, 1000),
    }  # fmt: skip
    assert compressed_tensors.see_through(tensors, {}) == Logical(PACK, (96, 1000), bits, 100)


def test_without_the_value_of_weight_shape_config_and_scales_must_leave_one() -> None:
    tensors = stored(
        weight_packed=("I32", (96, 125)),
        weight_scale=("BF16", (96, 10)),
        weight_shape=("I64", (2,)),
    )
    declared = config(num_bits=4, group_size=100)
    assert compressed_tensors.see_through(tensors, declared) == Logical(PACK, (96, 1000), 4, 100)
    for vague in ({}, config(num_bits=4, group_size=-1), config(num_bits=4, group_size=128)):
        seen = compressed_tensors.see_through(tensors, vague)
        assert isinstance(seen, Unknown)
        assert "only the value of .weight_shape tells" in seen.reason


def test_a_shape_of_32_bit_numbers_is_read() -> None:
    tensors = {
        **stored(weight_packed=("I32", (96, 32)), weight_scale=("F16", (96, 2))),
        ".weight_shape": shape_of(96, 256, dtype="I32"),
    }
    assert compressed_tensors.see_through(tensors, {}) == Logical(PACK, (96, 256), 4, 128)


WORDS = {
    "weight_packed": ("I32", (96, 32)), "weight_scale": ("BF16", (96, 2)),
    "weight_zero_point": ("I32", (12, 2)),
}  # fmt: skip


@pytest.mark.parametrize("declared", [{}, *HOSTILE])
def test_a_config_may_hold_anything(declared: dict[str, Any]) -> None:
    tensors = {**stored(**WORDS), ".weight_shape": shape_of(96, 256)}
    assert compressed_tensors.see_through(tensors, declared) == Logical(PACK, (96, 256), 4, 128)
    unread = compressed_tensors.see_through(stored(**WORDS), declared)
    assert isinstance(unread, Unknown)
    few = {
        **stored(weight_packed=("I32", (1, 1)), weight_scale=("BF16", (1, 1))),
        ".weight_shape": shape_of(1, 4),
    }
    assert compressed_tensors.see_through(few, declared) == Logical(PACK, (1, 4), 8, None)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (shape_of(96, 255), "96, 255"),
        (shape_of(95, 256), "[95, 256]"),
        (shape_of(96, 10**15), "do not fill"),
        (shape_of(96, -256), "[96, -256]"),
        (shape_of(96), "[96]"),
        (shape_of(1, 96, 256), "[1, 96, 256]"),
        (shape_of(*[96] * 9), "says"),
        (Member("I64", (2,), b"\0" * 15), "is no shape"),
        (Member("I64", (2, 1), b"\0" * 16), "is no shape"),
        (Member("F32", (2,), b"\0" * 8), "is no shape"),
    ],
)
def test_a_weight_shape_that_lies_is_found_out(shape: Member, reason: str) -> None:
    tensors = stored(**WORDS) | {".weight_shape": shape, ".weight_scale": Member("F32", (1,))}
    seen = compressed_tensors.see_through(tensors, {})
    if shape == shape_of(96, 255):  # which the words could hold just as well
        assert seen == Logical(PACK, (96, 255), 4, None)
        return
    assert isinstance(seen, Unknown)
    assert reason in seen.reason


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "no .weight_scale"),
        ({"weight_packed": ("I32", (96, 32))}, "no .weight_scale"),
        ({"weight_scale": ("F32", (1,))}, "neither"),
        ({**WORDS, "weight_scale": ("U8", (96, 2))}, "floating point"),
        ({**WORDS, "weight_scale": ("BF16", (95, 2))}, "does not fit"),
        ({**WORDS, "weight_scale": ("BF16", (96, 3))}, "no group size fits"),
        ({**WORDS, "weight_zero_point": ("I32", (50, 2))}, "nor its zero points"),
        ({"weight_packed": ("U8", (96, 128)), "weight_scale": ("F8_E4M3", (96, 8))}, "no format"),
        ({"weight_packed": ("U8", (96, 128)), "weight_scale": ("U8", (95, 8))}, "no format"),
        ({"weight_packed": ("U8", (96, 128)), "weight_scale": ("F32", (96, 8))}, "no format"),
        ({"weight_packed": ("U8", ()), "weight_scale": ("U8", ())}, "no format"),
        ({"weight_packed": ("F32", (96, 128)), "weight_scale": ("U8", (96, 8))}, "no format"),
        ({"weight": ("F16", (96, 128)), "weight_scale": ("F32", (1,))}, "no quantized weight"),
        ({"weight": ("I8", (96,)), "weight_scale": ("F32", (1,))}, "no matrix"),
        ({"weight": ("I8", (96, 128)), "weight_scale": ("I8", (1,))}, "no scales"),
        ({"weight": ("I8", (96, 128)), "weight_scale": ("F32", (97, 1))}, "97 scales"),
        ({"weight": ("I8", (96, 128)), "weight_scale": ("F32", (96, 5))}, "no group size fits"),
        ({"weight": ("I8", (96, 128)), "weight_scale": ("F32", (95,))}, "do not fit"),
        ({"weight": ("I8", (96, 128)), "weight_scale": ("F8_E8M0", (96, 7))}, "do not fit"),
    ],
)
def test_what_does_not_fit_is_unknown_and_says_why(tensors: dict[str, Any], reason: str) -> None:
    made = stored(**tensors)
    if made.get(".weight_packed", Member("", ())).dtype == "I32":
        made[".weight_shape"] = shape_of(96, 256)
    seen = compressed_tensors.see_through(made, {})
    assert isinstance(seen, Unknown)
    assert reason in seen.reason


def test_bytes_beside_scales_of_others_are_read() -> None:
    """INT8 in blocks (weight_scale_inv), and DeepSeek-V4's FP4 experts: two in an I8."""
    blocks = stored(weight=("I8", (300, 520)), weight_scale_inv=("F32", (3, 5)))
    seen = compressed_tensors.see_through(blocks, {})
    assert seen == Logical("int-quantized", (300, 520), 8, 128)
    experts = stored(weight=("I8", (2048, 2048)), scale=("F8_E8M0", (2048, 128)))
    assert compressed_tensors.see_through(experts, {}) == Logical("mxfp4", (2048, 4096), 4, 32)


@pytest.mark.parametrize(
    ("scheme", "shape", "options", "reason"),
    [
        (PACK, (4,), Options(), "matrices"),
        (PACK, (64, 128), Options(bits=9), "1 to 8 bits"),
        (PACK, (64, 128), Options(bits=0), "1 to 8 bits"),
        (PACK, (64, 128), Options(group=0), "a group of 0"),
        (PACK, (64, 100), Options(), "no whole number of groups of 128"),
        (PACK, (64, 128), Options(dtype="I8"), "keeps scales"),
        ("nvfp4-pack-quantized", (64, 24), Options(), "groups of 16"),
        ("mxfp4-pack-quantized", (64, 48), Options(), "groups of 32"),
        ("nvfp4-pack-quantized", (2, 64, 32), Options(), "matrices"),
        ("int-quantized", (64, 100), Options(group=64), "groups of 64"),
        ("float-quantized", (64, 100), Options(block=0), "a block of 0"),
        ("float-quantized", (64, 100), Options(block=8, group=4), "one of them"),
        ("float-quantized", (2, 64, 100), Options(block=8), "blocks of matrices"),
    ],
)
def test_what_a_format_cannot_have_is_refused(
    scheme: str, shape: tuple[int, ...], options: Options, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        compressed_tensors.pack(scheme, shape, options)


def test_the_arithmetic_is_written_out() -> None:
    packing = compressed_tensors.pack(
        PACK, (4096, 14336), Options(bits=3, symmetric=False, act_order=True)
    )
    assert packing.steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "3 bits each, 32 in 3 words of 32, along a row: 14,336 x 3 / 32 = 1,344",
        "weight_packed int32 [4096, 1344] -> 22,020,096 bytes",
        "one scale for 128 of a row: 14,336 / 128 = 112 groups a row",
        "weight_scale bfloat16 [4096, 112] -> 917,504 bytes",
        "the shape itself: weight_shape int64 [2] -> 16 bytes",
        "zero points, packed down the rows: 4,096 x 3 / 32 = 384 words",
        "weight_zero_point int32 [384, 112] -> 172,032 bytes",
        "the group of each column, kept by older releases: weight_g_idx int32 [14336] -> "
        "57,344 bytes",
        "total 23,166,992 bytes, 3.1563 bits a weight, overhead 5.0 %",
    )
