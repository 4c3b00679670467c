"""SARIF 2.1.0: one run, all rules in its table, a result for each finding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_cli import __version__
from modelscope_cli.escape import json_text, one_line
from modelscope_cli.render import places
from modelscope_cli.report import CheckedModel, CheckedRule, Checks, Flaw, Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SECURITY = "S"  # the family whose findings code scanning shows as security alerts
_SCORES = {"error": "8.0", "warning": "5.0", "note": "2.0"}  # of 10, as code scanning takes them
_encode = json.JSONEncoder(ensure_ascii=True, indent=2).encode


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """One document; paths below the current folder are relative to the checkout."""
    checks = report.checks() if report.checks is not None else Checks((), ())
    numbers = {rule.id: number for number, rule in enumerate(checks.rules)}
    run = {
        "tool": {"driver": _driver(checks)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(checks)],
        "results": [
            _result(model, outcome.rule, flaw, numbers)
            for model in checks.models
            for outcome in model.outcomes
            for flaw in outcome.flaws
        ],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    yield f"{json_text(_encode(document))}\n"


def _driver(checks: Checks) -> dict[str, Any]:
    return {
        "name": "mscope",
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in checks.rules],
    }


def _rule(rule: CheckedRule) -> dict[str, Any]:
    properties: dict[str, Any] = {"tags": [rule.id[0]]}
    if rule.id[0] == _SECURITY:
        properties = {
            "tags": [rule.id[0], "security"],
            "security-severity": _SCORES[rule.severity],
        }
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": rule.severity},
        "properties": properties,
    }


def _invocation(checks: Checks) -> dict[str, Any]:
    """What could not be looked at: no result, but nobody may take it for passed."""
    failed = [model for model in checks.models if model.error is not None]
    found: dict[str, Any] = {"executionSuccessful": not failed}
    if failed:
        found["toolExecutionNotifications"] = [
            {
                "level": "error",
                "message": {"text": _message(f"{model.model.target}: {model.error}")},
            }
            for model in failed
        ]
    return found


def _result(
    model: CheckedModel, rule: str, flaw: Flaw, numbers: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": numbers.get(rule, -1),
        "level": flaw.severity,
        "message": {"text": _message(flaw.message)},
        "locations": [_location(model, flaw)],
        "partialFingerprints": {"mscope/v1": _fingerprint(model, rule, flaw)},
    }


def _message(text: str) -> str:
    """A message in which no name becomes a link: viewers draw `[text](address)` as one."""
    return one_line(text).replace("](", "] (")


def _location(model: CheckedModel, flaw: Flaw) -> dict[str, Any]:
    physical: dict[str, Any] = {
        "artifactLocation": {"uri": places.address(model.model, flaw.file)},
        # Code scanning shows nothing that has no line; a binary file has no other.
        "region": {"startLine": max(flaw.line or 1, 1)},
    }
    logical = [{"name": one_line(model.model.target), "kind": "module"}]
    if flaw.tensor is not None:
        logical.append({"name": one_line(flaw.tensor), "kind": "member"})
    return {"physicalLocation": physical, "logicalLocations": logical}


def _fingerprint(model: CheckedModel, rule: str, flaw: Flaw) -> str:
    """The same finding in the next run has the same one, wherever the checkout lies."""
    parts = (rule, model.model.target, flaw.file or "", flaw.tensor or "", flaw.message)
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32]
