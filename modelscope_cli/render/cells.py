"""One raw cell as text: the same in every renderer that people read."""

from __future__ import annotations

from modelscope_cli.escape import one_line, visible
from modelscope_cli.facts import Unknown
from modelscope_cli.report import Cell, Lines
from modelscope_cli.units import size_text

RIGHT_ALIGNED = frozenset({"count", "bytes", "size", "times"})


def cell_text(cell: Cell, kind: str, units: str) -> str:
    """The text of a cell of that `kind` (see `report.Column`)."""
    if cell is None:
        return ""
    if isinstance(cell, Unknown):
        return "unknown"
    if isinstance(cell, tuple):
        return f"[{', '.join(map(str, cell))}]"
    if isinstance(cell, str):
        return visible(cell)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return _number_text(cell, kind, units)


def _number_text(cell: int | float, kind: str, units: str) -> str:
    if kind == "times":
        return f"x{cell}" if cell != 1 else ""
    if kind == "size":
        return size_text(int(cell), units)
    if kind in ("count", "bytes"):
        return f"{cell:,}"
    return str(cell)


def line_text(line: str, section: Lines) -> str:
    """One line of `Lines`."""
    return visible(line) if section.verbatim else one_line(line)
