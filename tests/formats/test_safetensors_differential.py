"""Whatever the safetensors library rejects we reject, and besides only duplicates."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.safetensors_header import DuplicateKey, DuplicateTensor
from tests.builders.safetensors import BITS, Tensor, compact, entries, framed
from tests.formats.safetensors_reading import library_rows, our_rows, read

NUMBERS = [
    "0", "1", "2", "-0", "-1", "2.0", "1e0", "1E400", "-1e-400", "01", "1.", "true", "null", "NaN",
    "-Infinity", str(2**63), str(2**64 - 1), str(2**64), "9" * 320,
]  # fmt: skip
FRAGMENTS = [
    *NUMBERS, '"', "\\", "\\u0061", "\\ud800", "\\ude00", "\\ud83d\\ude00", "\\n", "\t", "\0",
    "\x7f", "\ufeff", "é", "\U0001f52c", " ", "\n", ",", ":", "[", "]", "{", "}", "[]", "{}", '""',
    '"a"', '"a":{}', '"x":1', '"x":[1,{"x":null}]', '"__metadata__"', '"__metadata__":null,',
    '"__metadata__":{"a":"b"},', '"dtype"', '"dtype":"U8"', '"shape":[1]', '"data_offsets":[0,1]',
    '["U8",[1],[0,1]]', '{"U8":null}', '"F4"', '"F6_E2M3"', '"U8"', '"I16"', "[" * 124, "]" * 124,
]  # fmt: skip
ATOMS = st.sampled_from([*NUMBERS, '"a"', "[]", "{}", "[1]", '"U8"', '{"U8":null}', '{"U8":{}}'])


@st.composite
def good_headers(draw: st.DrawFn) -> tuple[str, int]:
    """The text of a header, as some writer might lay it out, and its bytes of data."""
    names = st.text(st.sampled_from('ab.01-é\U0001f52c"\\\n'), max_size=4)
    dtypes = st.sampled_from(list(BITS))
    shapes = st.lists(st.sampled_from([0, 1, 2, 4]), max_size=3)
    tensors = [
        Tensor(name, dtype, shape)
        for name, dtype, shape in draw(
            st.lists(st.tuples(names, dtypes, shapes), max_size=4, unique_by=lambda row: row[0])
        )
        if BITS[dtype] * prod(shape) % 8 == 0
    ]
    header: dict[str, Any] = entries(tensors)
    if draw(st.booleans()):
        header = dict(draw(st.permutations(list(header.items()))))
    if draw(st.booleans()):
        metadata = draw(st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
        header = {"__metadata__": metadata, **header}
    text = compact(header) if draw(st.booleans()) else json.dumps(header)
    return text, sum(tensor.bytes for tensor in tensors)


@st.composite
def mutated_headers(draw: st.DrawFn) -> tuple[bytes, int]:
    """A good header into which a few fragments were put, in place of nothing or of a part."""
    text, data_bytes = draw(good_headers())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 0, 1, 2, 8])))
        text = text[:start] + draw(st.sampled_from(FRAGMENTS)) + text[end:]
    raw = text.encode()
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.binary(max_size=2)) + raw[place + 1 :]
    return raw, max(0, data_bytes + draw(st.sampled_from([0, 0, 0, 0, -1, 1])))


@st.composite
def strange_entries(draw: st.DrawFn) -> tuple[bytes, int]:
    """One entry, each of whose fields may be anything."""
    shape = draw(st.lists(ATOMS, max_size=3).map(",".join).map("[{}]".format) | ATOMS)
    offsets = draw(st.lists(ATOMS, max_size=3).map(",".join).map("[{}]".format) | ATOMS)
    dtype = draw(st.sampled_from(['"U8"', '"F4"', '"I16"', '{"U8":null}']) | ATOMS)
    fields = [f'"dtype":{dtype}', f'"shape":{shape}', f'"data_offsets":{offsets}']
    extra = draw(ATOMS)
    fields += draw(st.sampled_from([[], [], [f'"x":{extra}'], [fields[0]]]))
    fields = draw(st.permutations(fields))[: draw(st.sampled_from([5, 5, 5, 2]))]
    raw = draw(st.sampled_from([f"{{{','.join(fields)}}}", f"[{dtype},{shape},{offsets}]"]))
    return f'{{"a":{raw}}}'.encode(), draw(st.integers(0, 2))


def assert_same_verdict(data: bytes) -> None:
    try:
        theirs = library_rows(data)
    except (safetensors.SafetensorError, OverflowError):
        with pytest.raises(FormatError):
            read(data)
        return
    try:
        assert our_rows(data) == theirs
    except (DuplicateTensor, DuplicateKey):
        return


FEW = settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(good_headers())
def test_any_layout_of_a_good_header_is_read(case: tuple[str, int]) -> None:
    text, data_bytes = case
    data = framed(text, bytes(data_bytes))
    assert our_rows(data) == library_rows(data)


@FEW
@given(mutated_headers())
def test_mutated_headers_get_the_library_s_verdict(case: tuple[bytes, int]) -> None:
    raw, data_bytes = case
    assert_same_verdict(framed(raw, bytes(data_bytes)))


@FEW
@given(strange_entries())
def test_strange_entries_get_the_library_s_verdict(case: tuple[bytes, int]) -> None:
    raw, data_bytes = case
    assert_same_verdict(framed(raw, bytes(data_bytes)))


@FEW
@given(st.binary(max_size=64), st.none() | st.integers(0, 2**64 - 1))
def test_noise_gets_the_library_s_verdict(raw: bytes, length: int | None) -> None:
    assert_same_verdict(raw if length is None else framed(raw, length=length))
