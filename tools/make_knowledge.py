"""Write what is known of transformers' model types: every class is built on the meta device.

`python -m tools.make_knowledge [--only TYPE ...]` needs torch and transformers, and timm,
torchvision, pillow and scipy for the types whose classes do; takes about half an hour.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from tools import knowledge_build as building
from tools import knowledge_classes, knowledge_conversions, knowledge_tables


def main(argv: list[str]) -> None:
    """Regenerate all, or the lines of some model types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types only")
    only = parser.parse_args(argv).only
    knowledge_tables.write("conversions", knowledge_conversions.records())
    before = knowledge_tables.read("classes") if only else {}
    knowledge_tables.write("classes", {**_without(before, only), **classes(only)})


def classes(only: list[str] | None) -> dict[str, Any]:
    """The lines of `classes.jsonl`."""
    found: dict[str, Any] = {}
    for model_type in only or building.model_types():
        start = time.monotonic()
        try:
            found |= knowledge_classes.records(model_type)
        except Exception:
            traceback.print_exc()
        print(f"{model_type} {time.monotonic() - start:.1f} s", file=sys.stderr)
    return found


def _without(lines: Mapping[str, Any], types: list[str] | None) -> dict[str, Any]:
    return {k: v for k, v in lines.items() if k.partition("/")[0] not in (types or ())}


if __name__ == "__main__":
    main(sys.argv[1:])
