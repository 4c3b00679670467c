"""Whatever happens to a torch file: a listing or a FormatError, soon and in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import FileContents
from tests.bounded import within
from tests.builders.torch import (
    NEWOBJ,
    PROTO2,
    REDUCE,
    STOP,
    Entry,
    archive,
    get,
    legacy,
    made,
    mapping,
    name,
    ordered,
    pickled,
    put,
    several,
    sizes,
    storage,
    tensor,
    text,
)
from tests.corpus import make_torch
from tests.formats.torch_reading import read_bytes

SEEDS = list(make_torch.GOOD.values())
NUMBERS = st.sampled_from([0, 1, 2**8 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63]) | (
    st.integers(0, 2**64 - 1)
)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["number", "byte", "cut", "insert", "remove", "repeat"])):
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                data[at : at + width] = (draw(NUMBERS) % 256**width).to_bytes(width, "little")
            case "byte":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "remove":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
    return bytes(data)


def check(contents: FileContents, data: bytes) -> None:
    """What is listed lies inside the file."""
    for row in contents.tensors:
        assert row.offset is None or row.elements == 0 or 0 <= row.offset < len(data)
        assert row.bytes >= 0
    str(dict(contents.fact.metadata))


def listing_or_error(data: bytes) -> None:
    def work() -> None:
        with suppress(FormatError):
            check(read_bytes(data), data)

    within(1, work)


@settings(max_examples=800)
@given(mutated(SEEDS))
def test_damaged_files(data: bytes) -> None:
    listing_or_error(data)


PICKLES = [
    pickled(value)
    for value in (
        make_torch.STATE,
        make_torch.WHOLE_MODULE,
        make_torch.SCRIPT,
        mapping({"a": make_torch.SPARSE, "b": make_torch.QUANTIZED, "c": make_torch.FLOAT8}),
    )
]
WRAP: list[Callable[[bytes], bytes]] = [
    archive,
    lambda data: archive(data, more=(Entry("archive/constants.pkl", pickled(several())),)),
    lambda data: legacy(data[2:-1]),
    lambda data: data,
]


@settings(max_examples=800)
@given(mutated(PICKLES), st.sampled_from(WRAP))
def test_damaged_pickles_in_sound_files(data: bytes, wrap: Callable[[bytes], bytes]) -> None:
    listing_or_error(wrap(data))


STACK_OPCODES = b"N)}](t012RbaesuQdlo.\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94"
PIECES = st.sampled_from(
    [
        *(bytes([code]) for code in STACK_OPCODES),
        *(b"q\0", b"h\0", b"q\1", b"h\1", b"K\0", b"K\2", b"K\6"),
        *map(text, ("storage", "0", "cpu", "_parameters", "_modules", "_buffers", "training")),
        *(storage(), tensor(), sizes((2, 3)), sizes((3, 1)), ordered({}), make_torch.LINEAR),
        *(name(f"torch._utils._rebuild_{what}") for what in (
            "tensor_v2", "tensor_v3", "parameter", "sparse_tensor", "wrapper_subclass",
            "meta_tensor_no_storage", "qtensor")),
        *map(name, ("torch._tensor._rebuild_from_type_v2", "torch.FloatTensor", "torch.float32",
                    "torch.FloatStorage", "torch.storage._load_from_bytes", "posix.system",
                    "collections.OrderedDict", "builtins.set", "__torch__.Net")),
    ]
)  # fmt: skip


@settings(max_examples=1500)
@given(st.lists(PIECES, max_size=50).map(b"".join), st.sampled_from(WRAP))
def test_any_opcodes_that_tensors_are_made_of(data: bytes, wrap: Callable[[bytes], bytes]) -> None:
    listing_or_error(wrap(PROTO2 + data + STOP))


# Small files made to take long or to fill the memory

SHARE = b"]("
MANY = 40_000


def shared(value: bytes, use: bytes = b"h\0") -> bytes:
    """A list that holds one object many times over."""
    return put(value, 0) + b"0" + SHARE + use * MANY + b"e"


def levels(first: bytes, above: Callable[[int], bytes]) -> bytes:
    """Each level holds the one below ten times."""
    return put(first, 0) + b"".join(put(above(level), level + 1) for level in range(100))


def ten(level: int) -> bytes:
    return mapping({str(index): get(level) for index in range(10)})


MODULE = {"_parameters": ordered({"w": tensor()}), "_modules": ordered({})}
BOMBS = {
    "nested tuples": b"N" + b"\x85" * MANY,
    "nested tuples as a key": b"}(N" + b"\x85" * MANY + tensor() + b"u",
    "nested lists": b"]" * MANY + b"a" * (MANY - 1),
    "nested dicts": b"}K\1" * MANY + tensor() + b"s" * MANY,
    "nested calls": name("a.b") + b")R" * MANY,
    "a tensor in nested calls": put(tensor(), 0) + put(name("a.b"), 1) + b"h\0\x85R" * MANY,
    "empty dicts": b"}" * MANY,
    "marks": b"(" * MANY + b"N",
    "copies": b"N" + b"2" * MANY,
    "memo": b"N" + b"\x94" * MANY,
    "a list in itself": put(b"]", 0) + b"h\0a" * MANY,
    "laughs": levels(mapping({"w": tensor()}), ten),
    "laughing modules": levels(
        made("a.B", MODULE), lambda level: made("a.B", {**MODULE, "_modules": ten(level)})
    ),
    "laughing script": levels(
        made("__torch__.B", {"w": tensor(), "training": b"N"}),
        lambda level: name("__torch__.B") + b")" + NEWOBJ + ten(level) + b"b",
    ),
    "a wide list many times": shared(SHARE + b"K\1" * MANY + b"e"),
    "a state many times": shared(mapping({"a": tensor()})),
    "a state with a long key many times": shared(mapping({"a" * 60_000: tensor()})),
    "a wide dict made many times": shared(SHARE + b"N" * MANY + b"e", b"cthing\nT\nh\0\x85R"),
    "an ordered dict made many times": put(name("collections.OrderedDict"), 1)
    + shared(SHARE + b"N" * MANY + b"e", b"h\1h\0\x85R"),
    "long names many times": put(text("m" * 400), 0) + put(text("n" * 400), 1)
    + b"h\0h\1\x93" * MANY,
    "a number of many digits": b"I" + b"9" * MANY + b"\n",
    "calls of one thing": put(name("a.b"), 0) + SHARE + b"h\0)" * 2 + REDUCE * 2 + b"e",
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("wrap", range(2), ids=["zip", "torchscript"])
def test_small_files_stay_small(bomb: str, wrap: int) -> None:
    data = WRAP[wrap](PROTO2 + BOMBS[bomb] + STOP)
    assert len(data) < 1_000_000
    listing_or_error(data)
    tracemalloc.start()
    try:
        with suppress(FormatError):
            read_bytes(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000
