"""One raw cell as text: the same in every renderer that people read."""

from __future__ import annotations

from modelscope_cli.escape import one_line, visible
from modelscope_cli.facts import Unknown
from modelscope_cli.report import AtLeast, Cell, Lines
from modelscope_cli.units import size_text

RIGHT_ALIGNED = frozenset({"count", "bytes", "size", "times"})


def cell_text(cell: Cell, kind: str, units: str) -> str:
    """The text of a cell of that `kind` (see `report.Column`)."""
    if cell is None:
        return ""
    if isinstance(cell, Unknown):
        return "unknown"
    if isinstance(cell, AtLeast):
        return f"≥ {_number_text(cell.number, kind, units)}"
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
    if kind == "bar":
        return bar_text(cell)
    if kind in ("count", "bytes"):
        return f"{cell:,}"
    return str(cell)


_BAR = 24  # characters of the whole
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar_text(share: float) -> str:
    """A share of the whole as a bar, to an eighth of a character; something is never nothing."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    eighths = max(eighths, 1) if share > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def line_text(line: str, section: Lines) -> str:
    """One line of `Lines`."""
    return visible(line) if section.verbatim else one_line(line)
