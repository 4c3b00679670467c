"""JSON objects that several reports share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.facts import Unknown


def with_unknowns(values: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose Unknown values are null, with the reasons under `unknown`."""
    reasons = {key: value.reason for key, value in values.items() if isinstance(value, Unknown)}
    known = {key: None if key in reasons else value for key, value in values.items()}
    return {**known, "unknown": reasons} if reasons else known
