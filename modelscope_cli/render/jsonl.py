"""JSON lines: one record a line, no envelope."""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_cli.render.json import line
from modelscope_cli.report import Report


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """One line of JSON for each record."""
    return map(line, report.records())
