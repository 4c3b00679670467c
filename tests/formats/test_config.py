"""JSON files beside the weights, read as hostile text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.formats import config
from modelscope_cli.sources.local import LocalFile
from tests.formats.gguf_reading import MemoryFile


def _read(content: bytes) -> dict[str, Any]:
    return config.read_object(MemoryFile(content, "config.json"))


def test_an_object(tmp_path: Path) -> None:
    value = {"a": 1, "b": [1.5, None, True], "c": {"d": "é\u202e"}}
    assert _read(json.dumps(value).encode()) == value
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")
    with LocalFile(str(path), "config.json") as file:
        assert config.read_object(file) == {}


def test_a_byte_order_mark_is_let_through() -> None:
    assert _read(b"\xef\xbb\xbf{}") == {}


def test_numbers_that_json_lacks_come_out_as_words() -> None:
    assert _read(b'{"a": NaN, "b": Infinity, "c": -Infinity}') == {
        "a": "NaN",
        "b": "Infinity",
        "c": "-Infinity",
    }


def test_the_last_of_two_equal_keys_counts_as_everywhere() -> None:
    assert _read(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", config.InvalidJson, "line 1, column 1"),
        (b'{"a": 1,}', config.InvalidJson, "line 1, column"),
        (b'{"a":\n "b', config.InvalidJson, "line 2, column 2"),
        (b'{"a": "\xff"}', config.InvalidJson, "is not UTF-8 (at byte 7)"),
        (b'{"a": "\x01"}', config.InvalidJson, "is not valid JSON"),
        (b'{"a": ' + b"1" * 4301 + b"}", config.InvalidJson, "is not valid JSON"),
        (b"[1]", config.NotAnObject, "holds a JSON list, not an object"),
        (b"null", config.NotAnObject, "holds a JSON null"),
        (b"true", config.NotAnObject, "holds a JSON boolean"),
        (b"1.5", config.NotAnObject, "holds a JSON number"),
        (b'"x"', config.NotAnObject, "holds a JSON string"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, config.NestedTooDeep, "64 levels"),
        (b'{"a":' + b"[" * 100_000, config.NestedTooDeep, "too deep"),
    ],
)
def test_defects(content: bytes, error: type[FormatError], said: str) -> None:
    with pytest.raises(error) as caught:
        _read(content)
    assert caught.value.message.startswith("config.json: ")
    assert said in caught.value.message


def test_the_deepest_that_is_let_through() -> None:
    assert _read(b'{"a":' * 63 + b"1" + b"}" * 63)


def test_a_huge_file_is_not_read() -> None:
    class Huge(MemoryFile):
        def read_at(self, offset: int, length: int) -> bytes:
            raise AssertionError

    file = Huge(b"", "config.json")
    file.size = config.MAX_CONFIG_BYTES + 1
    with pytest.raises(config.ConfigTooLarge, match="32,000,001 bytes are too many"):
        config.read_value(file)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
def test_any_json_is_read_as_it_is(value: object) -> None:
    text = json.dumps(value).encode()
    assert config.read_value(MemoryFile(text, "x.json")) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        config.read_value(MemoryFile(content, "x.json"))
    except FormatError:
        return
