"""GGUF metadata: typed values, arrays decoded on request, claims that are bounded."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from modelscope_cli.errors import TruncatedFile
from modelscope_cli.formats.gguf_errors import StringTooLong, TooManyArrays
from modelscope_cli.formats.gguf_metadata import FIRST_READ, MAX_NESTED_ARRAYS, ArrayValue
from tests.builders.gguf import (
    ARRAY,
    BOOL,
    FLOAT32,
    INT32,
    STRING,
    UINT8,
    array,
    build,
    head,
    inner_array,
    string,
    text,
    u32,
)
from tests.formats.gguf_reading import CORPUS, read_bytes, read_path


def value_of(data: bytes) -> Any:
    """What the reader makes of one metadata value, with another behind it."""
    metadata = read_bytes(build((), {"value": data, "after": u32(7)})).fact.metadata
    assert metadata["after"] == 7
    return metadata["value"]


def test_values_keep_their_types() -> None:
    metadata = read_path(CORPUS / "good" / "gguf" / "all-values.gguf").fact.metadata
    assert dict(metadata) == {
        "u8": 255,
        "i8": -128,
        "u16": 65535,
        "i16": -32768,
        "u32": 2**32 - 1,
        "i32": -(2**31),
        "f32": 0.5,
        "bool": True,
        "string": "kräftig 🔬",
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f64": 0.1,
        "strings": ["<pad>", "<eos>", "", "▁the", "x" * 300],
        "numbers": [1, -2, 3, 4],
        "floats": [0.5, -1000.0],
        "bools": [True, False, True],
        "empty": [],
    }
    assert metadata["bool"] is True
    assert metadata["bools"][0] is True


def test_nested_arrays() -> None:
    metadata = read_path(CORPUS / "good" / "gguf" / "nested-arrays.gguf").fact.metadata
    assert dict(metadata) == {"nested": [[1, 2], ["a"]], "after": 7}


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        (STRING, [f"<{number}>" for number in range(5000)]),
        (STRING, [""] * 5000),
        (STRING, ["x" * 255, "y" * 256, "z" * 70_000]),
        (FLOAT32, [0.5, -1.0] * 1000),
        (INT32, list(range(-2000, 2000))),
        (UINT8, [7] * 5000),
        (BOOL, [1, 0] * 3000),
    ],
)
def test_long_arrays_are_decoded_on_request(kind: int, items: list[Any]) -> None:
    value = value_of(array(kind, items))
    assert isinstance(value, ArrayValue)
    assert len(value) == value.length == len(items)
    assert value.first(2) == items[:2]
    assert value.preview == tuple(items[:3])
    assert value.first(10**12) == items
    assert value.first(-1) == []


def test_long_nested_arrays_decode_again_and_again() -> None:
    items = [["a" * 30, "b"], ["c"] * 400] * 40
    value = value_of(array(ARRAY, [inner_array(STRING, item) for item in items]))
    assert value.type == "array"
    assert [value.first(1000) for _ in range(3)] == [items] * 3


def test_strings_across_the_edges_of_reads() -> None:
    for shift in range(16):
        items = ["s" * shift, *["0123456789"] * (FIRST_READ // 18 + 50)]
        value = value_of(array(STRING, items))
        assert value.first(len(items)) == items


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (array(STRING, ["<pad>"] * 600), '[600 strings: "<pad>", "<pad>", "<pad>", …]'),
        (array(FLOAT32, [-1000.0] * 1200), "[1200 float32: -1000.0, -1000.0, -1000.0, …]"),
        (array(STRING, ["x" * 9000]), f'[1 string: "{"x" * 60}…"]'),
        (array(BOOL, [1] * 5000), "[5000 bools: True, True, True, …]"),
    ],
)
def test_arrays_as_people_read_them(value: bytes, shown: str) -> None:
    assert str(value_of(value)) == shown


def test_bytes_that_are_no_text_in_an_array() -> None:
    assert value_of(array(STRING, [b"\xff\xfe", "ok"])) == ["\\xff\\xfe", "ok"]


def test_a_string_in_an_array_longer_than_any_header() -> None:
    with pytest.raises(StringTooLong):
        value_of(array(STRING, [], length=2) + string("a") + b"\xff" * 7 + b"\x7f")


def test_more_arrays_than_any_model_has() -> None:
    many = [inner_array(UINT8, [])] * (MAX_NESTED_ARRAYS + 1)
    with pytest.raises(TooManyArrays):
        value_of(array(ARRAY, many))


def test_small_files_with_large_claims_stay_small() -> None:
    claims = [
        head({"a": array(STRING, [], length=12_000_000)}),
        head({"a": array(FLOAT32, [], length=24_000_000)}),
        head({"a": text("")})[:-8] + (99_000_000).to_bytes(8, "little"),
        head(tensor_count=200_000),
        head({"k": u32(1)}, key_count=65_000),
    ]
    tracemalloc.start()
    for data in claims:
        with pytest.raises(TruncatedFile):
            read_bytes(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
