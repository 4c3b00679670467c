"""The table on a terminal, drawn by rich. The only module that imports rich."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleRenderable
from rich.table import Table as RichTable
from rich.text import Text

from modelscope_cli.escape import one_line
from modelscope_cli.render.cells import RIGHT_ALIGNED, cell_text, line_text
from modelscope_cli.report import Column, Fields, Lines, Report, Section, Table

_GAP = 2  # one blank of padding, one of SIMPLE_HEAD's divider
_MIN_NAME = 38  # columns are hidden rather than names broken into less than this
_STYLES = {"name": "cyan", "times": "magenta", "shape": "green", "size": "dim"}
_BREAKS = re.compile(r"[^.]*\.?")


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
    if report.title:
        yield _drawn(console, Text(one_line(report.title), style="bold"))
    for section in report.sections(folded):
        for part in _section(section, units, width):
            yield _drawn(console, part)


def _drawn(console: Console, part: ConsoleRenderable) -> str:
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def _section(section: Section, units: str, width: int) -> Iterator[ConsoleRenderable]:
    if isinstance(section, Lines):
        yield from (Text(line_text(line, section)) for line in section.lines)
    elif isinstance(section, Fields):
        yield _fields(section, units)
    else:
        columns = _fitting(section, units, width)
        yield _table(section, columns, units, width)
        if hidden := [c.title for c in section.columns if c not in columns]:
            wide = "a wider terminal or a pipe shows it"
            yield Text(f"not shown at this width: {', '.join(hidden)} ({wide})", style="dim")


def _fields(section: Fields, units: str) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.title, grid.title_justify = section.title, "left"
    grid.add_column(style="dim")
    grid.add_column()
    for label, cell, kind in section.pairs:
        grid.add_row(label, Text(cell_text(cell, kind, units)))
    return grid


def _widths(table: Table, units: str) -> dict[Column, int]:
    """The width each column would like, title and total included."""
    rows = [*table.rows, table.total] if table.total is not None else table.rows
    return {
        column: max(
            [len(column.title), *(len(cell_text(row[i], column.kind, units)) for row in rows)]
        )
        for i, column in enumerate(table.columns)
    }


def _fitting(table: Table, units: str, width: int) -> list[Column]:
    """The columns that fit, the names broken at dots if they must be; highest ranks go first."""
    widths = _widths(table, units)
    columns = list(table.columns)
    while _needed(columns, widths) > width:
        droppable = [column for column in columns if column.rank]
        if not droppable:
            break
        columns.remove(max(droppable, key=lambda column: column.rank))
    return columns


def _needed(columns: Sequence[Column], widths: dict[Column, int]) -> int:
    least = (min(widths[c], _MIN_NAME) if c.kind == "name" else widths[c] for c in columns)
    return sum(least) + _GAP * (len(columns) - 1)


def _table(table: Table, columns: Sequence[Column], units: str, width: int) -> RichTable:
    drawn = RichTable(
        box=SIMPLE_HEAD,
        title=table.title,
        title_justify="left",
        show_footer=table.total is not None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    name_width = _name_width(columns, _widths(table, units), width)
    picks = [table.columns.index(column) for column in columns]
    for index, column in zip(picks, columns, strict=True):
        right = column.kind in RIGHT_ALIGNED
        drawn.add_column(
            Text(column.title),
            footer=_total(table, index, column, units),
            justify="right" if right else "left",
            style=_STYLES.get(column.kind, ""),
            no_wrap=column.kind != "text",
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(_cell(row[i], table.columns[i], units, name_width) for i in picks))
    return drawn


def _total(table: Table, index: int, column: Column, units: str) -> Text:
    total = table.total[index] if table.total is not None else None
    return Text(cell_text(total, column.kind, units), style="bold")


def _cell(cell: object, column: Column, units: str, name_width: int) -> Text:
    text = cell_text(cell, column.kind, units)  # type: ignore[arg-type]
    return Text(broken(text, name_width) if column.kind == "name" else text)


def _name_width(columns: Sequence[Column], widths: dict[Column, int], width: int) -> int:
    names = [column for column in columns if column.kind == "name"]
    rest = sum(widths[c] for c in columns if c.kind != "name") + _GAP * (len(columns) - 1)
    return max(_MIN_NAME, (width - rest) // max(1, len(names)))


def broken(name: str, width: int) -> str:
    """A dotted name on lines of at most `width` characters, broken after a dot where it can be.

    Continuation lines are indented by two.
    """
    if len(name) <= width:
        return name
    lines = [""]
    for part in _BREAKS.findall(name):
        rest = part
        if len(lines[-1]) + len(rest) > width and lines[-1].strip():
            lines.append("  ")
        while len(lines[-1]) + len(rest) > width:
            room = width - len(lines[-1])
            lines[-1] += rest[:room]
            rest = rest[room:]
            lines.append("  ")
        lines[-1] += rest
    return "\n".join(lines)
