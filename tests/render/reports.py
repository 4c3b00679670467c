"""Small reports, as a command would hand them to a renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli.facts import ModelRef, Unknown
from modelscope_cli.report import Cell, Column, Fields, Report, Section, Table

COLUMNS = (
    Column("name", "name", "name"),
    Column("times", "times", "times"),
    Column("dtype", "dtype", "word"),
    Column("shape", "shape", "shape"),
    Column("elements", "elements", "count", rank=1),
    Column("bytes", "bytes", "bytes", rank=2),
    Column("size", "size", "size"),
    Column("remark", "remark", rank=3),
)
ROWS: tuple[tuple[Cell, ...], ...] = (
    ("embed.weight", 1, "BF16", (100, 8), 800, 1600, 1600, "first"),
    ("layers.{0..11}.w", 12, "F32", (8,), 96, 384, 384, None),
    ("scale", 1, "F32", (), 1, 4, 4, Unknown("nobody says")),
)
TOTAL: tuple[Cell, ...] = ("total", None, None, None, 897, 1988, 1988, None)
TABLE = Table(COLUMNS, ROWS, total=TOTAL)
FIELDS = Fields([("parameters", "897", "text"), ("known", True, "text"), ("why", None, "text")])


def report(
    *sections: Section,
    title: str = "./m: safetensors",
    records: Sequence[Mapping[str, Any]] = (),
    keys: Sequence[str] = ("name",),
    document: Mapping[str, Any] | None = None,
    model: ModelRef | None = None,
) -> Report:
    """A report of these sections."""
    return Report(
        "test",
        model,
        title,
        lambda folded: sections,
        lambda: document or {},
        keys,
        lambda: records,
    )
