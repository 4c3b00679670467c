"""The drawn table: what is hidden, broken or wrapped where a terminal is narrow."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from modelscope_cli.render import markdown, plain, terminal
from modelscope_cli.report import Column, Fields, Lines, Report, Table
from tests.hostile import TEXTS, harm
from tests.render.reports import COLUMNS, FIELDS, ROWS, TABLE, TOTAL, report
from tests.terminal import unstyled


def _drawn(shown: Report, width: int, *, color: bool = False) -> list[str]:
    text = "".join(terminal.render(shown, units="iec", folded=True, width=width, color=color))
    assert harm(text, styled=color) is None
    return unstyled(text)


def test_a_wide_terminal_shows_all() -> None:
    assert _drawn(report(TABLE, FIELDS), 100) == [
        "./m: safetensors",
        "",
        "name              times  dtype  shape     elements  bytes      size  remark",
        "─" * 76,
        "embed.weight             BF16   [100, 8]       800  1,600  1.56 KiB  first",
        "layers.{0..11}.w    x12  F32    [8]             96    384     384 B",
        "scale                    F32    []               1      4       4 B  unknown",
        "",
        "total                                          897  1,988  1.94 KiB",
        "",
        "parameters  897",
        "known       yes",
        "why",
    ]


def test_the_same_cells_as_in_a_pipe() -> None:
    from modelscope_cli.render import plain

    piped = "".join(plain.render(report(TABLE), units="iec", folded=True)).split()
    drawn = " ".join(_drawn(report(TABLE), 200)).replace("─", "").split()
    assert drawn == piped


@pytest.mark.parametrize(
    ("width", "hidden"),
    [
        (77, ""),
        (70, "remark"),
        (65, "bytes, remark"),
        (59, "elements, bytes, remark"),
        (50, "elements, bytes, remark"),
    ],
)
def test_the_highest_rank_is_hidden_first(width: int, hidden: str) -> None:
    text = " ".join(_drawn(report(TABLE), width))
    found = re.search(r"not shown at this width: (.*?) \(a wider", text)
    assert (found[1] if found else "") == hidden


@pytest.mark.parametrize("width", range(20, 120, 7))
def test_no_line_is_wider_and_nothing_is_lost(width: int) -> None:
    lines = _drawn(report(TABLE, FIELDS, Lines(["a sentence of ours"])), width)
    assert max(map(cell_len, lines)) <= width
    letters = re.sub(r"[\s─]", "", "".join(lines))
    if width >= 55:  # below, cells are broken into several lines
        for cell in ("embed.weight", "[100,8]", "1.56KiB", "x12", "layers.{0..11}.w"):
            assert cell in letters
    assert "asentenceofours" in letters


def test_a_terminal_too_narrow_breaks_cells_instead_of_cutting_them() -> None:
    columns = (Column("n", "n", "name"), Column("s", "s", "shape"))
    lines = _drawn(report(Table(columns, [["weight", (111, 222, 333)]]), title=""), 16)
    assert max(map(len, lines)) <= 16
    assert "".join(re.findall(r"\d", "".join(lines))) == "111222333"


def test_values_are_wrapped_before_names() -> None:
    columns = (Column("key", "key", "name"), Column("value", "value"))
    rows = [["max_position_embeddings", "word " * 40]]
    lines = _drawn(report(Table(columns, rows), title=""), 60)
    assert any(line.startswith("max_position_embeddings  word") for line in lines)
    assert sum(line.count("word") for line in lines) == 40


def test_wide_characters_take_two_cells() -> None:
    rows = [["層" * 30 + ".重み", *row[1:]] for row in ROWS]
    for width in (40, 60, 80):
        lines = _drawn(report(Table(COLUMNS, rows, total=TOTAL)), width)
        assert max(map(cell_len, lines)) <= width
        assert sum(line.count("層") for line in lines) == 90


def test_colours_only_where_wanted() -> None:
    shown = report(TABLE)
    text = "".join(terminal.render(shown, units="iec", folded=True, width=80, color=True))
    assert "\x1b[36m" in text
    text = "".join(terminal.render(shown, units="iec", folded=True, width=80, color=False))
    assert not re.search(r"\x1b\[3\dm", text)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("width", [40, 100])
def test_hostile_text_stays_text(text: str, width: int) -> None:
    table = Table(
        (Column("a", text), Column("b", text, "name"), Column("c", text, "word", rank=1)),
        [[text] * 3, ["x " + text] * 3],
    )
    shown = report(table, Fields([("label", text, "text")]), Lines([text]), title=text)
    assert max(map(cell_len, _drawn(shown, width, color=True))) <= width


# Names broken over lines


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("short", 10, ["short"]),
        ("model.layers.weight", 19, ["model.layers.weight"]),
        ("model.layers.weight", 18, ["model.layers.", "  weight"]),
        ("model.layers.weight", 14, ["model.layers.", "  weight"]),
        ("model.layers.weight", 12, ["model.", "  layers.", "  weight"]),
        ("layers.{0..11}.up", 15, ["layers.{0..11}.", "  up"]),
        ("layers.{0..11}.up", 13, ["layers.", "  {0..11}.up"]),
        ("layers.{0..", 9, ["layers.", "  {0.."]),
        ("abcdefghijklmnop", 10, ["abcdefgh", "  ijklmnop"]),
        ("a.bcdefghijklmnop", 10, ["a.", "  bcdefghi", "  jklmnop"]),
        ("層層層層層層", 8, ["層層層", "  層層層"]),
    ],
)
def test_broken(name: str, width: int, lines: list[str]) -> None:
    assert terminal.broken(name, width).split("\n") == lines


_PARTS = st.text(st.characters(categories=["Ll", "Lu", "Nd", "Lo"]), max_size=30)


@given(st.lists(_PARTS, min_size=1, max_size=8).map(".".join), st.integers(12, 60))
def test_a_broken_name_is_whole_when_joined(name: str, width: int) -> None:
    first, *others = terminal.broken(name, width).split("\n")
    assert all(line.startswith("  ") for line in others)
    assert "".join([first, *(line[2:] for line in others)]) == name
    assert all(cell_len(line) <= width for line in (first, *others))


_SHARES = Table(
    (Column("part", "part", "word"), Column("share", "", "bar")),
    [["all", 1.0], ["half", 0.5], ["some", 0.001], ["none", 0.0]],
    total=["total", None],
)


def test_a_share_is_drawn_as_a_bar() -> None:
    drawn = _drawn(report(_SHARES), 60)
    bars = {line.split()[0]: line.partition(" ")[2].strip() for line in drawn[4:8]}
    assert bars == {"all": "█" * 24, "half": "█" * 12, "some": "▏", "none": ""}


@pytest.mark.parametrize("renderer", [plain, markdown], ids=["plain", "markdown"])
def test_a_share_is_left_out_where_nothing_is_drawn(renderer: Any) -> None:
    text = "".join(renderer.render(report(_SHARES), units="iec", folded=False))
    assert "half" in text
    assert "█" not in text
    assert "0.5" not in text
