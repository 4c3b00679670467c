"""Every shard's header in one answer: cut out of it, or written again, if the sizes agree.

An offset in a file is counted from its start, so a header's length matters as much as its words:
one that does not fill what the file's size leaves beside the data is not given. A shard without
is asked for its own bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from modelscope_cli.sources.hub.listing import Entry
from modelscope_cli.sources.hub.session import Answer

_LENGTH_BYTES = 8
_SHARD = re.compile(rb'"([^"\\]+\.safetensors)":(?=\{)')
_LAST_END = re.compile(rb",([0-9]{1,19})\]\}\}\Z")
# How a header is written: by the library, by json.dumps, and by it with letters escaped.
_SPELLINGS = (
    ((",", ":"), False),
    ((", ", ": "), False),
    ((",", ":"), True),
    ((", ", ": "), True),
)


def headers_url(endpoint: str, repo_id: str, index: str) -> str:
    """The address of every shard header of `main` in one answer; the official Hub has it."""
    return f"{endpoint}/api/models/{repo_id}/safetensors-metadata/{quote(index)}"


def heads(answer: Answer, files: Mapping[str, Entry]) -> dict[str, bytes]:
    """The first bytes of shards, as they stand in files of these sizes."""
    if answer.status != 200:
        return {}
    return _cut_out(answer.body, files) or dict(_written_again(answer.body, files))


def _cut_out(body: bytes, files: Mapping[str, Entry]) -> dict[str, bytes]:
    """Headers as text, to be parsed by their reader alone: what a compact answer allows."""
    found: dict[str, bytes] = {}
    places = list(_SHARD.finditer(body))
    starts = [*(place.start() for place in places), len(body)]
    for place, following in zip(places, starts[1:], strict=True):
        path = place[1].decode("utf-8", "replace")
        end = body.rfind(b"]}}", place.end(), following)  # of the last tensor's entry
        if path in files and end >= 0:
            text = body[place.end() : end + 3]
            last = _LAST_END.search(text[-30:])
            head = _framed(text, files[path].size, int(last[1])) if last is not None else None
            if head is not None:
                found[path] = head
    return found


def _written_again(body: bytes, files: Mapping[str, Entry]) -> Iterator[tuple[str, bytes]]:
    """Headers out of any JSON, in whichever spelling fills their place in the file."""
    try:
        document = json.loads(body)
        headers = document.get("headers") if isinstance(document, dict) else None
        for path, header in headers.items() if isinstance(headers, dict) else ():
            end = _data_bytes(header)
            if path not in files or end is None:
                continue
            tried = (_framed(text, files[path].size, end) for text in _spelled(header))
            if (head := next(filter(None, tried), None)) is not None:
                yield path, head
    except (ValueError, RecursionError):
        return


def _data_bytes(header: Any) -> int | None:
    """Where the last tensor's data ends; None for what is no header."""
    try:
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        ends = [entry["data_offsets"][1] for entry in entries]
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
    return max(ends) if ends and all(type(end) is int for end in ends) else None


def _spelled(header: Mapping[str, Any]) -> Iterator[bytes]:
    for separators, escaped in _SPELLINGS:
        yield json.dumps(header, separators=separators, ensure_ascii=escaped).encode()


def _framed(text: bytes, size: int, data_bytes: int) -> bytes | None:
    """The header with its length, where it or its padding to 8 bytes leaves room for the data."""
    room = size - _LENGTH_BYTES - data_bytes
    if room not in (len(text), len(text) + -len(text) % 8):
        return None
    return room.to_bytes(_LENGTH_BYTES, "little") + text.ljust(room)
