"""The committed table of forwards, and the lines that make a figure exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "kv-cache.md"
LINES = ROOT / "modelscope_cli" / "data" / "knowledge" / "kv_cache.jsonl"


def table() -> Iterator[list[str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and "---" not in line and "model type" not in line:
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_nineteen_of_twenty_classes_that_run_are_equal_to_the_byte() -> None:
    ran = [row[2] for row in table() if not row[2].startswith(("not run", "keeps none"))]
    assert len(ran) > 250
    assert ran.count("equal") >= 0.95 * len(ran)


def test_only_what_was_equal_is_called_exact() -> None:
    lines = (line.split("\t") for line in LINES.read_text(encoding="utf-8").splitlines())
    exact = {
        (json.loads(key), name)
        for key, value in lines
        for name in json.loads(value).get("exact", ())
    }
    equal = {(row[0], row[1]) for row in table() if "equal" in row[2:]}
    wrong = {(row[0], row[1]) for row in table() if "bytes, " in " ".join(row[2:])}
    assert exact == equal - wrong
