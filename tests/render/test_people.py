"""The renderers for people, by themselves: plain text, markdown, and the cells they share."""

from __future__ import annotations

import pytest

from modelscope_cli.facts import Unknown
from modelscope_cli.render import markdown, plain
from modelscope_cli.render.cells import cell_text
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Table
from tests.hostile import TEXTS, harm
from tests.render.reports import COLUMNS, FIELDS, ROWS, TABLE, report


def _plain(shown: Report, units: str = "iec") -> str:
    return "".join(plain.render(shown, units=units, folded=False))


def _markdown(shown: Report) -> str:
    return "".join(markdown.render(shown, units="iec", folded=False))


# Cells


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (None, "count", ""),
        (Unknown("why"), "count", "unknown"),
        (0, "count", "0"),
        (1234567, "count", "1,234,567"),
        (1234567, "bytes", "1,234,567"),
        (1024, "size", "1.00 KiB"),
        (12, "times", "x12"),
        (1, "times", ""),
        ((4096, 14336), "shape", "[4096, 14336]"),
        ((), "shape", "[]"),
        (True, "text", "yes"),
        (False, "text", "no"),
        (1.5, "text", "1.5"),
        ("a\nb", "text", "a\\x0ab"),
        ("::x", "name", "\\x3a:x"),
    ],
)
def test_cells(cell: Cell, kind: str, text: str) -> None:
    assert cell_text(cell, kind, "iec") == text


# Plain text


def test_a_plain_report() -> None:
    assert _plain(report(TABLE, FIELDS)) == (
        "./m: safetensors\n"
        "\n"
        "name              times  dtype  shape     elements  bytes      size  remark\n"
        "embed.weight             BF16   [100, 8]       800  1,600  1.56 KiB  first\n"
        "layers.{0..11}.w    x12  F32    [8]             96    384     384 B\n"
        "scale                    F32    []               1      4       4 B  unknown\n"
        "total                                          897  1,988  1.94 KiB\n"
        "\n"
        "parameters  897\n"
        "known       yes\n"
        "why\n"
    )


def test_plain_units() -> None:
    assert "1.60 kB" in _plain(report(TABLE), "si")
    assert "1,600 B" in _plain(report(TABLE), "bytes")


def test_a_plain_report_without_a_title() -> None:
    assert _plain(report(Lines(["one", "two"]), title="")) == "one\ntwo\n"


def test_plain_titles_of_sections() -> None:
    shown = report(Table(COLUMNS[:1], (), title="First"), Fields([], title="Second"), title="")
    assert _plain(shown) == "First\nname\n\nSecond\n"


def test_lines_are_sentences_or_values() -> None:
    """A Windows path in a sentence keeps its backslashes, a value's are doubled."""
    text = "C:\\x \x1b"
    assert _plain(report(Lines([text]), title="")) == "C:\\x \\x1b\n"
    assert _plain(report(Lines([text], verbatim=True), title="")) == "C:\\\\x \\x1b\n"


def test_nothing_is_cut_but_a_name_without_end_does_not_widen_all_rows() -> None:
    rows = [["n" * 10_000, "x"], *[["short", "y"]] * 100]
    text = _plain(report(Table((COLUMNS[0], COLUMNS[2]), rows), title=""))
    assert "n" * 10_000 + "  x\n" in text
    assert len(text) < 80_000


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_every_text_of_a_report_is_escaped(text: str) -> None:
    table = Table((Column("a", text), Column("b", text, "name")), [[text, text]], title=text)
    shown = report(table, Fields([("label", text, "text")], title=text), Lines([text]), title=text)
    assert harm(_plain(shown)) is None
    assert harm(_markdown(shown)) is None


# Markdown


def test_a_markdown_report() -> None:
    assert _markdown(report(Table(COLUMNS[:5], [r[:5] for r in ROWS[:2]]), FIELDS)) == (
        "## ./m: safetensors\n"
        "\n"
        "| name | times | dtype | shape | elements |\n"
        "| --- | ---: | --- | --- | ---: |\n"
        "| `embed.weight` |  | BF16 | \\[100, 8\\] | 800 |\n"
        "| `layers.{0..11}.w` | x12 | F32 | \\[8\\] | 96 |\n"
        "\n"
        "| | |\n"
        "| --- | --- |\n"
        "| parameters | 897 |\n"
        "| known | yes |\n"
        "| why |  |\n"
    )


def test_markdown_totals_are_bold() -> None:
    last = _markdown(report(TABLE)).splitlines()[-1]
    assert last == "| **total** |  |  |  | **897** | **1,988** | **1.94 KiB** |  |"


@pytest.mark.parametrize(
    ("text", "name", "plain_text"),
    [
        ("a|b", "`a\\|b`", "a\\|b"),
        ("a`b", "`a\\x60b`", "a\\`b"),
        ("<b>", "`<b>`", "&lt;b&gt;"),
        ("a*b_c", "`a*b_c`", "a\\*b\\_c"),
        ("a\\b", "`a\\\\b`", "a\\\\\\\\b"),
        ("", "", ""),
    ],
)
def test_markdown_cells(text: str, name: str, plain_text: str) -> None:
    columns = (Column("n", "n", "name"), Column("t", "t"))
    row = _markdown(report(Table(columns, [[text, text]]))).splitlines()[-1]
    assert row == f"| {name} | {plain_text} |"
