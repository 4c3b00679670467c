"""One part of a footprint."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.facts import Unknown


class Part(NamedTuple):
    """One part of the memory. `basis`: exact, estimate or assumption, with its reason."""

    part: str
    bytes: int | Unknown
    basis: str
    reason: str | None = None
    note: str | None = None
