"""How file names become module names: `conversions.jsonl`, read by `knowledge.renames`."""

from __future__ import annotations

from typing import Any


def records() -> dict[str, Any]:
    """The library's transforms as data, by class name or model type."""
    from transformers import conversion_mapping

    conversion_mapping.get_checkpoint_conversion_mapping("legacy")  # builds the mapping
    mapping = conversion_mapping._checkpoint_conversion_mapping_cache
    return {key: [rule(each) for each in transforms] for key, transforms in mapping.items()}


def rule(transform: Any) -> dict[str, Any]:
    """One transform, its pattern as the library compiled it."""
    from transformers.core_model_loading import (
        GroupWeightRename,
        Inkling2IndexOffsetWeightRename,
        WeightConverter,
    )

    branches = _branches(transform)
    found: dict[str, Any] = {"p": branches, "t": list(transform.target_patterns)}
    texts = [longest_text(branch) for _, branch in branches]
    if all(texts):
        found["s"] = sorted(set(texts))
    if isinstance(transform, WeightConverter):
        found["o"] = [type(operation).__name__ for operation in transform.operations]
    if isinstance(transform, GroupWeightRename):
        found["k"] = "group"
    if isinstance(transform, Inkling2IndexOffsetWeightRename):
        found["offset"] = transform.offset
    return found


def _branches(transform: Any) -> list[list[Any]]:
    """Number and pattern of each source, in the order in which they are tried."""
    compiled = transform.compiled_sources
    order = sorted(compiled.groupindex, key=compiled.groupindex.__getitem__)
    names = [name for name in order if name[1:].isdecimal()]
    text, found = compiled.pattern, []
    for place, name in enumerate(names):
        start = text.index(f"(?P<{name}>") + len(f"(?P<{name}>")
        end = text.index(f")|(?P<{names[place + 1]}>") if place + 1 < len(names) else len(text) - 1
        found.append([int(name[1:]), text[start:end]])
    return found


def longest_text(pattern: str) -> str:
    """The longest text that is in everything the pattern matches; "" where there is none."""
    from re import _constants, _parser  # type: ignore[attr-defined]

    runs, run = [], ""
    for operation, value in _parser.parse(pattern):
        if operation is _constants.LITERAL:
            run += chr(value)
            continue
        runs.append(run)
        run = ""
    return max([*runs, run], key=len)
