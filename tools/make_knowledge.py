"""Write what is known of transformers' model types: every class is built on the meta device.

`python -m tools.make_knowledge [--only TYPE ...] [--table classes|configs|buffers]` needs torch
and transformers, and timm, torchvision, pillow and scipy for the types whose classes do; takes
about half an hour a table. `--check configs|buffers` compares what the reader makes of random
configurations with the library instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tools import (
    knowledge_buffers,
    knowledge_check,
    knowledge_classes,
    knowledge_configs,
    knowledge_conversions,
    knowledge_rules,
    knowledge_tables,
)
from tools import knowledge_build as building


def main(argv: list[str]) -> None:
    """Regenerate all, or the lines of some model types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types only")
    parser.add_argument("--table", choices=_TABLES, help="this one only")
    parser.add_argument("--check", choices=("configs", "buffers"), help="write nothing, compare")
    said = parser.parse_args(argv)
    if said.check:
        knowledge_check.main(said.check, said.only)
        return
    for name in [said.table] if said.table else _TABLES:
        _TABLES[name](said.only)


def _write_classes(types: list[str] | None) -> None:
    knowledge_tables.write("conversions", knowledge_conversions.records())
    before = knowledge_tables.read("classes")
    lines = classes(types or building.model_types(), before)
    others = {k: v for k, v in before.items() if types and k.partition("/")[0] not in types}
    knowledge_tables.write("classes", others | lines)


def _write_configs(types: list[str] | None) -> None:
    before = knowledge_tables.read("configs") if types else {}
    lines = knowledge_rules.records(types or knowledge_configs.model_types())
    knowledge_tables.write("configs", before | lines)


def _write_buffers(types: list[str] | None) -> None:
    before = knowledge_tables.read("buffers")
    found = before if types else {}
    for model_type in types or building.model_types():
        lines = knowledge_buffers.record(model_type)
        found |= {model_type: lines or before.get(model_type, {})}
    knowledge_tables.write("buffers", {key: line for key, line in found.items() if line})


_TABLES = {"classes": _write_classes, "configs": _write_configs, "buffers": _write_buffers}


def classes(types: Iterable[str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The lines of `classes.jsonl` for these model types.

    A type whose classes need a library that is not here keeps the lines it had `before`.
    """
    found: dict[str, Any] = {}
    for model_type in types:
        start = time.monotonic()
        try:
            found |= knowledge_classes.records(model_type)
        except ImportError as error:
            _say(f"{model_type}: kept as it was: {str(error).strip().splitlines()[0]}")
            kept = {k: v for k, v in before.items() if k.partition("/")[0] == model_type}
            found |= kept
        _say(f"{model_type} {time.monotonic() - start:.1f} s")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
