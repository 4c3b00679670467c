"""A pickle walked opcode by opcode: a symbolic stack machine that never calls anything.

Time and memory are linear in the bytes walked: no recursion, nothing hashed or copied that
the pickle could have nested or shared (see pickle_nodes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from struct import error as StructError  # noqa: N812  (struct names it in lower case)
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.pickles import (  # they fill the table of opcodes
    calls,  # noqa: F401
    literals,  # noqa: F401
    stack,  # noqa: F401
)
from modelscope_cli.formats.pickles.errors import (
    BadCall,
    BadGlobal,
    BadOpcodeArgument,
    StackUnderflow,
    TooManyOpcodes,
    TruncatedPickle,
    WrongTarget,
)
from modelscope_cli.formats.pickles.nodes import BadArguments, Builder, CannotTake, Global
from modelscope_cli.formats.pickles.opcodes import ARGUMENT_BYTES, HANDLERS, Handler, StopReached

MAX_OPCODES = 10_000_000  # 90,000 tensors in one pickle take 3.3 million
MAX_GLOBAL_CHARACTERS = 1_000
SHOWN_GLOBALS = 5

# What torch.load and Python 3 read these older names as.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.tensor": "torch._tensor"}


def _no_persistent_ids(_id: object) -> object:
    raise BadArguments("a persistent id where none can be")


Seen = dict[str, Global]
More = Callable[[bytes], bytes | None]


class Rules(NamedTuple):
    """What is known while walking. `seen` collects every global named, over many pickles.

    `builders` are the known globals (None: known, but never called); `imitated` are globals
    whose call can be followed although they count as foreign.
    """

    builders: Mapping[str, Builder | None]
    seen: Seen
    persistent: Callable[[object], object] = _no_persistent_ids
    known_prefix: str | None = None
    imitated: Mapping[str, Builder] = MappingProxyType({})


def foreign_names(seen: Seen) -> list[str]:
    """The names among `seen` that are not known, sorted."""
    return sorted(name for name, found in seen.items() if not found.known)


class Walked(NamedTuple):
    """The object a pickle stands for, and where its STOP ended."""

    value: object
    end: int


class Machine:
    """The stacks, the memo and the bytes. Opcodes' meanings are in pickle_opcodes."""

    handlers: ClassVar[list[Handler]] = HANDLERS
    most_opcodes: ClassVar[int] = MAX_OPCODES

    __slots__ = (
        "at", "base", "data", "end", "file", "frame_end", "memo", "meta", "more", "rules", "stack"
    )  # fmt: skip

    def __init__(
        self, file: str, data: bytes, base: int | None, rules: Rules, more: More | None
    ) -> None:
        self.file = file
        self.more = more
        self.data = data
        self.end = len(data)
        self.base = base
        self.rules = rules
        self.stack: list[object] = []
        self.meta: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.frame_end = 0
        self.at = 0

    def error(self, defect: type[FormatError], what: str, position: int) -> FormatError:
        """One defect at a position of the pickle, as a position of the file where known."""
        if self.base is None:
            return defect(self.file, f"pickle: {what} (at byte {position:,} of the pickle)")
        return defect(self.file, f"pickle: {what}", offset=self.base + position)

    def named(self, module: str, name: str, position: int) -> Global:
        """The global `module.name`. Raises BadGlobal."""
        if len(module) + len(name) > MAX_GLOBAL_CHARACTERS:
            raise self.error(BadGlobal, "a global's name is too long", position)
        full = f"{_RENAMED.get(module, module)}.{name}"
        found = self.rules.seen.get(full)
        if found is None:
            rules = self.rules
            prefix = rules.known_prefix
            known = full in rules.builders or (prefix is not None and full.startswith(prefix))
            build = rules.builders.get(full) or rules.imitated.get(full)
            found = rules.seen[full] = Global(full, build, known)
        return found

    def run(self, start: int) -> Walked:
        """Walk from `start` to STOP. Raises FormatError, named after the defect."""
        left = self.opcodes()
        while True:
            try:
                self._steps(start, left)
            except StopReached as stop:
                return Walked(stop.value, stop.end)
            except TruncatedPickle:
                # An opcode reads all its bytes before it changes anything: it can start again.
                longer = None if self.more is None else self.more(self.data)
                if longer is None:
                    raise
                self.data, self.end, start = longer, len(longer), self.at

    def opcodes(self) -> Iterable[None]:
        """As many as may be walked."""
        return repeat(None, self.most_opcodes)

    def _steps(self, start: int, left: Iterable[None]) -> None:
        data, handlers, position, at = self.data, self.handlers, start, start
        try:
            for _ in left:
                at = position
                position = handlers[data[at]](self, at + 1)
        except TruncatedPickle:
            self.at = at
            raise
        except (IndexError, StructError, BadArguments, CannotTake) as error:
            self.at = at
            raise self._named_after(error, at) from error
        except UnicodeError as error:
            what = _opcode(data[at]) + "holds text that is none"
            raise self.error(BadOpcodeArgument, what, at) from error
        except ValueError as error:
            raise self.error(BadOpcodeArgument, _opcode(data[at]) + str(error), at) from error
        raise self.error(TooManyOpcodes, f"more than {self.most_opcodes:,} opcodes", at)

    def _named_after(self, error: Exception, at: int) -> FormatError:
        """The defect behind an exception at the opcode that starts at `at`."""
        if at >= self.end:
            return self.error(TruncatedPickle, "ends before its STOP", self.end)
        opcode = self.data[at]
        if isinstance(error, BadArguments):
            return self.error(BadCall, str(error), at)
        if isinstance(error, CannotTake):
            what = "is used on something that cannot take it"
            return self.error(WrongTarget, _opcode(opcode) + what, at)
        if isinstance(error, StructError) or at + 1 + ARGUMENT_BYTES[opcode] > self.end:
            return self.error(TruncatedPickle, _opcode(opcode) + "is cut off", at)
        return self.error(StackUnderflow, _opcode(opcode) + "finds the stack empty", at)


def _opcode(byte: int) -> str:
    return f"opcode 0x{byte:02x} ({chr(byte)!r}) " if 32 < byte < 127 else f"opcode 0x{byte:02x} "


def some_of(names: Iterable[str], shown: int = SHOWN_GLOBALS) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def walk(
    file: str,
    data: bytes,
    rules: Rules,
    *,
    start: int = 0,
    base: int | None = 0,
    more: More | None = None,
) -> Walked:
    """The object that the pickle at `start` of `data` stands for; nothing is ever called.

    `base` is the position of `data` in the file, None where it was compressed there; `more`
    gives `data` with more bytes behind it, where the pickle goes on and there are any.
    Raises FormatError, named after the defect.
    """
    return Machine(file, data, base, rules, more).run(start)
