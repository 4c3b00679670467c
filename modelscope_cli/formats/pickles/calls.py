"""What the opcodes of globals, calls and persistent ids do: named and imitated, never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_cli.formats.pickles.errors import (
    BadGlobal,
    BadPersistentId,
    ExtensionOpcode,
    OutOfBandBuffer,
)
from modelscope_cli.formats.pickles.nodes import BadArguments, Call, CannotTake, Global, Node
from modelscope_cli.formats.pickles.opcodes import line, opcode, since_mark

if TYPE_CHECKING:
    from modelscope_cli.formats.pickles.walk import Machine


@opcode(b"c")
def _global(m: Machine, pos: int) -> int:
    module, after = line(m, pos)
    name, after = line(m, after)
    m.stack.append(m.named(str(module, "utf-8"), str(name, "utf-8"), pos - 1))
    return after


@opcode(b"\x93")
def _stack_global(m: Machine, pos: int) -> int:
    name = m.stack.pop()
    module = m.stack.pop()
    if type(module) is not str or type(name) is not str:
        raise m.error(BadGlobal, "a global is named by something that is no string", pos - 1)
    m.stack.append(m.named(module, name, pos - 1))
    return pos


def _call(function: object, args: object) -> object:
    if type(function) is Global and function.build is not None and type(args) is tuple:
        return function.build(args)
    return Call(function, args)


@opcode(b"R")
@opcode(b"\x81")  # NEWOBJ: a class instead of a function
def _reduce(m: Machine, pos: int) -> int:
    args = m.stack.pop()
    m.stack[-1] = _call(m.stack[-1], args)
    return pos


@opcode(b"\x92")
def _newobj_ex(m: Machine, pos: int) -> int:
    keywords = m.stack.pop()
    args = m.stack.pop()
    m.stack[-1] = Call(m.stack[-1], (args, keywords))
    return pos


@opcode(b"i")
def _inst(m: Machine, pos: int) -> int:
    module, after = line(m, pos)
    name, after = line(m, after)
    function = m.named(str(module, "utf-8"), str(name, "utf-8"), pos - 1)
    args = tuple(since_mark(m, pos))
    m.stack.append(_call(function, args))
    return after


@opcode(b"o")
def _obj(m: Machine, pos: int) -> int:
    items = since_mark(m, pos)
    m.stack.append(_call(items[0], tuple(items[1:])))
    return pos


@opcode(b"b")
def _build(m: Machine, pos: int) -> int:
    state = m.stack.pop()
    target = m.stack[-1]
    if not isinstance(target, Node):
        raise CannotTake
    target.build(state)
    return pos


@opcode(b"Q")
def _binpersid(m: Machine, pos: int) -> int:
    m.stack[-1] = _persistent(m, m.stack[-1], pos)
    return pos


@opcode(b"P")
def _persid(m: Machine, pos: int) -> int:
    text, after = line(m, pos)
    m.stack.append(_persistent(m, str(text, "ascii"), pos))
    return after


def _persistent(m: Machine, key: object, pos: int) -> object:
    try:
        return m.rules.persistent(key)
    except BadArguments as error:
        raise m.error(BadPersistentId, str(error), pos - 1) from error


# What no file can be read with


@opcode(b"\x82", 1)
@opcode(b"\x83", 2)
@opcode(b"\x84", 4)
def _extension(m: Machine, pos: int) -> int:
    raise m.error(ExtensionOpcode, "uses an extension registry that no file carries", pos - 1)


@opcode(b"\x97")
@opcode(b"\x98")
def _buffer(m: Machine, pos: int) -> int:
    raise m.error(OutOfBandBuffer, "refers to a buffer outside the file", pos - 1)
