"""What can be wrong with a pickle, one class a defect."""

from __future__ import annotations

from modelscope_cli.errors import FormatError, TruncatedFile


class TruncatedPickle(TruncatedFile):
    """The pickle ends inside an opcode, or before its STOP."""


class UnknownOpcode(FormatError):
    """A byte that is no opcode of protocols 0 to 5."""


class UnsupportedProtocol(FormatError):
    """A protocol newer than 5."""


class StackUnderflow(FormatError):
    """An opcode takes more from the stack, or from above the last mark, than lies there."""


class MissingMark(FormatError):
    """An opcode asks for everything since a mark that was never set."""


class MissingMemo(FormatError):
    """A memo slot is read before anything was put there."""


class BadOpcodeArgument(FormatError):
    """An opcode's argument is no number, no UTF-8 or no quoted string, or cannot be used."""


class IntegerTooLarge(FormatError):
    """An integer of more digits than any checkpoint has use for."""


class FrameOverrun(TruncatedPickle):
    """A frame claims more bytes than are there, or another frame begins inside it."""


class ExtensionOpcode(FormatError):
    """EXT1, EXT2 or EXT4: a name from a registry that only the writing program had."""


class OutOfBandBuffer(FormatError):
    """NEXT_BUFFER or READONLY_BUFFER: data that was never in the file."""


class BadGlobal(FormatError):
    """The name of a global is no string, or longer than any real one."""


class WrongTarget(FormatError):
    """APPEND, SETITEM, BUILD or their like on something that cannot take it."""


class BadPersistentId(FormatError):
    """A persistent id that names no storage in the way torch writes it."""


class BadCall(FormatError):
    """A known function is called with arguments it cannot have."""


class TooManyOpcodes(FormatError):
    """More opcodes than the largest checkpoints have by far."""


class TrailingPickle(FormatError):
    """Bytes after the STOP of a pickle that should fill its archive entry."""
