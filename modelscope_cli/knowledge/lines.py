"""Package data of many keys, one line each, of which a process needs a few."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "knowledge")


def look_up(table: str, key: str) -> Any | None:
    r"""The value of `key` in `<table>.jsonl`; None where it has none.

    A line is `"key"<tab>value`, both JSON: the file is searched, and only that line parsed.
    """
    data = _bytes(table)
    found = data.find(b"\n" + json.dumps(key).encode() + b"\t")
    if found < 0:
        return None
    start = data.index(b"\t", found) + 1
    return json.loads(data[start : data.index(b"\n", start)])


@cache
def _bytes(table: str) -> bytes:
    """The file, with a line feed before its first line too."""
    with open(os.path.join(_FOLDER, f"{table}.jsonl"), "rb") as stream:
        return b"\n" + stream.read()
