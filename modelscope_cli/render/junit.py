"""JUnit XML: a model is a test suite, a rule a test case; what could not be read is an error.

Valid against Ant's schema, the strictest in use. Times are 0: the same models give the same file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from modelscope_cli.escape import one_line
from modelscope_cli.report import CheckedModel, Checks, Outcome, Report

_CASE = '    <testcase name={} classname={} time="0"'
# What XML 1.0 cannot hold even as a reference; escaping has made most of it text before.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """One document with a suite for each model."""
    checks = report.checks() if report.checks is not None else Checks((), ())
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    for number, model in enumerate(checks.models):
        yield from _suite(number, model, checks)
    yield "</testsuites>\n"


def _suite(number: int, model: CheckedModel, checks: Checks) -> Iterator[str]:
    name = _attribute(model.model.target)
    failed = sum(_fails(outcome, checks) for outcome in model.outcomes)
    skipped = sum(outcome.status == "skipped" for outcome in model.outcomes)
    errors = int(model.error is not None)
    yield (
        f'  <testsuite name={name} package="mscope.audit" id="{number}" hostname="localhost"'
        f' timestamp="{_timestamp()}" tests="{len(model.outcomes) + errors}"'
        f' failures="{failed}" errors="{errors}" skipped="{skipped}" time="0">\n'
    )
    yield from _properties(model)
    if model.error is not None:
        yield _CASE.format('"the model can be looked at"', name)
        yield f'>\n      <error type="error" message={_attribute(model.error)}/>\n    </testcase>\n'
    titles = {rule.id: rule.title for rule in checks.rules}
    for outcome in model.outcomes:
        title = f"{outcome.rule} {titles.get(outcome.rule, '')}".strip()
        yield f"{_CASE.format(_attribute(title), name)}{_verdict(outcome, checks)}\n"
    mild = [each for each in model.outcomes if each.flaws and not _fails(each, checks)]
    said = "\n".join(f"{each.rule} {line}" for each in mild for line in _lines(each))
    yield f"    <system-out>{escape(said)}</system-out>\n    <system-err></system-err>\n"
    yield "  </testsuite>\n"


def _properties(model: CheckedModel) -> Iterator[str]:
    yield "    <properties>\n"
    for key in ("kind", "id", "revision", "format"):
        if (value := getattr(model.model, key)) is not None:
            yield f'      <property name="{key}" value={_attribute(str(value))}/>\n'
    yield "    </properties>\n"


def _fails(outcome: Outcome, checks: Checks) -> bool:
    """Whether the run fails for it; what is milder stands in the suite's output."""
    return any(flaw.severity in checks.failing for flaw in outcome.flaws)


def _verdict(outcome: Outcome, checks: Checks) -> str:
    """What ends a test case: nothing in it where the rule passed."""
    if outcome.status == "skipped":
        inner = f"<skipped message={_attribute(outcome.reason or '')}/>"
    elif _fails(outcome, checks):
        inner = _failure(outcome)
    else:
        return "/>"
    return f">\n      {inner}\n    </testcase>"


def _failure(outcome: Outcome) -> str:
    """The first finding as the message, and all of them, a line each, as the text."""
    text = escape("\n".join(_lines(outcome)))
    message = _attribute(outcome.flaws[0].message)
    return f"<failure type={_attribute(outcome.rule)} message={message}>{text}</failure>"


def _lines(outcome: Outcome) -> list[str]:
    return [
        _text(f"{flaw.severity}: {_place(flaw.file, flaw.tensor)}{flaw.message}")
        for flaw in outcome.flaws
    ]


def _place(file: str | None, tensor: str | None) -> str:
    return "".join(f"{part}: " for part in (file, tensor) if part is not None)


def _attribute(value: str) -> str:
    return quoteattr(_text(value) or " ")


def _text(value: str) -> str:
    return _NOT_XML.sub("?", one_line(value))


def _timestamp() -> str:
    """Now, in UTC: the schema wants no zone. `SOURCE_DATE_EPOCH` sets it, as in other tools."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = int(epoch) if epoch.isdecimal() and len(epoch) < _LONGEST_EPOCH else time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


_LONGEST_EPOCH = 12  # digits: year 5138
