"""What a hostile checkpoint may hold: any JSON as declaration, any shapes and dtypes as tensors."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from modelscope_cli.schemes.base import Member

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 16, 32, 64, 2**62]), max_size=5).map(tuple)


def declarations(*keys: str) -> st.SearchStrategy[dict[str, object]]:
    """Objects of any values, under the keys that matter and under others."""
    return st.dictionaries(st.sampled_from(keys) | st.text(max_size=8), JSON)


def stored(suffixes: Sequence[str], dtypes: Sequence[str]) -> st.SearchStrategy[dict[str, Member]]:
    """Tensors of a weight, any of them missing, of any dtype and shape."""
    members = st.builds(Member, st.sampled_from([*dtypes, "I32", "?"]), SHAPES)
    return st.dictionaries(st.sampled_from([*suffixes, "x"]), members)
