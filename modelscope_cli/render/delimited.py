"""csv and tsv: the flat records with a header line; never folded, raw integers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from modelscope_cli.escape import spreadsheet, visible
from modelscope_cli.report import Report


def render_csv(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """Comma separated, quoted where needed (RFC 4180, but lines end in a plain newline)."""
    return _render(report, "excel")


def render_tsv(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """Tab separated; a cell can hold neither tab nor newline, so nothing is ever quoted."""
    return _render(report, "excel-tab")


def _render(report: Report, dialect: str) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, dialect, lineterminator="\n")
    writer.writerow(report.record_keys)
    for record in report.records():
        writer.writerow([_cell(record[key]) for key in report.record_keys])
        if buffer.tell() > 65_536:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return spreadsheet(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"  # a shape
    if isinstance(value, (list, dict)):
        return visible(json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
