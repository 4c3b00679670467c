"""The places that a path on this machine leads through, in search of one in an HF cache."""

from __future__ import annotations

import os
from collections.abc import Iterator

_MAX_HOPS = 40  # Linux follows no more


def places(path: str) -> Iterator[str]:
    """The path as it is spelled, then without links in its folders, then where its links lead.

    A file of a snapshot is met before the blob that it is a link to, as is a snapshot before
    anything that it may be a link to itself. Never raises; what is not there ends it.
    """
    place = os.path.abspath(path)
    yield place
    for _ in range(_MAX_HOPS):
        folder, name = os.path.split(place)
        real = os.path.join(os.path.realpath(folder), name)
        if real != place:
            yield real
        try:
            target = os.readlink(real)
        except OSError:  # no link, or nothing
            return
        place = os.path.normpath(os.path.join(os.path.dirname(real), target))
        yield place
