"""What the opcodes of stack, memo, frames and containers do to the symbolic machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_cli.formats.pickles.errors import FrameOverrun, MissingMemo, UnsupportedProtocol
from modelscope_cli.formats.pickles.nodes import CannotTake, Node, Pairs
from modelscope_cli.formats.pickles.opcodes import (
    StopReached,
    decimal,
    line,
    opcode,
    since_mark,
    uint4,
    uint8,
)

if TYPE_CHECKING:
    from modelscope_cli.formats.pickles.walk import Machine

HIGHEST_PROTOCOL = 5
MAX_MEMO_INDEX = 2**32 - 1


@opcode(b".")
def _stop(m: Machine, pos: int) -> int:
    raise StopReached(m.stack.pop(), pos)


@opcode(b"(")
def _mark(m: Machine, pos: int) -> int:
    m.meta.append(m.stack)
    m.stack = []
    return pos


@opcode(b"0")
def _pop(m: Machine, pos: int) -> int:
    if m.stack:
        m.stack.pop()
    else:
        since_mark(m, pos)
    return pos


@opcode(b"1")
def _pop_mark(m: Machine, pos: int) -> int:
    since_mark(m, pos)
    return pos


@opcode(b"2")
def _dup(m: Machine, pos: int) -> int:
    m.stack.append(m.stack[-1])
    return pos


@opcode(b"q", 1)
def _binput(m: Machine, pos: int) -> int:
    m.memo[m.data[pos]] = m.stack[-1]
    return pos + 1


@opcode(b"r", 4)
def _long_binput(m: Machine, pos: int) -> int:
    m.memo[uint4(m.data, pos)[0]] = m.stack[-1]
    return pos + 4


@opcode(b"\x94")
def _memoize(m: Machine, pos: int) -> int:
    m.memo[len(m.memo)] = m.stack[-1]
    return pos


def _recall(m: Machine, index: int, pos: int) -> None:
    if index not in m.memo:
        raise m.error(MissingMemo, f"memo slot {index:,} is read but was never set", pos - 1)
    m.stack.append(m.memo[index])


@opcode(b"h", 1)
def _binget(m: Machine, pos: int) -> int:
    index = m.data[pos]
    if index in m.memo:  # without a call: half of a checkpoint's opcodes are this and BINPUT
        m.stack.append(m.memo[index])
    else:
        _recall(m, index, pos)
    return pos + 1


@opcode(b"j", 4)
def _long_binget(m: Machine, pos: int) -> int:
    _recall(m, uint4(m.data, pos)[0], pos)
    return pos + 4


def _memo_index(text: bytes) -> int:
    index = decimal(text)
    if not 0 <= index <= MAX_MEMO_INDEX:
        raise ValueError("has an impossible memo slot")
    return index


@opcode(b"p")
def _put(m: Machine, pos: int) -> int:
    text, pos = line(m, pos)
    m.memo[_memo_index(text)] = m.stack[-1]
    return pos


@opcode(b"g")
def _get(m: Machine, pos: int) -> int:
    text, after = line(m, pos)
    _recall(m, _memo_index(text), pos)
    return after


@opcode(b"\x80", 1)
def _proto(m: Machine, pos: int) -> int:
    if m.data[pos] > HIGHEST_PROTOCOL:
        raise m.error(UnsupportedProtocol, f"is of protocol {m.data[pos]}", pos - 1)
    return pos + 1


@opcode(b"\x95", 8)
def _frame(m: Machine, pos: int) -> int:
    end = pos + 8 + uint8(m.data, pos)[0]
    if pos - 1 < m.frame_end:
        raise m.error(FrameOverrun, "a frame begins before the last one has ended", pos - 1)
    if end > m.end:
        raise m.error(FrameOverrun, f"a frame claims {end - pos - 8:,} bytes", pos - 1)
    m.frame_end = end
    return pos + 8


# Containers


@opcode(b"]")
@opcode(b"\x8f")  # a set: nothing is hashed here, so a list does
def _empty_list(m: Machine, pos: int) -> int:
    m.stack.append([])
    return pos


@opcode(b"}")
def _empty_dict(m: Machine, pos: int) -> int:
    m.stack.append(Pairs())
    return pos


@opcode(b"t")
@opcode(b"\x91")  # FROZENSET
def _tuple(m: Machine, pos: int) -> int:
    items = tuple(since_mark(m, pos))
    m.stack.append(items)
    return pos


@opcode(b"\x85")
def _tuple1(m: Machine, pos: int) -> int:
    m.stack[-1] = (m.stack[-1],)
    return pos


@opcode(b"\x86")
def _tuple2(m: Machine, pos: int) -> int:
    last = m.stack.pop()
    m.stack[-1] = (m.stack[-1], last)
    return pos


@opcode(b"\x87")
def _tuple3(m: Machine, pos: int) -> int:
    last = m.stack.pop()
    middle = m.stack.pop()
    m.stack[-1] = (m.stack[-1], middle, last)
    return pos


@opcode(b"l")
def _list(m: Machine, pos: int) -> int:
    items = since_mark(m, pos)
    m.stack.append(items)
    return pos


@opcode(b"d")
def _dict(m: Machine, pos: int) -> int:
    items = since_mark(m, pos)
    m.stack.append(Pairs())
    _update(m, items)
    return pos


def _extend(m: Machine, items: list[object]) -> None:
    target = m.stack[-1]
    if type(target) is list:
        target += items
    elif isinstance(target, Node):
        target.extend(items)
    else:
        raise CannotTake


@opcode(b"a")
def _append(m: Machine, pos: int) -> int:
    item = m.stack.pop()
    _extend(m, [item])
    return pos


@opcode(b"e")
@opcode(b"\x90")  # ADDITEMS
def _appends(m: Machine, pos: int) -> int:
    items = since_mark(m, pos)
    _extend(m, items)
    return pos


def _update(m: Machine, items: list[object]) -> None:
    target = m.stack[-1]
    if len(items) % 2:
        raise ValueError("has a key without a value")
    if not isinstance(target, Node):
        raise CannotTake
    target.update(items)


@opcode(b"s")
def _setitem(m: Machine, pos: int) -> int:
    value = m.stack.pop()
    key = m.stack.pop()
    _update(m, [key, value])
    return pos


@opcode(b"u")
def _setitems(m: Machine, pos: int) -> int:
    items = since_mark(m, pos)
    _update(m, items)
    return pos
