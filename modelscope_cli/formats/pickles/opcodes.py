"""The table of pickle opcodes, one small function each, and what those functions share.

A handler gets the machine and the position after the opcode, and returns the position of
the next one. IndexError and struct.error stand for an empty stack or a cut-off argument:
the machine tells which. Meanings: Python's Lib/pickletools.py.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from modelscope_cli.formats.pickles.errors import MissingMark, TruncatedPickle, UnknownOpcode

if TYPE_CHECKING:
    from modelscope_cli.formats.pickles.walk import Machine

Handler = Callable[["Machine", int], int]

MAX_NUMBER_CHARACTERS = 2_500

uint4 = Struct("<I").unpack_from
uint8 = Struct("<Q").unpack_from


class StopReached(Exception):
    """STOP: the walk is over."""

    def __init__(self, value: object, end: int) -> None:
        super().__init__()
        self.value = value
        self.end = end


def _unknown(m: Machine, pos: int) -> int:
    raise m.error(UnknownOpcode, f"byte 0x{m.data[pos - 1]:02x} is no opcode", pos - 1)


HANDLERS: list[Handler] = [_unknown] * 256
ARGUMENT_BYTES = [0] * 256  # of fixed size, or of the length in front of a variable one


def opcode(code: bytes, size: int = 0) -> Callable[[Handler], Handler]:
    """Enter a handler into the table; `size` is that of its fixed-size argument."""

    def register(handler: Handler) -> Handler:
        HANDLERS[code[0]] = handler
        ARGUMENT_BYTES[code[0]] = size
        return handler

    return register


def since_mark(m: Machine, pos: int) -> list[object]:
    """Everything above the last mark, which is taken away. Raises MissingMark."""
    if not m.meta:
        raise m.error(MissingMark, "an opcode asks for a mark that was never set", pos - 1)
    items = m.stack
    m.stack = m.meta.pop()
    return items


def line(m: Machine, pos: int) -> tuple[bytes, int]:
    """The text up to the next newline, and the position after it."""
    end = m.data.find(b"\n", pos)
    if end < 0:
        raise m.error(TruncatedPickle, "a line of text has no end", pos - 1)
    return m.data[pos:end], end + 1


def decimal(text: bytes) -> int:
    """A number in text. Raises ValueError, also for more digits than Python converts."""
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError("has an integer of too many digits")
    try:
        return int(text)
    except ValueError as error:
        raise ValueError("holds no whole number") from error
