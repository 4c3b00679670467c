"""GitHub-flavoured markdown, for job summaries and model cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.escape import one_line, visible
from modelscope_cli.render.cells import RIGHT_ALIGNED, cell_text, line_text
from modelscope_cli.report import Cell, Fields, Lines, Report, Section, Table, without_bars


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """The report as a heading and pipe tables."""
    if report.title:
        yield f"## {_inert(one_line(report.title))}\n"
    for section in report.sections(folded):
        yield "\n"
        yield from _section(section, units)


def _section(section: Section, units: str) -> Iterator[str]:
    if isinstance(section, Lines):
        yield from (f"{_inert(line_text(line, section))}  \n" for line in section.lines)
        return
    if section.title:
        yield f"### {_inert(visible(section.title))}\n\n"
    if isinstance(section, Fields):
        yield "| | |\n| --- | --- |\n"
        yield from (f"| {_inert(k)} | {_cell(v, kind, units)} |\n" for k, v, kind in section.pairs)
    else:
        yield from _table(without_bars(section), units)


def _table(table: Table, units: str) -> Iterator[str]:
    kinds = [column.kind for column in table.columns]
    yield _row([_inert(visible(column.title)) for column in table.columns])
    yield _row(["---:" if kind in RIGHT_ALIGNED else "---" for kind in kinds])
    for row in table.rows:
        yield _row([_cell(c, k, units) for c, k in zip(row, kinds, strict=True)])
    if table.total is not None:
        totals = [cell_text(c, k, units) for c, k in zip(table.total, kinds, strict=True)]
        yield _row([f"**{_inert(text)}**" if text else "" for text in totals])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(cell: Cell, kind: str, units: str) -> str:
    text = cell_text(cell, kind, units)
    if isinstance(cell, str) and kind == "name" and text:
        # A code span: only a backtick or (in a table) a pipe could end it.
        return f"`{text.replace('`', chr(92) + 'x60').replace('|', chr(92) + '|')}`"
    return _inert(text)


_ESCAPES = str.maketrans(
    {**{c: f"\\{c}" for c in "\\`*_[]|~"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def _inert(text: str) -> str:
    return text.translate(_ESCAPES)
