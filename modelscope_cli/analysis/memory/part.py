"""One part of a footprint."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.facts import Unknown


class Part(NamedTuple):
    """One part of the memory. `basis`: exact, estimate or assumption, with its reason.

    `at_least` is what is known of a part that is not known as a whole.
    """

    part: str
    bytes: int | Unknown
    basis: str
    reason: str | None = None
    note: str | None = None
    at_least: int = 0

    @property
    def least(self) -> int:
        """Bytes that it takes at least."""
        return self.at_least if isinstance(self.bytes, Unknown) else self.bytes
