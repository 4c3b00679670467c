"""Untrusted text made harmless, in a way that can be read back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.escape import json_text, one_line, spreadsheet, visible
from tests.hostile import TEXTS, harm

_ANY = st.text() | st.text("\\:#[x3a \t\n\x1b=") | st.sampled_from(TEXTS)
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def _read_back(shown: str) -> str:
    return _ESCAPE.sub(lambda m: "\\" if m[1] == "\\" else chr(int(m[1][1:], 16)), shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("model.layers.0.weight", "model.layers.0.weight"),
        ("層.重み é", "層.重み é"),
        ("", ""),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd\0", "a\\x0ab\\x09c\\x0dd\\x00"),
        ("\x9b1m\x85", "\\x9b1m\\x85"),
        ("\u202e\u200b\ufeff", "\\u202e\\u200b\\ufeff"),
        ("\U000e0001", "\\U000e0001"),
        ("\ud800", "\\ud800"),
        ("a\\b", "a\\\\b"),
        ("\\x1b", "\\\\x1b"),
        ("::error::x", "\\x3a:error::x"),
        ("  ::error", "  \\x3a:error"),
        ("a::b", "a::b"),
        (":::", "\\x3a::"),
        ("##[error]", "#\\x23[error]"),
        ("###[x]", "##\\x23[x]"),
        ("#[x]", "#[x]"),
        ("[red]x[/red]", "[red]x[/red]"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(_ANY)
def test_visible_is_harmless_and_can_be_read_back(text: str) -> None:
    shown = visible(text)
    assert harm(shown) is None
    assert "\n" not in shown
    assert _read_back(shown) == text


@given(_ANY, _ANY)
def test_visible_never_makes_two_texts_one(a: str, b: str) -> None:
    assert (visible(a) == visible(b)) == (a == b)


@given(_ANY)
def test_plain_text_stays_as_it_is(text: str) -> None:
    plain = text.isprintable() and not {"\\", ":", "#"} & set(text)
    if plain:
        assert visible(text) == text == one_line(text, max(len(text), 100))


@given(_ANY)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = spreadsheet(text)
    assert harm(cell) is None
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert _read_back(cell) == text


@given(_ANY, st.integers(min_value=100, max_value=2000))
def test_a_line_is_harmless_and_not_too_long(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert harm(line) is None
    assert "\n" not in line
    assert len(line) <= limit


def test_a_long_line_keeps_both_ends() -> None:
    line = one_line("begin " + "\x00" * 100_000 + " end", 1900)
    assert line.startswith("begin \\x00")
    assert line.endswith("\\x00 end")
    assert "(100,010 characters)" in line


def test_a_windows_path_stays_readable_in_messages() -> None:
    assert one_line("C:\\temp\\new: no such file") == "C:\\temp\\new: no such file"


@given(
    st.recursive(
        _ANY | st.none() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(_ANY, inner),
        max_leaves=8,
    )
)
def test_json_decodes_to_the_same(value: object) -> None:
    text = json.dumps(value)
    shown = json_text(text)
    assert shown.isascii()
    assert json.loads(shown) == json.loads(text)
    assert "##[" not in shown
