"""What a rule of the audit is: an ID, a title, a severity, and a docstring that says why."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import ClassVar

from modelscope_cli.audit.finding import ERROR, Flaw
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.subject import Subject

_REMEDY = "Remedy:"


class Rule:
    """One rule: a family's letter and three digits, a title, and how it is checked.

    The docstring of each rule says why it is there, and in its last paragraph, after `Remedy:`,
    what to do.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[str] = ERROR

    def get_ready(self) -> None:
        """Do once what checks in several processes would each do for themselves."""

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """The flaws of one model, none where it is as it should be.

        Raises Skip where the rule does not apply, MissingExtra where it needs what is not
        installed; another MscopeError is a flaw (a file that went away while it was read).
        """
        raise NotImplementedError

    @classmethod
    def why(cls) -> str:
        """Why the rule is there: its docstring without the remedy."""
        return _text(cls).partition(_REMEDY)[0].strip()

    @classmethod
    def remedy(cls) -> str:
        """What to do about it."""
        return " ".join(_text(cls).partition(_REMEDY)[2].split())


def _text(rule: type[Rule]) -> str:
    return inspect.cleandoc(rule.__doc__ or "")
