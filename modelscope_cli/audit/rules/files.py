"""Family F: files that are whole, well formed, and what their names say."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.audit.finding import Flaw, flaw_of
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject


class WellFormed(Rule):
    """Weights and configuration can be read.

    A file that is malformed or cut short fails when it is loaded, or loads as something else.

    Remedy: download or save the file again.
    """

    id = "F001"
    title = "weights and configuration are whole and well formed"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """The error that reading the model met."""
        if subject.error is not None:
            yield flaw_of(subject.error)


RULES: tuple[type[Rule], ...] = (WellFormed,)
