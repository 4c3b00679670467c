"""The members of a tar archive, and the pickles in the one that torch wrote until 2017."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.formats.containers.parts import Part
from modelscope_cli.sources.base import OpenFile

_BLOCK = 512
TORCH_MEMBERS = frozenset({"sys_info", "pickle", "storages", "tensors"})


class Member(NamedTuple):
    """One file of the archive."""

    name: str
    data: Part


def is_tar(head: bytes) -> bool:
    """Whether the first block is a header: by its checksum, for older ones have no signature."""
    return len(head) >= _BLOCK and _size(head) is not None


def _size(block: bytes) -> int | None:
    """How large a member is, by its header; None where that is none."""
    given = _number(block[148:156])
    if not any(block[:100]) or given is None:
        return None
    summed = sum(block) - sum(block[148:156]) + 8 * 32
    return _number(block[124:136]) if given == summed else None


def _number(field: bytes) -> int | None:
    if field[0] == 0x80:  # GNU's way for 8 GiB and more
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def members(file: OpenFile) -> Iterator[Member]:
    """The regular files, in order, up to the first block that is no header."""
    at = 0
    while at + _BLOCK <= file.size:
        block = file.read_at(at, _BLOCK)
        size = _size(block)
        if size is None or size < 0:
            return
        if block[156:157] in (b"0", b"\0", b"7"):
            name = block[:100].partition(b"\0")[0].decode("utf-8", "replace")
            yield Member(name, Part(file, file.path, at + _BLOCK, size))
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
