"""bitsandbytes' packing: the figures written out, files that lie, and shapes backwards."""

from __future__ import annotations

import json
import re
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import bnb, bnb_state
from modelscope_cli.schemes.base import Held, Logical, Member, Options, Packing

NF4 = bnb_state.SUFFIX + "nf4"
FP4 = bnb_state.SUFFIX + "fp4"
PLAIN = Options()
SHAPES = st.lists(st.integers(0, 300), min_size=1, max_size=3).map(tuple)
OPTIONS = st.builds(
    Options,
    block=st.sampled_from((None, *bnb.BLOCKS)),
    double_quant=st.sampled_from((None, False, True)),
    storage=st.sampled_from((None, "U8", "I8", "F16", "BF16", "F32", "F64", "F8_E4M3")),
    dtype=st.sampled_from((None, *bnb.DTYPES_BEFORE)),
)


def stored(packing: Packing, options: Options = PLAIN, **state: Any) -> dict[str, Member]:
    """A saved checkpoint's tensors of one weight; `state` changes what its quant_state says."""
    parts = packing.parts
    members = {p.name.removeprefix("weight"): Member(p.dtype, p.shape) for p in parts}
    members.pop(".nested_offset", None)
    text = bnb_state.written(
        packing.scheme,
        packing.logical_shape,
        options.block or 64,
        DTYPES[options.dtype or "BF16"].torch or "",
        0.25 if options.double_quant else None,
    )
    value = json.dumps({**json.loads(text), **state}).encode() if state else text
    members[bnb_state.SUFFIX + packing.scheme] = Member("U8", (len(value),), value)
    return members


def reason(members: dict[str, Member]) -> str:
    """Why they are not seen through."""
    seen = bnb.see_through(members, {})
    assert isinstance(seen, Unknown)
    return seen.reason


# The figures everyone quotes


def test_a_mixtral_expert_in_nf4() -> None:
    packing = bnb.pack("nf4", (4096, 14336), Options())

    assert packing.packed.shape == (29360128, 1)
    assert [part.bytes for part in packing.parts] == [29360128, 3670016, 64]
    assert packing.total_bytes == 33030208 == 0.5625 * packing.elements + 64
    assert packing.steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "4 bits each, two in a byte: 58,720,256 / 2 = 29,360,128 bytes",
        "kept flat, one byte a row: uint8 [29360128, 1]",
        "one float32 absmax per 64 weights: 58,720,256 / 64 = 917,504 -> 3,670,016 bytes",
        "quant_map, the 16 values of nf4: float32 [16] -> 64 bytes",
        "a saved file adds its quant_state, 83 bytes of JSON",
        "total 33,030,208 bytes, 4.5000 bits a weight, overhead 11.1 %",
    )


def test_double_quantization_adds_1092_bytes_and_saves_the_rest() -> None:
    packing = bnb.pack("nf4", (4096, 14336), Options(double_quant=True))

    assert {part.name: part.bytes for part in packing.parts} == {
        "weight": 29360128,
        "weight.absmax": 917504,
        "weight.quant_map": 64,
        "weight.nested_absmax": 14336,
        "weight.nested_quant_map": 1024,
        "weight.nested_offset": 4,
    }
    assert packing.total_bytes == packing.elements * (1 / 2 + 1 / 64 + 1 / 4096) + 1092


def test_int8_is_a_byte_a_weight_and_a_scale_a_row() -> None:
    packing = bnb.pack("int8", (4096, 14336), Options())

    assert packing.parts[0][1:] == ((4096, 14336), "I8", 58720256)
    assert packing.parts[1] == ("SCB", (4096,), "F32", 16384)
    assert packing.total_bytes == 58736640


def test_storage_with_no_room_for_the_last_byte_says_so() -> None:
    packing = bnb.pack("nf4", (3, 3), Options(storage="BF16"))

    assert packing.packed == ("weight", (2, 1), "BF16", 4)
    assert any("has room for 4 of 5" in step for step in packing.steps)


@given(SHAPES, OPTIONS, st.sampled_from(bnb.FOUR_BITS))
def test_steps_say_every_size_in_short_lines(shape: Shape, options: Options, scheme: str) -> None:
    packing = bnb.pack(scheme, shape, options)
    text = "\n".join(packing.steps)

    assert all(len(step) <= 100 for step in packing.steps)
    assert packing.steps[-1].startswith(f"total {packing.total_bytes:,} bytes")
    for part in packing.parts:
        assert re.search(rf"\b{part.bytes:,}\b", text), part
    assert str(list(packing.packed.shape)) in text


@pytest.mark.parametrize(
    ("scheme", "shape", "options"),
    [
        ("nf4", (4, 4), Options(block=0)),
        ("nf4", (4, 4), Options(block=48)),
        ("fp4", (4, 4), Options(block=8192)),
        ("nf4", (4, 4), Options(storage="F4")),
        ("nf4", (4, 4), Options(storage="Q4_0")),
        ("nf4", (4, 4), Options(storage="nonsense")),
        ("nf4", (4, 4), Options(dtype="F64")),
        ("nf4", (4, 4), Options(dtype="I8")),
        ("int8", (4,), Options()),
        ("int8", (2, 4, 4), Options()),
        ("int8", (4, 0), Options()),
        ("int8", (0, 0), Options()),
    ],
)
def test_what_bitsandbytes_refuses(scheme: str, shape: Shape, options: Options) -> None:
    with pytest.raises(UsageError):
        bnb.pack(scheme, shape, options)


# There and back


@given(SHAPES, OPTIONS, st.sampled_from(bnb.FOUR_BITS))
def test_what_was_packed_is_seen_through(shape: Shape, options: Options, scheme: str) -> None:
    packing = bnb.pack(scheme, shape, options)

    seen = bnb.see_through(stored(packing, options), {})

    assert seen == Logical(scheme, shape, 4, options.block or 64)


@given(st.integers(0, 500), st.integers(1, 500))
def test_int8_is_seen_through(rows: int, columns: int) -> None:
    packing = bnb.pack("int8", (rows, columns), Options())
    members = {f".{part.name}": Member(part.dtype, part.shape) for part in packing.parts}

    assert bnb.see_through(members, {}) == Logical("int8", (rows, columns), 8)
    members[".weight_format"] = Member("U8", (), b"\0")
    assert bnb.see_through(members, {}) == Logical("int8", (rows, columns), 8)
    assert list(bnb.holds((rows, columns), "I8"))[-1][:3] == (
        "int8", rows * columns, (rows, columns),
    )  # fmt: skip


@given(SHAPES, OPTIONS, st.sampled_from(bnb.FOUR_BITS))
def test_backwards_holds_the_truth(shape: Shape, options: Options, scheme: str) -> None:
    packed = bnb.pack(scheme, shape, options).packed
    if packed.bytes != (prod(shape) + 1) // 2:
        return  # cut short: what is lost nobody can tell

    held = list(bnb.holds(packed.shape, packed.dtype))

    assert (scheme, prod(shape)) in {(each.scheme, each.weights) for each in held}
    if packed.dtype == "U8" or (packed.dtype in ("F16", "BF16", "F32") and prod(shape) % 2 == 0):
        by_shape_alone = bnb.holds(packed.shape, None)
        assert (scheme, prod(shape)) in {(each.scheme, each.weights) for each in by_shape_alone}


def test_backwards_says_on_what_condition() -> None:
    first, *_ = bnb.holds((29360128, 1), "U8")

    assert first == Held(
        "nf4",
        58720256,
        None,
        "U8, two in a byte, absmax [917504] beside it at blocks of 64",
    )


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((), None), ((5,), "U8"), ((2, 3, 1), None), ((5, 5), "U8"), ((5, 1), "Q4_0"), ((5, 1), "F4")],
)
def test_shapes_that_bitsandbytes_never_stores(shape: Shape, dtype: str | None) -> None:
    assert list(bnb.holds(shape, dtype)) == []


# Files that lie


SMALL = bnb.pack("nf4", (30, 33), Options())
NESTED = bnb.pack("nf4", (300, 330), Options(double_quant=True))


def nested(**state: Any) -> dict[str, Member]:
    return stored(NESTED, Options(double_quant=True), **state)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"shape": [30, 34]}, r"\[30, 34\].* 510 elements of U8.* has 495"),
        ({"shape": [30, 2**40]}, "take .* elements of U8"),
        ({"shape": []}, "take 1 elements"),
        ({"shape": None}, "shape nothing"),
        ({"shape": "big"}, "shape 'big', which is none"),
        ({"shape": [30, -33]}, "shape a list of 2"),
        ({"shape": [30, 33.0]}, "shape a list of 2"),
        ({"shape": [True, 990]}, "shape a list of 2"),
        ({"shape": [2**63 - 1] * 64}, "shape a list of 64"),
        ({"shape": [1] * 65}, "shape a list of 65"),
        ({"shape": [[990]]}, "shape a list of 1"),
        ({"blocksize": 0}, "blocksize 0, which is none"),
        ({"blocksize": -64}, "blocksize -64"),
        ({"blocksize": "64"}, "blocksize '64'"),
        ({"blocksize": None}, "blocksize nothing"),
        ({"blocksize": 64.0}, "blocksize 64.0"),
        ({"blocksize": 10**4000}, "blocksize 1000"),
        ({"blocksize": 32}, "blocks of 32, which is 31 absmax, but absmax has 16"),
        ({"quant_type": "fp4"}, "called nf4, but says quant_type 'fp4'"),
        ({"quant_type": "x" * 9000}, "says quant_type 'xxx"),
        ({"quant_type": ["nf4"]}, "quant_type a list of 1"),
        ({"nested_blocksize": 256}, "nested_blocksize 256, but has no nested_absmax"),
    ],
)
def test_a_quant_state_that_lies(state: dict[str, Any], said: str) -> None:
    why = reason(stored(SMALL, **state))

    assert re.search(said, why)
    assert len(why) < 250


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0" * 83,
        b"{",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"[1, 2]",
        b"null",
        b"\xff\xfe{\0}\0",
        b"1" * 5000,
        b'{"shape": ' + b"9" * 5000 + b"}",
        b" " * 65_537,
        json.dumps({"quant_type": "nf4"}).encode("utf-16"),
    ],
)
def test_a_quant_state_that_is_none(value: bytes) -> None:
    members = stored(SMALL)
    members[NF4] = Member("U8", (len(value),), value)

    assert reason(members).startswith("quant_state")


@pytest.mark.parametrize(
    ("suffix", "member", "said"),
    [
        ("", Member("U8", (496, 1)), "take 495 elements of U8, but the packed tensor has 496"),
        ("", Member("BF16", (495, 1)), "take 247 elements of BF16"),
        ("", Member("Q4_0", (495, 1)), "is Q4_0"),
        ("", Member("F4", (990, 1)), "is F4"),
        ("", Member("made up", (495, 1)), "is made up"),
        (".absmax", Member("F32", (15,)), "16 absmax, but absmax has 15"),
        (".absmax", Member("U8", (16,)), "absmax is U8, and nothing is there to scale it"),
        (".absmax", Member("made up", (16,)), "absmax is made up"),
        (".nested_absmax", Member("F32", (1,)), "no nested_blocksize"),
        (".quant_map", Member("F32", (15,)), "quant_map has 15 values, not 16"),
        (NF4, Member("U8", (70_000,)), "70,000 bytes, was not read"),
        (FP4, Member("U8", (83,)), "two quant_state tensors"),
    ],
)
def test_tensors_that_contradict_their_quant_state(suffix: str, member: Member, said: str) -> None:
    assert said in reason({**stored(SMALL), suffix: member})


@pytest.mark.parametrize(
    ("suffix", "member", "said"),
    [
        (".absmax", Member("F32", (1547,)), "absmax F32 [1547] and nested_absmax [7]"),
        (".nested_absmax", Member("F32", (6,)), "do not fit: U8 [1547] has [7]"),
        (".nested_quant_map", Member("F32", (16,)), "has 16 values, not 256"),
    ],
)
def test_nested_tensors_that_contradict(suffix: str, member: Member, said: str) -> None:
    assert said in reason({**nested(), suffix: member})


def test_nested_blocks_that_lie() -> None:
    assert "[4]" in reason(nested(nested_blocksize=400))
    assert "nested_blocksize 0" in reason(nested(nested_blocksize=0))
    assert "nested_blocksize nothing" in reason(nested(nested_blocksize=None))


@pytest.mark.parametrize("suffix", [".absmax", NF4])
def test_a_tensor_that_is_missing(suffix: str) -> None:
    members = stored(SMALL)
    del members[suffix]

    assert suffix[1:7] in reason(members)


def test_a_nested_absmax_that_is_missing() -> None:
    members = nested()
    del members[".nested_absmax"]

    assert "has no nested_absmax" in reason(members)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {".weight": Member("I8", (3, 5))},
        {".SCB": Member("F32", (3,))},
        {".weight": Member("I8", (3, 5)), ".SCB": Member("F32", (5,))},
        {".weight": Member("I8", (3, 5)), ".SCB": Member("I32", (3,))},
        {".weight": Member("BF16", (3, 5)), ".SCB": Member("F32", (3,))},
        {".weight": Member("I8", (15,)), ".SCB": Member("F32", (15,))},
        {
            ".weight": Member("I8", (3, 5)),
            ".SCB": Member("F32", (3,)),
            ".weight_format": Member("U8", (), b"\2"),
        },
    ],
)
def test_int8_that_does_not_fit(members: dict[str, Member]) -> None:
    assert reason(members)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)


@given(
    st.dictionaries(st.sampled_from(["shape", "blocksize", "nested_blocksize", "quant_type"]), JSON)
    | JSON,
    JSON,
)
def test_no_quant_state_ever_raises(state: Any, declared: Any) -> None:
    value = json.dumps(state).encode()
    members = {**stored(SMALL), NF4: Member("U8", (len(value),), value)}

    assert isinstance(bnb.see_through(members, {"quantization_config": declared}), Unknown)


SIZES = st.integers(0, 70) | st.integers(0, 2**70)
MEMBERS = st.builds(
    Member,
    st.sampled_from([*DTYPES, "made up"]),
    st.lists(SIZES, max_size=3).map(tuple),
    st.none() | st.binary(max_size=30),
)


@given(
    st.dictionaries(
        st.sampled_from(["", ".weight", ".SCB", ".weight_format", *stored(NESTED), FP4]), MEMBERS
    ),
    st.booleans(),
)
def test_no_tensors_ever_raise(members: dict[str, Member], honest: bool) -> None:
    if honest:
        members[NF4] = stored(SMALL)[NF4]

    assert isinstance(bnb.see_through(members, {}), (Logical, Unknown))


@given(st.lists(SIZES, max_size=4).map(tuple), st.sampled_from([None, *DTYPES, "made up"]))
def test_no_stored_shape_ever_raises(shape: Shape, dtype: str | None) -> None:
    assert all(held.weights >= 0 for held in bnb.holds(shape, dtype))
