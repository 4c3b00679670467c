"""Package data of many keys, one line each, of which a process needs a few."""

from __future__ import annotations

import json
import mmap
import os
from functools import cache, lru_cache
from typing import Any

from modelscope_cli import places

_FOLDER = places.data("knowledge")
_KEPT = 64  # values of the models looked at last: many audited at once are often alike


@lru_cache(maxsize=_KEPT)
def look_up(table: str, key: str) -> Any | None:
    r"""The value of `key` in `<table>.jsonl`; None where it has none. Not to be changed.

    A line is `"key"<tab>value`, both JSON, and lines are sorted by their bytes: the file is
    searched by halves, a few pages of its megabyte read, and only that line parsed.
    """
    data = _mapped(table)
    wanted = json.dumps(key).encode() + b"\t"
    start = _first_line(data, wanted)
    if data[start : start + len(wanted)] != wanted:
        return None
    return json.loads(data[start + len(wanted) : _end(data, start)])


def _first_line(data: mmap.mmap, wanted: bytes) -> int:
    """Where the first line begins that is not before `wanted`; the end where there is none."""
    low, high = 0, len(data)  # both at the start of a line
    while low < high:
        start = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        if data[start : start + len(wanted)] < wanted:
            low = _end(data, start) + 1
        else:
            high = start
    return low


def _end(data: mmap.mmap, start: int) -> int:
    """The end of the line that begins at `start`; the file ends with a line feed."""
    return data.find(b"\n", start)


@cache
def _mapped(table: str) -> mmap.mmap:
    with open(os.path.join(_FOLDER, f"{table}.jsonl"), "rb", buffering=0) as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
