"""Write what is known of transformers' model types: every class is built on the meta device.

`python -m tools.make_knowledge [--only TYPE ...]` needs torch and transformers, and timm,
torchvision, pillow and scipy for the types whose classes do; takes about half an hour.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tools import knowledge_build as building
from tools import knowledge_classes, knowledge_conversions, knowledge_tables


def main(argv: list[str]) -> None:
    """Regenerate all, or the lines of some model types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types only")
    types = parser.parse_args(argv).only
    knowledge_tables.write("conversions", knowledge_conversions.records())
    before = knowledge_tables.read("classes")
    lines = classes(types or building.model_types(), before)
    others = {k: v for k, v in before.items() if types and k.partition("/")[0] not in types}
    knowledge_tables.write("classes", others | lines)


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
