"""What was pinned: a model against `mscope.lock`."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.audit.finding import Flaw, Skip
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject


class AsLocked(Rule):
    """The model is what was reviewed: revision, files and totals are those of the lock.

    A branch moves, a folder is written to. What was looked at and found good is only what is
    shipped if nothing of it has changed since. `--locked` asks for this rule.

    Remedy: look at what changed, then `mscope lock MODEL` takes it in; or go back to the
    revision that was locked.
    """

    id = "L001"
    title = "as it was locked"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """A finding for each difference."""
        if (lock := subject.lock) is None:
            raise Skip("--locked was not asked for")
        from modelscope_cli.locking import compare, document, observe

        target = document.target(subject.name, lock.path)
        locked = lock.models.get(target)
        if locked is None:
            yield Flaw(f"{target} is not in {lock.path}")
            return
        found = observe.model(subject, target, like=locked)
        for drift in compare.drifts(locked, found):
            yield Flaw(compare.sentence(drift), drift.file)


RULES = (AsLocked,)
