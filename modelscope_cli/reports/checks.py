"""Audited models in the words that the formats of CI services are made from."""

from __future__ import annotations

from collections.abc import Sequence

from modelscope_cli.audit import engine, rules
from modelscope_cli.audit.engine import Audited
from modelscope_cli.audit.finding import SEVERITIES
from modelscope_cli.report import CheckedModel, CheckedRule, Checks, Flaw, Outcome


def of(models: Sequence[Audited], fail_on: str) -> Checks:
    """Every rule that was asked for, and what was found in each model."""
    asked = {outcome.rule.id for model in models for outcome in model.outcomes}
    return Checks(
        [
            CheckedRule(rule.id, rule.title, rule.severity, rule.why(), rule.remedy())
            for rule in rules.every().values()
            if rule.id in asked
        ],
        [_model(each) for each in models],
        [severity for severity in SEVERITIES if engine.at_least(severity, fail_on)],
    )


def _model(audited: Audited) -> CheckedModel:
    error = None if audited.error is None else audited.error.message
    return CheckedModel(audited.model, [_outcome(each) for each in audited.outcomes], error)


def _outcome(outcome: engine.Outcome) -> Outcome:
    flaws = [
        Flaw(each.severity, each.message, each.file, each.tensor, each.line)
        for each in outcome.findings
    ]
    return Outcome(outcome.rule.id, outcome.status, outcome.reason, flaws)
