"""GPTQ against GPTQModel, against files packed bit by bit, and against lies."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections import defaultdict
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import gptq
from modelscope_cli.schemes.base import Logical, Member, Options
from tests.builders import checkpoints, words
from tests.schemes import ask_gptqmodel
from tests.schemes.stored import TORCH, described, members

HOSTILE: list[dict[str, Any]] = [
    {"bits": "4", "group_size": None},
    {"bits": True, "group_size": [128]},
    {"bits": 10**5000, "group_size": -(10**5000)},
    {"bits": float("nan"), "group_size": float("inf")},
    {"quant_method": ["awq"], "bits": {}, "config_groups": [], "weight_block_size": "128"},
    {"config_groups": {"a": None, "b": {"weights": 4}, "c": {"weights": {"num_bits": "x"}}}},
]


def stored(**tensors: tuple[str, tuple[int, ...]]) -> dict[str, Member]:
    return {f".{name}": Member(*tensor) for name, tensor in tensors.items()}


def ask_library(cases: list[ask_gptqmodel.Case]) -> list[dict[str, Any]]:
    if importlib.util.find_spec("gptqmodel") is None:
        pytest.skip("gptqmodel wants a newer torch than the tests run on; it runs without deps")
    done = subprocess.run(
        [sys.executable, ask_gptqmodel.__file__],
        input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def as_described(answer: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (TORCH[dtype], tuple(shape)) for name, (dtype, shape) in answer.items()}


def test_every_shape_and_dtype_is_what_gptqmodel_saves() -> None:
    rng = random.Random(5)
    cases: list[ask_gptqmodel.Case] = []
    for _ in range(120):
        bits = rng.choice(gptq.BITS)
        step = 32 if bits == 3 else rng.choice((1, 8, 32))
        out, in_ = (rng.randint(1, 320 // step) * step for _ in "io")
        dtype = "int32" if bits == 3 else rng.choice(("int32", "int32", "int16", "int8"))
        cases.append(("gptq", out, in_, bits, rng.choice((-1, 16, 32, 64, 128)), dtype))
    for case, answer in zip(cases, ask_library(cases), strict=True):
        _, out, in_, bits, group, dtype = case
        options = Options(bits=bits, group=group, storage=TORCH[dtype])
        packing = gptq.pack("gptq", (out, in_), options)
        assert described(packing) == as_described(answer), case
        saved = {f".{n}": Member(*tensor) for n, tensor in as_described(answer).items()}
        seen = gptq.see_through(saved, {"bits": bits, "group_size": group})
        assert isinstance(seen, Logical)
        assert (seen.shape, seen.bits) == ((out, in_), bits)


def test_three_bits_that_fill_no_three_words_are_refused_as_gptqmodel_does() -> None:
    shapes = [(48, 64), (64, 48), (33, 32), (32, 1)]
    answers = ask_library([("gptq", *shape, 3, 32, "int32") for shape in shapes])
    assert all("refused" in answer for answer in answers)
    for shape in shapes:
        with pytest.raises(UsageError, match="no multiple"):
            gptq.pack("gptq", shape, Options(bits=3, group=32))


@pytest.mark.parametrize("bits", gptq.BITS)
def test_values_packed_bit_by_bit_unpack_by_what_is_seen(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(40):
        step = 32 if bits == 3 else 1
        out, in_ = (int(rng.integers(1, 200 // step)) * step for _ in "io")
        group = int(rng.choice([16, 32, 64, 128]))
        groups = -(-in_ // group)
        values = rng.integers(0, 2**bits, (in_, out))
        zeros = rng.integers(0, 2**bits, (groups, out))
        qweight = words.pack(values, bits)
        qzeros = words.pack(zeros.T, bits).T
        saved = stored(
            qweight=("I32", qweight.shape), qzeros=("I32", qzeros.shape),
            scales=("F16", (groups, out)), g_idx=("I32", (in_,)),
        )  # fmt: skip
        packing = gptq.pack("gptq", (out, in_), Options(bits=bits, group=group))
        assert members(packing) == saved
        seen = gptq.see_through(saved, {"bits": bits, "group_size": group})
        assert isinstance(seen, Logical)
        rows, columns = seen.shape
        assert np.array_equal(words.unpack(qweight, int(seen.bits), columns), values)
        assert np.array_equal(words.unpack(qzeros.T, int(seen.bits), rows).T, zeros)


sizes = st.integers(0, 300) | st.integers(1, 2**24)
groups_of = st.sampled_from([-1, 1, 16, 32, 64, 100, 128, 1024])


@given(out=sizes, in_=sizes, bits=st.sampled_from(gptq.BITS), group=groups_of,
       storage=st.sampled_from([*gptq.WORDS]))  # fmt: skip
def test_seeing_through_undoes_packing(
    out: int, in_: int, bits: int, group: int, storage: str
) -> None:
    if bits == 3:
        out, in_, storage = out // 32 * 32, in_ // 32 * 32, "I32"
    packing = gptq.pack("gptq", (out, in_), Options(bits=bits, group=group, storage=storage))
    declared = {"quant_method": "gptq", "bits": bits, "group_size": group}
    seen = gptq.see_through(members(packing), declared)
    assert isinstance(seen, Logical)
    assert seen.shape == (out, in_)
    if in_ and group not in (-1, *range(in_, 2000)):
        assert seen.group == group
    assert packing.total_bytes == sum(part.bytes for part in packing.parts)
    assert packing.packed.name == "qweight"
    assert packing.steps[-1].startswith(f"total {packing.total_bytes:,} bytes")


@given(out=st.integers(1, 99), in_=st.integers(1, 99), bits=st.sampled_from(gptq.BITS))
def test_no_config_is_needed_where_shapes_suffice(out: int, in_: int, bits: int) -> None:
    packing = gptq.pack("gptq", (out * 32, in_ * 32), Options(bits=bits, group=32))
    everything = members(packing)
    assert gptq.see_through(everything, {}) == gptq.see_through(everything, {"bits": 9})
    del everything[".g_idx"]
    seen = gptq.see_through(everything, {})
    assert isinstance(seen, Logical)
    assert (seen.shape, seen.bits) == ((out * 32, in_ * 32), bits)


@given(out=st.integers(1, 99), in_=st.integers(1, 99), bits=st.sampled_from(gptq.BITS),
       storage=st.sampled_from([*gptq.WORDS]))  # fmt: skip
def test_the_truth_is_among_what_a_stored_shape_can_hold(
    out: int, in_: int, bits: int, storage: str
) -> None:
    storage = "I32" if bits == 3 else storage
    shape = (out * 32, in_ * 32)
    packing = gptq.pack("gptq", shape, Options(bits=bits, storage=storage))
    held = list(gptq.holds(packing.packed.shape, storage))
    assert (prod(shape), shape) in {(one.weights, one.shape) for one in held}
    if storage == "I32":
        assert held == list(gptq.holds(packing.packed.shape, None))


def test_nothing_else_is_held() -> None:
    assert not list(gptq.holds((7,), None))
    assert not list(gptq.holds((2, 3, 4), "I32"))
    assert not list(gptq.holds((16, 32), "F16"))
    assert {one.weights for one in gptq.holds((16, 32), "I32")} == {2048, 4096, 8192}


def test_a_llama_2_7b_has_its_published_number_of_parameters() -> None:
    modules: dict[str, dict[str, Member]] = defaultdict(dict)
    counted = 0
    model = checkpoints.llama(checkpoints.LLAMA_2_7B, checkpoints.gptq, checkpoints.GPTQ_4BIT)
    for name, dtype, shape in model.tensors:
        module, _, suffix = name.rpartition(".")
        if suffix == "weight":
            counted += prod(shape)
        else:
            modules[module][f".{suffix}"] = Member(dtype, tuple(shape))
    for tensors in modules.values():
        seen = gptq.see_through(tensors, checkpoints.GPTQ_4BIT)
        assert isinstance(seen, Logical)
        assert (seen.scheme, seen.bits, seen.group) == ("gptq", 4, 128)
        counted += prod(seen.shape)
    assert len(modules) == 7 * 32
    assert counted == 6_738_415_616


GOOD = {
    "qweight": ("I32", (32, 64)), "qzeros": ("I32", (2, 8)), "scales": ("F16", (2, 64)),
    "g_idx": ("I32", (256,)),
}  # fmt: skip


@pytest.mark.parametrize("declared", [{}, *HOSTILE])
def test_a_config_may_hold_anything(declared: dict[str, Any]) -> None:
    assert gptq.see_through(stored(**GOOD), declared) == Logical("gptq", (64, 256), 4, 128)
    few = {**GOOD, "qweight": ("I32", (1, 1)), "qzeros": ("I32", (1, 1)), "scales": ("F16", (1, 1)),
           "g_idx": ("I32", (4,))}  # fmt: skip
    assert gptq.see_through(stored(**few), declared) == Logical("gptq", (1, 4), 8, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"qweight": None}, "no .qweight is there"),
        ({"scales": None}, "no .scales is there"),
        ({"qweight": ("I32", (32,))}, "no matrix"),
        ({"qweight": ("F16", (32, 64))}, "no integer"),
        ({"qweight": ("I64", (32, 64))}, "no integer"),
        ({"qweight": ("I32", (32, 8))}, "in AWQ they differ so"),
        ({"scales": ("F16", (2, 63))}, "in AWQ they differ so"),
        ({"qzeros": ("I32", (3, 8))}, "does not fit"),
        ({"qzeros": ("I32", (2, 9))}, "does not fit"),
        ({"qzeros": ("F16", (2, 8))}, "does not fit"),
        ({"qzeros": ("I32", (2, 8, 1))}, "no matrix"),
        ({"g_idx": ("I32", (255,)), "qweight": ("I32", (31, 64))}, "cannot hold 255 inputs"),
        ({"g_idx": ("I32", (16, 16))}, "no list of groups"),
        ({"g_idx": None, "qzeros": None}, "bits would fit"),
        ({"scales": ("F16", (0, 64)), "qzeros": ("I32", (0, 8))}, "0 scales for rows of 256"),
        ({"scales": ("F16", (300, 64)), "qzeros": ("I32", (300, 8))}, "300 scales for rows of 256"),
        ({"scales": ("F16", (7, 64)), "qzeros": ("I32", (7, 8))}, "no group size fits"),
    ],
)
def test_what_does_not_fit_is_unknown_and_says_why(change: dict[str, Any], reason: str) -> None:
    tensors = {name: tensor for name, tensor in {**GOOD, **change}.items() if tensor is not None}
    seen = gptq.see_through(stored(**tensors), {})
    assert isinstance(seen, Unknown)
    assert reason in seen.reason


def test_bits_of_gptqmodel_that_nobody_else_has_are_read() -> None:
    for bits in (5, 6, 7):
        tensors = {**GOOD, "qweight": ("I32", (8 * bits, 64)), "qzeros": ("I32", (2, 2 * bits))}
        assert gptq.see_through(stored(**tensors), {}) == Logical("gptq", (64, 256), bits, 128)


def test_the_group_is_the_declared_one_where_several_fit() -> None:
    tensors = {**GOOD, "qweight": ("I32", (96, 64)), "g_idx": ("I32", (768,))}
    for group, declared in ((384, 384), (512, 512), (512, 64), (512, None)):
        seen = gptq.see_through(stored(**tensors), {"group_size": declared})
        assert seen == Logical("gptq", (64, 768), 4, group)


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((4,), Options(), "matrices"),
        ((4, 4, 4), Options(), "matrices"),
        ((64, 64), Options(bits=5), "2, 3, 4 or 8 bits"),
        ((64, 64), Options(bits=0), "2, 3, 4 or 8 bits"),
        ((64, 64), Options(group=0), "a group of 0"),
        ((64, 64), Options(group=-2), "a group of -2"),
        ((64, 64), Options(storage="F16"), "packs into"),
        ((64, 64), Options(storage="I16", bits=3), "not I16"),
        ((64, 64), Options(dtype="I8"), "keeps scales"),
    ],
)
def test_what_gptq_cannot_have_is_refused(
    shape: tuple[int, ...], options: Options, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        gptq.pack("gptq", shape, options)


def test_the_arithmetic_is_written_out() -> None:
    packing = gptq.pack("gptq", (4096, 14336), Options())
    assert packing.steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "4 bits each, 8 in a word of 32, down the inputs: 14,336 x 4 / 32 = 1,792 words",
        "inputs come first, so it looks transposed: qweight int32 [1792, 4096] -> 29,360,128 bytes",
        "one scale per output for 128 inputs: 14,336 / 128 = 112 groups",
        "scales float16 [112, 4096] -> 917,504 bytes",
        "as many zero points, packed by outputs: 4,096 x 4 / 32 = 512 words",
        "saved for symmetric weights too: qzeros int32 [112, 512] -> 229,376 bytes",
        "each input's group, saved without act-order too: g_idx int32 [14336] -> 57,344 bytes",
        "total 30,564,352 bytes, 4.1641 bits a weight, overhead 3.9 %",
    )
    odd = gptq.pack("gptq", (33, 100), Options(group=32)).steps
    assert "100 x 4 / 32 -> 13 words" in odd[1]
    assert "100 / 32 -> 4 groups" in odd[3]
