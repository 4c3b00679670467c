"""The table on a terminal, drawn by rich. The only module that imports rich."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleRenderable
from rich.table import Table as RichTable
from rich.text import Text

from modelscope_cli.escape import one_line, visible
from modelscope_cli.render.cells import RIGHT_ALIGNED, cell_text, line_text
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table

_GAP = 2  # one blank of padding, one of SIMPLE_HEAD's divider
_MIN_NAME = 38  # columns are hidden rather than names broken into less than this
_LEAST_TEXT = 12
_LEAST_NAME = 12  # narrower than this, the terminal is too small for any table
_STYLES = {"name": "cyan", "times": "magenta", "shape": "green", "size": "dim", "bar": "blue"}
_BREAKS = re.compile(r"(?:\{[^{}]*\}|[^.])*\.?")  # after a dot, but for those of `{0..31}`


def render(report: Report, *, units: str, folded: bool, width: int, color: bool) -> Iterator[str]:
    """The report drawn for a terminal `width` characters wide."""
    console = Console(
        width=width,
        force_terminal=True,
        color_system="auto" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    gap = ""
    if report.title:
        gap = "\n"
        yield _drawn(console, Text(_no_command(one_line(report.title)), style="bold"))
    for section in report.sections(folded):
        yield gap
        gap = "\n"
        for part in _section(section, units, width):
            yield _drawn(console, part)


def _drawn(console: Console, part: ConsoleRenderable) -> str:
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def _section(section: Section, units: str, width: int) -> Iterator[ConsoleRenderable]:
    if isinstance(section, Lines):
        yield from (Text(_no_command(line_text(line, section))) for line in section.lines)
    elif isinstance(section, Fields):
        yield _fields(section, units)
    else:
        layout = _layout(section, units, width)
        yield _table(section, layout, units)
        if hidden := [_title(c) for c in section.columns if c not in layout.columns]:
            wide = "a wider terminal or a pipe shows it"
            yield Text(f"not shown at this width: {', '.join(hidden)} ({wide})", style="dim")


def _text(cell: Cell, kind: str, units: str) -> str:
    return _no_command(cell_text(cell, kind, units))


def _title(column: Column) -> str:
    return _no_command(visible(column.title))


def _no_command(text: str) -> str:
    """Text is broken into lines here, and none of them may begin with `::` (see `escape`)."""
    return text.replace("::", "\\x3a:")


def _fields(section: Fields, units: str) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.title, grid.title_justify = section.title, "left"
    grid.add_column(style="dim")
    grid.add_column()
    for label, cell, kind in section.pairs:
        grid.add_row(label, Text(_text(cell, kind, units)))
    return grid


class _Layout(NamedTuple):
    """The columns that are shown, the room for a name, and whether nothing else must be broken."""

    columns: list[Column]
    name_width: int
    fits: bool


def _widths(table: Table, units: str) -> dict[Column, int]:
    """The width each column would like, title and total included."""
    rows = [*table.rows, table.total] if table.total is not None else table.rows
    return {
        column: max(
            [
                cell_len(_title(column)),
                *(cell_len(_text(row[i], column.kind, units)) for row in rows),
            ]
        )
        for i, column in enumerate(table.columns)
    }


def _layout(table: Table, units: str, width: int) -> _Layout:
    """The columns that fit, the names broken at dots if they must be; highest ranks go first."""
    widths = _widths(table, units)
    columns = list(table.columns)
    while _needed(columns, widths, _MIN_NAME) > width:
        droppable = [column for column in columns if column.rank]
        if not droppable:
            break
        columns.remove(max(droppable, key=lambda column: column.rank))
    spare = width - _needed(columns, widths, 0)
    wanted = sum(widths[c] - _least(c, widths, 0) for c in columns if c.kind == "text")
    # Values of a configuration are broken before its keys are.
    name_width = max(spare - wanted, min(spare, _MIN_NAME), _LEAST_NAME)
    return _Layout(columns, name_width, _needed(columns, widths, name_width) <= width)


def _needed(columns: Sequence[Column], widths: dict[Column, int], name_width: int) -> int:
    """The width of the columns when every one is as narrow as it can be."""
    least = sum(_least(column, widths, name_width) for column in columns)
    return least + _GAP * (len(columns) - 1)


def _least(column: Column, widths: dict[Column, int], name_width: int) -> int:
    most = {"name": name_width, "text": _LEAST_TEXT}.get(column.kind, widths[column])
    return min(widths[column], most)


def _table(table: Table, layout: _Layout, units: str) -> RichTable:
    drawn = RichTable(
        box=SIMPLE_HEAD,
        title=table.title,
        title_justify="left",
        show_footer=table.total is not None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    picks = [table.columns.index(column) for column in layout.columns]
    for index, column in zip(picks, layout.columns, strict=True):
        right = column.kind in RIGHT_ALIGNED
        drawn.add_column(
            Text(_title(column)),
            footer=_total(table, index, column, units),
            justify="right" if right else "left",
            style=_STYLES.get(column.kind, ""),
            no_wrap=layout.fits and column.kind != "text",
            overflow="fold",
        )
    for row in table.rows:
        cells = (_cell(row[i], table.columns[i], units, layout.name_width) for i in picks)
        drawn.add_row(*cells)
    return drawn


def _total(table: Table, index: int, column: Column, units: str) -> Text:
    total = table.total[index] if table.total is not None else None
    return Text(_text(total, column.kind, units), style="bold")


def _cell(cell: Cell, column: Column, units: str, name_width: int) -> Text:
    text = _text(cell, column.kind, units)
    return Text(broken(text, name_width) if column.kind == "name" else text)


def broken(name: str, width: int) -> str:
    """A dotted name on lines of at most `width` characters, broken after a dot where it can be.

    Continuation lines are indented by two.
    """
    if cell_len(name) <= width:
        return name
    lines = [""]
    for part in _BREAKS.findall(name):
        if cell_len(lines[-1]) + cell_len(part) > width and lines[-1].strip():
            lines.append("  ")
        if cell_len(lines[-1]) + cell_len(part) > width:
            first, *others = chop_cells(part, width - 2)
            lines[-1] += first
            lines += [f"  {piece}" for piece in others]
        else:
            lines[-1] += part
    return "\n".join(lines)
