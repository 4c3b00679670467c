"""The files of `modelscope_cli/data/knowledge`: a line a key, sorted, `"key"<tab>value`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "modelscope_cli" / "data" / "knowledge"


def read(table: str) -> dict[str, Any]:
    """All of a table; nothing where there is no file yet."""
    path = FOLDER / f"{table}.jsonl"
    if not path.exists():
        return {}
    pairs = (line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return {json.loads(key): json.loads(value) for key, value in pairs}


def write(table: str, values: Mapping[str, Any]) -> None:
    """Replace a table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = (f"{line(key, values[key])}\n" for key in sorted(values))
    (FOLDER / f"{table}.jsonl").write_text("".join(lines), encoding="utf-8")


def line(key: str, value: Any) -> str:
    """One line, without its end."""
    return f"{json.dumps(key)}\t{json.dumps(value, separators=(',', ':'))}"
