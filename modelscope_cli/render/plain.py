"""The table for pipes and CI: aligned text, nothing truncated, no box, colour or cursor code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.escape import one_line, visible
from modelscope_cli.render.cells import RIGHT_ALIGNED, cell_text, line_text
from modelscope_cli.report import Fields, Lines, Report, Section, Table, without_bars

GAP = "  "
_WIDEST = 512  # characters; a longer name pushes its own row aside, not every other row too


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """The report as lines of text, in pieces."""
    gap = ""
    if report.title:
        yield f"{one_line(report.title)}\n"
        gap = "\n"
    for section in report.sections(folded):
        yield gap
        yield from section_lines(section, units)
        gap = "\n"


def section_lines(section: Section, units: str) -> Iterator[str]:
    """One section as lines, each ending in a newline."""
    if isinstance(section, Lines):
        yield from (f"{line_text(line, section)}\n" for line in section.lines)
        return
    if section.title:
        yield f"{visible(section.title)}\n"
    if isinstance(section, Fields):
        yield from _fields(section, units)
    else:
        yield from _table(without_bars(section), units)


def _fields(section: Fields, units: str) -> Iterator[str]:
    width = max((len(label) for label, _, _ in section.pairs), default=0)
    for label, cell, kind in section.pairs:
        yield f"{label:<{width}}{GAP}{cell_text(cell, kind, units)}".rstrip() + "\n"


def _table(table: Table, units: str) -> Iterator[str]:
    kinds = [column.kind for column in table.columns]
    rows = [[cell_text(c, k, units) for c, k in zip(row, kinds, strict=True)] for row in table.rows]
    titles = [visible(column.title) for column in table.columns]
    total = [
        cell_text(c, k, units)
        for c, k in zip(table.total or [None] * len(kinds), kinds, strict=True)
    ]
    widths = [
        min(max(map(len, cells)), _WIDEST) for cells in zip(titles, total, *rows, strict=True)
    ]
    template = _template(kinds, widths)
    yield (template % tuple(titles)).rstrip() + "\n"
    for row in rows:
        yield (template % tuple(row)).rstrip() + "\n"
    if table.total is not None:
        yield (template % tuple(total)).rstrip() + "\n"


def _template(kinds: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(
        f"%{width}s" if kind in RIGHT_ALIGNED else f"%-{width}s"
        for kind, width in zip(kinds, widths, strict=True)
    )
