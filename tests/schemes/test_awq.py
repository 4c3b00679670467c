"""AWQ against GPTQModel, against files packed bit by bit, beside GPTQ, and against lies."""

from __future__ import annotations

import random
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import awq, gptq
from modelscope_cli.schemes.base import Logical, Options
from tests.builders import words
from tests.schemes import ask_gptqmodel
from tests.schemes.stored import described, members
from tests.schemes.test_gptq import HOSTILE, as_described, ask_library, stored

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # AutoAWQ: which output each nibble of a word holds


def test_every_shape_and_dtype_is_what_gptqmodel_saves() -> None:
    rng = random.Random(7)
    cases: list[ask_gptqmodel.Case] = []
    for _ in range(110):
        group = rng.choice((16, 32, 64, 128))
        out, in_ = 8 * rng.randint(1, 60), group * rng.randint(1, 6)
        cases.append(("awq", out, in_, rng.choice(awq.BITS), rng.choice((-1, group)), "int32"))
    for case, answer in zip(cases, ask_library(cases), strict=True):
        _, out, in_, bits, group, _ = case
        packing = awq.pack("awq", (out, in_), Options(bits=bits, group=group))
        assert described(packing) == as_described(answer), case
        seen = awq.see_through(members(packing), {"bits": bits})
        assert isinstance(seen, Logical)
        assert (seen.shape, seen.bits) == ((out, in_), bits)
        assert seen.group in (None, group)


def test_what_gptqmodel_refuses_is_refused() -> None:
    shapes = [(12, 128), (9, 128), (8, 100), (8, 130)]
    assert all("refused" in a for a in ask_library([("awq", *s, 4, 64, "int32") for s in shapes]))
    for shape in shapes:
        with pytest.raises(UsageError):
            awq.pack("awq", shape, Options(group=64))


@pytest.mark.parametrize("layout", ["awq-gemv", "awq-gemv-fast"])
def test_other_layouts_are_read_as_gptqmodel_saves_them(layout: str) -> None:
    rng = random.Random(layout)
    dtype = "int32" if layout == "awq-gemv" else "int16"
    cases: list[ask_gptqmodel.Case] = []
    for _ in range(40):
        group = rng.choice((64, 128))
        shape = 64 * rng.randint(1, 20), group * rng.randint(1, 40)
        cases.append((layout, *shape, 4, group, dtype))
    for case, answer in zip(cases, ask_library(cases), strict=True):
        _, out, in_, _, group, _ = case
        saved = stored(**as_described(answer))
        seen = awq.see_through(saved, {"bits": 4, "group_size": group})
        assert seen == Logical(layout, (out, in_), 4, None if in_ == group else group), case
        assert isinstance(gptq.see_through(saved, {}), Unknown)
        bare = awq.see_through(saved, {})
        assert isinstance(bare, Logical)
        assert bare.shape == (out, in_)


def test_values_packed_bit_by_bit_unpack_by_what_is_seen() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        group = int(rng.choice([16, 32, 64, 128]))
        out, in_ = 8 * int(rng.integers(1, 40)), group * int(rng.integers(1, 5))
        values = rng.integers(0, 16, (in_, out))
        shuffled = values.reshape(in_, -1, 8)[:, :, ORDER].reshape(in_, out)
        qweight = words.pack(shuffled.T, 4).T
        packing = awq.pack("awq", (out, in_), Options(group=group))
        assert packing.packed.shape == qweight.shape
        seen = awq.see_through(members(packing), {})
        assert isinstance(seen, Logical)
        rows, columns = seen.shape
        assert columns == len(qweight)
        back = words.unpack(qweight.T, int(seen.bits), rows).T.reshape(in_, -1, 8)
        assert np.array_equal(back[:, :, np.argsort(ORDER)].reshape(in_, out), values)


sizes = st.integers(0, 200)


@given(out=sizes, in_=sizes, bits=st.sampled_from(awq.BITS), dtype=st.sampled_from(awq.SCALES),
       group=st.sampled_from([-1, 1, 16, 128]))  # fmt: skip
def test_seeing_through_undoes_packing(
    out: int, in_: int, bits: int, group: int, dtype: str
) -> None:
    shape = (out * 8, in_ * max(group, 1))
    packing = awq.pack("awq", shape, Options(bits=bits, group=group, dtype=dtype))
    declared = {"quant_method": "awq", "bits": bits, "group_size": group}
    seen = awq.see_through(members(packing), declared)
    assert isinstance(seen, Logical)
    assert (seen.scheme, seen.shape, seen.bits) == ("awq", shape, bits)
    assert packing.steps[-1].startswith(f"total {packing.total_bytes:,} bytes")
    if out:
        assert isinstance(gptq.see_through(members(packing), declared), Unknown)
        bare = awq.see_through(members(packing), {})
        assert isinstance(bare, Logical)
        assert bare.shape == shape


@given(out=st.integers(0, 60), in_=st.integers(0, 300), bits=st.sampled_from(gptq.BITS),
       group=st.sampled_from([-1, 16, 128]), with_index=st.booleans())  # fmt: skip
def test_no_gptq_weight_is_taken_for_awq(
    out: int, in_: int, bits: int, group: int, with_index: bool
) -> None:
    shape = (out * 32, in_ * 32)
    tensors = members(gptq.pack("gptq", shape, Options(bits=bits, group=group)))
    if not with_index:
        del tensors[".g_idx"]
    declared = {"quant_method": "gptq", "bits": bits, "group_size": group}
    assert isinstance(gptq.see_through(tensors, declared), Logical)
    if out:
        assert isinstance(awq.see_through(tensors, {}), Unknown)


def test_where_both_layouts_fit_the_config_tells() -> None:
    """Only weights without outputs have the same shapes in both."""
    tensors = members(awq.pack("awq", (0, 128), Options()))
    assert awq.see_through(tensors, {"quant_method": "awq"}) == Logical("awq", (0, 128), 4, None)
    assert isinstance(gptq.see_through(tensors, {"quant_method": "awq"}), Unknown)
    assert isinstance(awq.see_through(tensors, {"quant_method": "gptq"}), Unknown)


@given(out=st.integers(1, 99), in_=st.integers(1, 999), bits=st.sampled_from(awq.BITS))
def test_the_truth_is_among_what_a_stored_shape_can_hold(out: int, in_: int, bits: int) -> None:
    shape = (out * 32, in_)
    packing = awq.pack("awq", shape, Options(bits=bits, group=-1))
    for dtype in (None, "I32"):
        held = awq.holds(packing.packed.shape, dtype)
        assert ("awq", prod(shape), shape) in {(h.scheme, h.weights, h.shape) for h in held}


def test_nothing_else_is_held() -> None:
    assert not list(awq.holds((7,), None))
    assert not list(awq.holds((16, 32), "F16"))
    assert [one.shape for one in awq.holds((16, 32), "I16")] == [(64, 32)]
    assert [one.shape for one in awq.holds((16, 3), "I32") if one.note.startswith("I32, at 3")] == [
        (32, 16)
    ]


GOOD = {"qweight": ("I32", (256, 8)), "qzeros": ("I32", (2, 8)), "scales": ("F16", (2, 64))}


@pytest.mark.parametrize("declared", [{}, {"w_bit": 4}, *HOSTILE])
def test_a_config_may_hold_anything(declared: dict[str, Any]) -> None:
    assert awq.see_through(stored(**GOOD), declared) == Logical("awq", (64, 256), 4, 128)


def test_marlin_and_llm_awq_are_read() -> None:
    marlin = {"qweight": ("I32", (16, 128)), "scales": ("F16", (2, 64))}
    assert awq.see_through(stored(**marlin), {}) == Logical("awq-marlin", (64, 256), 4, 128)
    scales = ("F16", (8, 64))
    llm_awq = {"qweight": ("I16", (16, 256)), "scales": scales, "scaled_zeros": scales}
    assert awq.see_through(stored(**llm_awq), {}) == Logical("awq-gemv-fast", (64, 256), 4, 128)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"qweight": None}, "no .qweight is there"),
        ({"qweight": ("I32", (256,))}, "no matrix"),
        ({"qweight": ("F32", (256, 8))}, "no integer"),
        ({"qweight": ("I32", (32, 64))}, "does not fit"),
        ({"qzeros": ("F16", (2, 8))}, "not packed"),
        ({"qzeros": ("I32", (3, 8))}, "does not fit"),
        ({"qzeros": None}, "no .qzeros are there"),
        ({"scales": ("F16", (2, 640))}, "in GPTQ these are as many"),
        ({"scales": ("F16", (2, 60))}, "60 outputs"),
        ({"scales": ("F16", (3, 64)), "qzeros": ("I32", (3, 8))}, "no group size fits"),
        ({"scales": ("F16", (0, 64)), "qzeros": ("I32", (0, 8))}, "0 scales for rows of 256"),
        ({"qweight": ("I16", (16, 256))}, "zeros I32 [2, 8] differ"),
        ({"qweight": ("I16", (16, 256)), "qzeros": None}, "does not fit"),
        ({"qzeros": ("I32", (256, 2))}, ".scales F16 [2, 64] does not fit"),
        ({"qzeros": ("I32", (256, 3)), "scales": ("F16", (256, 24))}, "no group size fits"),
    ],
)
def test_what_does_not_fit_is_unknown_and_says_why(change: dict[str, Any], reason: str) -> None:
    tensors = {name: tensor for name, tensor in {**GOOD, **change}.items() if tensor is not None}
    seen = awq.see_through(stored(**tensors), {})
    assert isinstance(seen, Unknown)
    assert reason in seen.reason


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((4,), Options(), "matrices"),
        ((64, 128), Options(bits=5), "not 5"),
        ((64, 128), Options(group=0), "a group of 0"),
        ((63, 128), Options(), "63 are no multiple"),
        ((64, 129), Options(), "no whole number of groups of 128"),
        ((64, 128), Options(dtype="F32"), "keeps scales"),
    ],
)
def test_what_awq_cannot_have_is_refused(
    shape: tuple[int, ...], options: Options, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        awq.pack("awq", shape, options)


def test_the_arithmetic_is_written_out() -> None:
    assert awq.pack("awq", (4096, 14336), Options()).steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "4 bits each, 8 in a word of 32, along the outputs: 4,096 x 4 / 32 = 512 words",
        "inputs come first: qweight int32 [14336, 512] -> 29,360,128 bytes",
        "one scale per output for 128 inputs: 14,336 / 128 = 112 groups",
        "scales float16 [112, 4096] -> 917,504 bytes",
        "as many zero points, packed alike: qzeros int32 [112, 512] -> 229,376 bytes",
        "total 30,507,008 bytes, 4.1562 bits a weight, overhead 3.8 %",
    )
