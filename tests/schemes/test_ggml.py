"""ggml's block types against the gguf library, for every type it knows."""

from __future__ import annotations

import random
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import ggml
from modelscope_cli.schemes.base import Logical, Member, Options, Packing
from tests.schemes import hostile

gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")

# gguf 0.19 does not know it yet; ggml does: two bits for 64 weights and a half as scale.
ONLY_IN_GGML = {"q2_0": (64, 2 + 64 * 2 // 8)}
TYPES = sorted(ggml.TYPES)
KNOWN = [name for name in TYPES if name not in ONLY_IN_GGML]
LEAD = st.lists(st.integers(0, 9), max_size=3).map(tuple)


def pack(scheme: str, *shape: int) -> Packing:
    return ggml.pack(scheme, shape, Options())


def type_of(scheme: str) -> Any:
    return gguf.GGMLQuantizationType[scheme.upper()]


def sizes(scheme: str) -> tuple[int, int]:
    """Weights and bytes of a block, by the library."""
    return ONLY_IN_GGML.get(scheme) or gguf.GGML_QUANT_SIZES[type_of(scheme)]


def test_every_packed_type_of_the_library_is_a_scheme() -> None:
    packed = {kind.name.lower() for kind, (block, _) in gguf.GGML_QUANT_SIZES.items() if block > 1}
    assert packed == set(KNOWN)
    assert set(ggml.OPTIONS) == {name.lower() for name in ggml.FIELDS} == set(TYPES)


@pytest.mark.parametrize("scheme", TYPES)
def test_the_fields_of_a_block_fill_it(scheme: str) -> None:
    assert sum(size for _, size in ggml.FIELDS[scheme.upper()]) == sizes(scheme)[1]


@pytest.mark.parametrize("scheme", KNOWN)
def test_byte_shapes_are_the_librarys_over_random_shapes(scheme: str) -> None:
    rng = random.Random(scheme)
    for _ in range(120):
        lead = [rng.randint(1, 50) for _ in range(rng.randint(0, 3))]
        shape = (*lead, rng.randint(1, 40) * rng.choice([1, 32, 64, 128, 256]))
        try:
            stored = gguf.quant_shape_to_byte_shape(shape, type_of(scheme))
        except ValueError:
            with pytest.raises(UsageError, match="no whole number of"):
                pack(scheme, *shape)
            continue
        packing = pack(scheme, *shape)
        assert packing.total_bytes == prod(stored)
        held = {each.scheme: each for each in ggml.holds(stored, "U8")}[scheme]
        assert held.shape == gguf.quant_shape_from_byte_shape(stored, type_of(scheme)) == shape
        assert held.weights == prod(shape)


def quantizable() -> list[str]:
    """Types that the library can quantize to; for the others it only dequantizes."""
    found = []
    for scheme in KNOWN:
        try:
            gguf.quants.quantize(np.zeros((1, 256), np.float32), type_of(scheme))
        except NotImplementedError:
            continue
        found.append(scheme)
    return found


@pytest.mark.parametrize("scheme", quantizable())
def test_real_bytes_are_as_many(scheme: str) -> None:
    rng = np.random.default_rng(1)
    for rows in (1, 3, 17):
        for blocks in (1, 2, 5):
            values = rng.standard_normal((rows, blocks * sizes(scheme)[0])).astype(np.float32)
            packed = gguf.quants.quantize(values, type_of(scheme))
            packing = pack(scheme, *values.shape)
            assert packing.total_bytes == packed.nbytes
            assert f"uint8 {list(packed.shape)} to the gguf library" in packing.steps[4]


@given(st.sampled_from(TYPES), LEAD, st.integers(0, 50))
def test_shapes_both_ways(scheme: str, lead: Shape, blocks: int) -> None:
    block, size = sizes(scheme)
    shape = (*lead, blocks * block)
    packing = pack(scheme, *shape)
    assert packing.total_bytes == prod(lead) * blocks * size
    stored = {"": Member(packing.packed.dtype, packing.packed.shape)}
    assert ggml.see_through(stored, {}) == Logical(
        scheme, shape, size * 8 / block, ggml.group(scheme.upper())
    )
    held = list(ggml.holds(shape, scheme.upper()))
    assert [each[:3] for each in held] == [(scheme, prod(shape), shape)]
    in_bytes = [each[:3] for each in ggml.holds((*lead, blocks * size), None)]
    assert (scheme, prod(shape), shape) in in_bytes


@pytest.mark.parametrize("dtype", ["I32", "F32", "BF16"])
def test_no_other_dtype_holds_any(dtype: str) -> None:
    assert not list(ggml.holds((4, 144), dtype))
    assert not list(ggml.holds((), "U8"))
    assert not list(ggml.holds((4, 100), "Q4_K"))


def test_steps() -> None:
    packing = pack("q4_k", 4096, 14336)
    assert packing.packed == ("weight", (4096, 14336), "Q4_K", 33_030_144)
    assert packing.steps == (
        "4,096 x 14,336 = 58,720,256 weights",
        "256 weights of a row are a block: 14,336 / 256 = 56 blocks a row",
        "a block of Q4_K: d 2 + dmin 2 + scales 12 + qs 128 = 144 bytes, scales included",
        "56 x 144 = 8,064 bytes a row",
        "uint8 [4096, 8064] to the gguf library, [4096, 14336] by the file's header",
        "total 33,030,144 bytes, 144 x 8 / 256 = 4.5000 bits a weight",
    )


@pytest.mark.parametrize("shape", [(), (100,), (256, 100)])
def test_a_row_must_be_whole_blocks(shape: Shape) -> None:
    with pytest.raises(UsageError, match="256-weight blocks"):
        pack("q6_k", *shape)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"": Member("Q4_K", (4, 100))}, "no whole number of 256-weight blocks"),
        ({"": Member("Q4_K", ())}, "no whole number of 256-weight blocks"),
        ({"": Member("F32", (4, 256))}, "no tensor of a ggml block type"),
        ({}, "no tensor of a ggml block type"),
    ],
)
def test_contradictions_are_unknown(stored: dict[str, Member], says: str) -> None:
    seen = ggml.see_through(stored, {})
    assert isinstance(seen, Unknown)
    assert says in seen.reason


@given(hostile.stored(["", ".weight"], ["Q4_K", "IQ2_XXS", "U8"]), hostile.declarations("bits"))
def test_nothing_stored_raises(stored: dict[str, Member], declared: dict[str, Any]) -> None:
    assert isinstance(ggml.see_through(stored, declared), (Logical, Unknown))
