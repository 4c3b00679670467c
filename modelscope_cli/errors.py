"""The error classes, each with the exit code and the one line a user sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class MscopeError(Exception):
    """Root of every error that mscope raises on purpose.

    `message` says what is wrong and where, in one line; `hint` says what to try.
    Both may quote names out of untrusted files: whoever prints them escapes them.
    """

    exit_code = 70

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way between processes, whatever a subclass's constructor takes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[MscopeError], args: tuple[Any, ...], state: dict[str, Any]) -> MscopeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(MscopeError):
    """The command line, a setting or a name typed by the user is wrong."""

    exit_code = 2


class NotFound(MscopeError):
    """The model, revision or file is not there, or may not be read."""

    exit_code = 3


class FormatError(MscopeError):
    """A file is malformed, truncated or unsafe to read.

    Subclasses are named after the defect and live beside the reader that finds it.
    """

    exit_code = 4

    def __init__(
        self,
        file: str,
        what: str,
        *,
        offset: int | None = None,
        tensor: str | None = None,
        hint: str | None = None,
    ) -> None:
        place = "" if tensor is None else f"tensor {tensor!r}: "
        where = "" if offset is None else f" (at byte {offset:,})"
        super().__init__(f"{file}: {place}{what}{where}", hint)
        self.file = file
        self.offset = offset
        self.tensor = tensor


class TruncatedFile(FormatError):
    """Fewer bytes are there than the file says it holds."""


class MissingShard(FormatError):
    """A file of a sharded model is not there."""


class NotARegularFile(FormatError):
    """A FIFO, socket or device where a file is expected: reading could hang."""


class MissingExtra(MscopeError):
    """An optional part is not installed; the hint is the exact `pip install`."""

    exit_code = 5

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, f"pip install 'modelscope-cli[{extra}]'")


class NetworkTrouble(MscopeError):
    """The network failed in a way that a retry may mend."""

    exit_code = 6


_LONGEST_COMPARED = 256  # characters; the time that takes grows with their square


def did_you_mean(typed: str, names: Iterable[str]) -> str | None:
    """A hint with the names closest to what was typed; None where none is close."""
    from difflib import get_close_matches  # 3 ms, only on the way to an error

    if len(typed) > _LONGEST_COMPARED:
        return None
    known = [name for name in dict.fromkeys(names) if len(name) <= _LONGEST_COMPARED]
    matches = get_close_matches(typed, known, n=3)
    return f"did you mean {' or '.join(matches)}?" if matches else None
