"""What an audit finds: flaws of a model, how grave they are, and why a rule was not asked."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.errors import FormatError, MscopeError

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)  # SARIF's words, the gravest first
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Flaw(NamedTuple):
    """One thing that a rule does not accept in a model.

    `file` is relative to the model; `line` counts from 1. `severity` where it is not the rule's.
    """

    message: str
    file: str | None = None
    tensor: str | None = None
    line: int | None = None
    severity: str | None = None


def flaw_of(error: MscopeError) -> Flaw:
    """What a reader met; a defect by its class's name."""
    if not isinstance(error, FormatError):
        return Flaw(error.message)
    return Flaw(f"{type(error).__name__}: {error.message}", error.file, error.tensor)


class Finding(NamedTuple):
    """A flaw with the rule and the model it belongs to, as it is reported."""

    rule: str
    severity: str
    message: str
    model: str
    file: str | None = None
    tensor: str | None = None
    line: int | None = None


class Skip(Exception):
    """A rule does not apply to a model, or cannot be answered for it; the reason is shown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
