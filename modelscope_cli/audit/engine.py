"""Run the rules of a policy on one model, and sum up what several models came out as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelscope_cli.audit.finding import (
    FAILED,
    PASSED,
    SEVERITIES,
    SKIPPED,
    Finding,
    Flaw,
    Skip,
    flaw_of,
)
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.rules import FAMILIES, selected
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MissingExtra, MscopeError
from modelscope_cli.facts import ModelRef

MOST_FINDINGS = 200  # of one rule in one model: more say the same


class Outcome(NamedTuple):
    """What one rule came out as; `reason` says why it was skipped."""

    rule: Rule
    status: str
    findings: tuple[Finding, ...] = ()
    reason: str | None = None


class Audited(NamedTuple):
    """One model, audited. `error` is set where nothing of it could be looked at."""

    model: ModelRef
    outcomes: tuple[Outcome, ...] = ()
    error: MscopeError | None = None

    @property
    def findings(self) -> list[Finding]:
        """All findings, by rule, file and tensor."""
        return [found for outcome in self.outcomes for found in outcome.findings]


def audit(subject: Subject, policy: Policy) -> Audited:
    """Every rule that the policy selects, on one model."""
    return Audited(subject.ref, tuple(_outcome(rule, subject, policy) for rule in selected(policy)))


def get_ready(policy: Policy) -> None:
    """Do once what processes that are made afterwards would each do for themselves."""
    for rule in selected(policy):
        if policy.why_ignored(rule.id) is None:
            rule.get_ready()


def _outcome(rule: Rule, subject: Subject, policy: Policy) -> Outcome:
    ignored = policy.why_ignored(rule.id)
    if ignored is not None:
        return Outcome(rule, SKIPPED, reason=ignored)
    flaws, reason = _flaws(rule, subject, policy)
    severity = policy.severity(rule.id)
    found = sorted(_findings(rule, flaws, severity, subject.name), key=_order)
    if reason is not None and not found:
        return Outcome(rule, SKIPPED, reason=reason)
    return Outcome(rule, FAILED if found else PASSED, tuple(found), reason)


def _findings(
    rule: Rule, flaws: Sequence[Flaw], severity: str | None, model: str
) -> Iterable[Finding]:
    """The flaws of a rule; the policy's severity, else the flaw's own, else the rule's."""
    for flaw in flaws[:MOST_FINDINGS]:
        word = severity or flaw.severity or rule.severity
        yield Finding(rule.id, word, flaw.message, model, flaw.file, flaw.tensor, flaw.line)
    if (more := len(flaws) - MOST_FINDINGS) > 0:
        yield Finding(rule.id, severity or rule.severity, f"and {more:,} more like these", model)


def _flaws(rule: Rule, subject: Subject, policy: Policy) -> tuple[list[Flaw], str | None]:
    """What a rule finds, and why it went no further where it did not."""
    flaws: list[Flaw] = []
    try:
        flaws.extend(rule.check(subject, policy))  # keeps what came before an exception
    except Skip as skip:
        return flaws, skip.reason
    except MissingExtra as error:
        text = f"{error.message}: {error.hint}"
        if policy.strict:
            return [*flaws, Flaw(text)], None
        return flaws, text
    except MscopeError as error:
        return [*flaws, flaw_of(error)], None
    return flaws, None


def _order(found: Finding) -> tuple[str, str, int, str]:
    return found.file or "", found.tensor or "", found.line or 0, found.message


def at_least(severity: str, least: str) -> bool:
    """Whether a severity is as grave as another."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)


def passes(models: Iterable[Audited], fail_on: str) -> bool:
    """Whether nothing as grave as `fail_on` was found, and every model could be looked at."""
    return not any(
        each.error is not None or any(at_least(f.severity, fail_on) for f in each.findings)
        for each in models
    )


class Summed(NamedTuple):
    """One rule over all models: failed if it did for any, passed if for any of the rest."""

    rule: Rule
    status: str
    reason: str | None


def summed(models: Sequence[Audited]) -> list[Summed]:
    """Every rule that ran or was skipped, in the order of the rules."""
    by_rule: dict[str, list[Outcome]] = {}
    for each in models:
        for outcome in each.outcomes:
            by_rule.setdefault(outcome.rule.id, []).append(outcome)
    return [_summed(by_rule[rule]) for rule in sorted(by_rule, key=_family_first)]


def _family_first(rule: str) -> tuple[int, str]:
    return list(FAMILIES).index(rule[0]), rule


def _summed(outcomes: Sequence[Outcome]) -> Summed:
    statuses = {outcome.status for outcome in outcomes}
    status = next(each for each in (FAILED, PASSED, SKIPPED) if each in statuses)
    reasons = dict.fromkeys(each.reason for each in outcomes if each.reason)
    reason = "; ".join(list(reasons)[:3]) if status == SKIPPED else None
    return Summed(outcomes[0].rule, status, reason or None)
