"""Why figures of a footprint's row are no certainty, each said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.analysis.memory.row import Row
from modelscope_cli.facts import Note, Unknown


def reasons(row: Row, told: Sequence[Note]) -> Iterator[Note]:
    """A note for each reason that is not among the notes `told` already."""
    together = "; ".join(row.doubts)
    known = (part.reason for part in row.parts if not isinstance(part.bytes, Unknown))
    others = (reason for reason in known if reason and reason != together)
    before = {note.text for note in told}
    for reason in dict.fromkeys((*row.doubts, *others)):
        if reason not in before:
            yield Note(reason)
