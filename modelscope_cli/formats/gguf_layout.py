"""Where the tensors of a GGUF file lie: without overlap or hole, and all of them there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from modelscope_cli.errors import TruncatedFile
from modelscope_cli.facts import Note, TensorTable
from modelscope_cli.formats.gguf_errors import OffsetsHole, OffsetsOverlap, TrailingBytes

if TYPE_CHECKING:
    from modelscope_cli.sources.base import OpenFile

MAX_ZERO_TAIL = 65_536  # no writer pads further than a memory page of any machine


def padded(end: int, alignment: int) -> int:
    """Round `end` up to a multiple of `alignment`."""
    return end + -end % alignment


def check_layout(
    file: OpenFile, table: TensorTable, offsets: Sequence[int], data_start: int, alignment: int
) -> tuple[Note, ...]:
    """Check that the tensors fill the data without overlap or hole, and the file holds them.

    `offsets` and `data_start` count from the start of the file.
    """
    notes = []
    order: Sequence[int] = range(len(offsets))
    if any(before > after for before, after in pairwise(offsets)):
        order = sorted(order, key=lambda index: (offsets[index], table.bytes[index]))
        # ggml refuses such a file, other readers do not mind: nothing is wrong with the bytes.
        text = f"{file.path}: the tensors lie in another order than listed; llama.cpp refuses that"
        notes.append(Note(text, warning=True))
    due = data_start
    for index in order:
        name, at = table.names[index], offsets[index]
        if at != due:
            _refuse_offset(file.path, name, at, due)
        end = at + table.bytes[index]
        if end > file.size:
            _refuse_end(file, name, max(map(sum, zip(offsets, table.bytes, strict=True))))
        due = padded(end, alignment)
    return (*notes, *_check_tail(file, due))


def _refuse_offset(path: str, name: str, at: int, due: int) -> NoReturn:
    if at < due:
        what = f"starts {due - at:,} bytes before the end of the one in front of it"
        raise OffsetsOverlap(path, what, offset=at, tensor=name)
    what = f"{at - due:,} bytes that belong to no tensor lie before it"
    raise OffsetsHole(path, what, offset=due, tensor=name)


def _refuse_end(file: OpenFile, name: str, end: int) -> NoReturn:
    what = f"truncated: the tensors end at byte {end:,}, the file has {file.size:,}"
    raise TruncatedFile(file.path, what, tensor=name, hint="download the file again")


def _check_tail(file: OpenFile, end: int) -> tuple[Note, ...]:
    """Refuse what follows the last tensor, where ggml never looks; mere zeros are a note."""
    extra = file.size - end
    if extra <= 0:
        return ()
    if extra > MAX_ZERO_TAIL or file.read_at(end, extra).strip(b"\0"):
        raise TrailingBytes(file.path, f"{extra:,} bytes follow the last tensor", offset=end)
    return (Note(f"{file.path}: {extra:,} bytes of zeros follow the last tensor"),)
