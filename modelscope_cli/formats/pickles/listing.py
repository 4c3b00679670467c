"""Every global that a pickle names, however oddly it is written: for judging, never for reading.

The walk that reads tensors refuses what no writer writes. This one goes on wherever any
unpickler would, CPython's in C above all (Modules/_pickle.c), so that a name cannot be hidden
behind an oddity. Of values only strings are kept: nothing else can become a name without a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from struct import Struct
from typing import ClassVar, NamedTuple, cast

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.pickles.errors import MissingMemo, TooManyOpcodes, TruncatedPickle
from modelscope_cli.formats.pickles.nodes import Blob, Global
from modelscope_cli.formats.pickles.opcodes import (
    HANDLERS,
    Handler,
    line,
    since_mark,
    uint8,
)
from modelscope_cli.formats.pickles.walk import Machine, More, Rules

MOST_OPCODES = 4_000_000  # half a second; 90,000 tensors in one pickle take 3.3 million
MAX_MARKS = 100_000  # in each other; a pickler recurses, and ends at a thousand
MAX_GLOBALS = 100_000
MAX_SLOTS = 2_000_000  # of the memo: 90,000 tensors take 1 million
MAX_LITERALS = 1_000  # that look like pickles themselves

COMPUTED = ("?", "?")  # a global whose name is the result of a call
REGISTRY = "copyreg._extension_registry"

_STARTS = (*(bytes([0x80, protocol]) for protocol in range(2, 6)), b"PK\3\4")
_TEXT_STARTS = tuple(start.decode("latin-1") for start in _STARTS)

_int4 = Struct("<i").unpack_from


class PickleTooDeep(FormatError):
    """More marks in each other than any pickler writes."""


class TooManyGlobals(FormatError):
    """More names than all modules of a large program have."""


class TooManySlots(FormatError):
    """More in the memo than the largest checkpoints have by far."""


GIVEN_UP = (TooManyOpcodes, PickleTooDeep, TooManyGlobals, TooManySlots)


class Listed(NamedTuple):
    """What a pickle names: (module, name) in the order met.

    `called` are those of them that are called or built; `literals` are strings and bytes that
    look like pickles or archives. `end` is behind STOP, or where `broken` was met: there an
    unpickler ends too, unless `broken` is one of GIVEN_UP.
    """

    names: tuple[tuple[str, str], ...]
    called: frozenset[tuple[str, str]]
    literals: tuple[bytes, ...]
    end: int
    broken: FormatError | None = None


Steps = Iterator[None]


def steps() -> Steps:
    """As many opcodes as are walked of one pickle, or of all in a file together."""
    return repeat(None, MOST_OPCODES)


class Lister(Machine):
    """The machine with a table of its own: strings and globals on the stack, None for all else."""

    handlers: ClassVar[list[Handler]] = list(HANDLERS)
    most_opcodes: ClassVar[int] = MOST_OPCODES

    __slots__ = ("called", "left", "literals", "names")

    def __init__(self, file: str, data: bytes, more: More | None, left: Steps | None) -> None:
        super().__init__(file, data, 0, Rules({}, {}), more)
        self.left = left
        self.names: dict[tuple[str, str], Global] = {}
        self.literals: list[bytes] = []
        self.called: set[Global] = set()

    def named(self, module: str, name: str, position: int) -> Global:
        """Remember a name. Raises TooManyGlobals."""
        found = self.names.get((module, name))
        if found is None:
            found = self.names[module, name] = Global(name, None, False)
        if len(self.names) > MAX_GLOBALS:
            raise self.error(TooManyGlobals, f"names more than {MAX_GLOBALS:,} globals", position)
        return found

    def opcodes(self) -> Iterable[None]:
        """As many as are left of what may be walked."""
        return super().opcodes() if self.left is None else self.left

    def literal(self, data: bytes) -> None:
        """Keep bytes that may be a pickle in the pickle."""
        if len(self.literals) < MAX_LITERALS:
            self.literals.append(data)


def list_globals(
    file: str,
    data: bytes,
    *,
    start: int = 0,
    more: More | None = None,
    left: Steps | None = None,
) -> tuple[Listed, bytes]:
    """What the pickle at `start` names, and the data it was read from (longer, by `more`).

    `left`: what several pickles may share of opcodes, by `steps`.
    """
    machine = Lister(file, data, more, left)
    broken: FormatError | None = None
    try:
        end = machine.run(start).end
    except FormatError as error:
        broken, end = error, machine.at
    called = frozenset(name for name, found in machine.names.items() if found in machine.called)
    listed = Listed(tuple(machine.names), called, tuple(machine.literals), end, broken)
    return listed, machine.data


def gave_up(listed: Listed) -> bool:
    """Whether an unpickler might go on where the listing did not."""
    return isinstance(listed.broken, GIVEN_UP)


def is_cut(listed: Listed) -> bool:
    """Whether the bytes end before the pickle does."""
    return isinstance(listed.broken, TruncatedFile)


# What says how long it is: opcodes, and how many bytes that takes.
_LENGTHS = {**dict.fromkeys(b"XTB\x8b", 4), **dict.fromkeys(b"\x8d\x8e\x96", 8)}


def announced(data: bytes, at: int) -> int | None:
    """How many bytes an opcode and what belongs to it take; None for one that does not say."""
    size = _LENGTHS.get(data[at]) if at < len(data) else None
    if size is None or at + 1 + size > len(data):
        return None
    return 1 + size + int.from_bytes(data[at + 1 : at + 1 + size], "little")


# Opcodes: where any unpickler goes on although the reader of tensors would not

_Step = Callable[[Lister, int], int]


def _on(*codes: bytes) -> Callable[[_Step], _Step]:
    def register(step: _Step) -> _Step:
        for code in codes:
            Lister.handlers[code[0]] = cast("Handler", step)
        return step

    return register


@_on(b"(")
def _mark(m: Lister, pos: int) -> int:
    m.meta.append(m.stack)
    m.stack = []
    if len(m.meta) > MAX_MARKS:
        raise m.error(PickleTooDeep, f"more than {MAX_MARKS:,} marks in each other", pos - 1)
    return pos


@_on(b"]", b"}", b"\x8f")
def _container(m: Lister, pos: int) -> int:
    m.stack.append(None)
    return pos


@_on(b"t", b"l", b"d", b"\x91")
def _from_mark(m: Lister, pos: int) -> int:
    since_mark(m, pos)
    m.stack.append(None)
    return pos


def _taking(count: int) -> _Step:
    """So many from the stack, and what was made of them on it."""

    def take(m: Lister, pos: int) -> int:
        for _ in range(count - 1):
            m.stack.pop()
        m.stack[-1] = None
        return pos

    return take


for _code, _count in ((b"\x85", 1), (b"\x86", 2), (b"\x87", 3), (b"Q", 1)):
    _on(_code)(_taking(_count))


def _onto(m: Lister, pos: int) -> int:
    """Raise IndexError where nothing lies on the stack."""
    if not m.stack:
        raise IndexError
    return pos


def _into(count: int) -> _Step:
    """So many from the stack, put into what is below them."""

    def put(m: Lister, pos: int) -> int:
        for _ in range(count):
            m.stack.pop()
        return _onto(m, pos)

    return put


for _code, _count in ((b"a", 1), (b"s", 2)):
    _on(_code)(_into(_count))


@_on(b"e", b"u", b"\x90")
def _all_into(m: Lister, pos: int) -> int:
    since_mark(m, pos)
    return _onto(m, pos)


def _called(m: Lister, value: object) -> None:
    """Remember a global that is called; what a call made is None here, and was called for."""
    if type(value) is Global:
        m.called.add(value)


def _calling(step: _Step, depth: int) -> _Step:
    """What lies so deep in the stack is called, or given a state."""

    def call(m: Lister, pos: int) -> int:
        value = m.stack[-depth]
        after = step(m, pos)
        _called(m, value)
        return after

    return call


for _code, _step, _depth in (
    (b"R", _taking(2), 2),
    (b"\x81", _taking(2), 2),
    (b"\x92", _taking(3), 3),
    (b"b", _into(1), 2),
):
    _on(_code)(_calling(_step, _depth))


@_on(b"o")
def _obj(m: Lister, pos: int) -> int:
    _called(m, since_mark(m, pos)[0])
    m.stack.append(None)
    return pos


@_on(b"i")
def _inst(m: Lister, pos: int) -> int:
    module, after = line(m, pos)
    name, after = line(m, after)
    found = m.named(str(module, "utf-8"), str(name, "utf-8"), pos - 1)
    since_mark(m, pos)
    _called(m, found)
    m.stack.append(None)
    return after


@_on(b"\x93")
def _stack_global(m: Lister, pos: int) -> int:
    name = m.stack.pop()
    module = m.stack[-1]
    known = (module, name) if type(module) is str and type(name) is str else COMPUTED
    m.stack[-1] = m.named(*known, pos - 1)
    return pos


def _extension(size: int) -> _Step:
    def look_up(m: Lister, pos: int) -> int:
        if pos + size > m.end:
            raise m.error(TruncatedPickle, "an extension's number is cut off", pos - 1)
        code = int.from_bytes(m.data[pos : pos + size], "little")
        m.stack.append(m.named(REGISTRY, str(code), pos - 1))
        return pos + size

    return look_up


for _code, _count in ((b"\x82", 1), (b"\x83", 2), (b"\x84", 4)):
    _on(_code)(_extension(_count))


@_on(b"I", b"L", b"F", b"P")
def _line_of_text(m: Lister, pos: int) -> int:
    """A number, or a persistent id: whatever stands there, it names nothing."""
    _, after = line(m, pos)
    m.stack.append(None)
    return after


@_on(b"\x8b")
def _long4(m: Lister, pos: int) -> int:
    """An integer of any length: C's unpickler takes 2 GiB."""
    size = _int4(m.data, pos)[0]
    if size < 0:
        raise ValueError("has a negative length")
    if pos + 4 + size > m.end:
        raise m.error(TruncatedPickle, f"an integer of {size:,} bytes is cut off", pos - 1)
    m.stack.append(None)
    return pos + 4 + int(size)


@_on(b"\x95")
def _frame(m: Lister, pos: int) -> int:
    """Frames in frames, and frames beyond the end: C's unpickler hardly looks at them."""
    uint8(m.data, pos)
    return pos + 8


@_on(b"\x98")
def _readonly(m: Lister, pos: int) -> int:
    return _onto(m, pos)


def _remembering(code: bytes) -> _Step:
    """Strings and bytes as ever; one that starts as a pickle does is kept to be looked into."""
    push = HANDLERS[code[0]]

    def remember(m: Lister, pos: int) -> int:
        after = push(m, pos)
        value = m.stack[-1]
        if type(value) is str:
            if value[:1] in ("\x80", "P") and value.startswith(_TEXT_STARTS):
                m.literal(value.encode("latin-1", "replace"))
        elif type(value) is Blob and m.data.startswith(_STARTS, after - value.length):
            m.literal(m.data[after - value.length : after])
        return after

    return remember


for _code in (b"X", b"\x8c", b"\x8d", b"U", b"T", b"V", b"S", b"C", b"B", b"\x8e", b"\x96"):
    _on(_code)(_remembering(_code))


def _make_room(m: Lister, pos: int) -> None:
    """Raise TooManySlots where the memo is full."""
    if len(m.memo) > MAX_SLOTS:
        raise m.error(TooManySlots, f"remembers more than {MAX_SLOTS:,} things", pos - 1)


def _bounded(step: Handler) -> _Step:
    def put(m: Lister, pos: int) -> int:
        _make_room(m, pos)
        return step(m, pos)

    return put


for _code in (b"\x94", b"r"):
    _on(_code)(_bounded(HANDLERS[_code[0]]))


@_on(b"p")
def _put(m: Lister, pos: int) -> int:
    _make_room(m, pos)
    text, after = line(m, pos)
    m.memo[int(text)] = m.stack[-1]  # as many digits as Python takes
    return after


@_on(b"g")
def _get(m: Lister, pos: int) -> int:
    text, after = line(m, pos)
    if (slot := int(text)) not in m.memo:
        raise m.error(MissingMemo, f"memo slot {slot:,} is read but was never set", pos - 1)
    m.stack.append(m.memo[slot])
    return after
