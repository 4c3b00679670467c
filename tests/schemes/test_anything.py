"""Whatever tensors and config a file has, a scheme answers: it neither raises nor lies."""

from __future__ import annotations

from math import prod
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import FAMILIES, Family
from modelscope_cli.schemes.base import Logical, Member

MINE = [f for f in FAMILIES if f.module in ("gptq", "awq", "compressed_tensors", "fp8")]
DTYPE = st.sampled_from(["I8", "I16", "I32", "I64", "U8", "F16", "BF16", "F32", "F8_E4M3",
                         "F8_E8M0", "F4", "Q4_0"])  # fmt: skip
SIZE = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 32, 64, 100, 128, 256, 2**40]) | st.integers(0, 300)
SHAPE = st.lists(SIZE, max_size=4).map(tuple)
VALUE = st.none() | st.binary(max_size=40)
NUMBER = st.integers(-3, 9) | st.sampled_from([16, 32, 64, 128, 2**70, 10**4000])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBER | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
WEIGHTS = st.fixed_dictionaries(
    {}, optional={"num_bits": JSON, "group_size": JSON, "block_structure": JSON}
)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "quant_method": JSON | st.sampled_from(["gptq", "awq", "AWQ"]),
        "bits": JSON,
        "group_size": JSON,
        "weight_block_size": JSON | st.tuples(NUMBER, NUMBER).map(list),
        "config_groups": JSON | st.dictionaries(st.text(max_size=2), st.fixed_dictionaries(
            {"weights": JSON | WEIGHTS}) | JSON, max_size=3),
    },
)  # fmt: skip


def tensors_of(family: Family) -> st.SearchStrategy[dict[str, Member]]:
    names = st.sampled_from([family.packed, *family.state])
    return st.dictionaries(names, st.builds(Member, DTYPE, SHAPE, VALUE), max_size=6)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Family, dict[str, Member]]:
    family = draw(st.sampled_from(MINE))
    return family, draw(tensors_of(family))


@settings(max_examples=500)
@given(case=cases(), declared=CONFIG)
def test_any_tensors_and_any_config_get_an_answer(
    case: tuple[Family, dict[str, Member]], declared: dict[str, Any]
) -> None:
    family, members = case
    seen = family.load().see_through(members, declared)
    if isinstance(seen, Unknown):
        assert seen.reason
        assert len(seen.reason) < 600
        return
    assert isinstance(seen, Logical)
    packed = members[family.packed]
    stored_bits = packed.elements * DTYPES[packed.dtype].bits
    # Never more weights than the stored bits can hold.
    assert prod(seen.shape) * seen.bits <= stored_bits or prod(seen.shape) == 0
    assert 1 <= seen.bits <= 64
    assert seen.group is None or seen.group > 0


@given(stored=SHAPE, dtype=st.none() | DTYPE, family=st.sampled_from(MINE))
def test_any_stored_shape_can_be_read_backwards(
    stored: tuple[int, ...], dtype: str | None, family: Family
) -> None:
    for held in family.load().holds(stored, dtype):
        assert held.weights == prod(held.shape or ())
        assert held.note
