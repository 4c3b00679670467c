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
    titles = {rule.id: rule.title for rule in checks.rules}
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    for number, model in enumerate(checks.models):
        yield from _suite(number, model, titles)
    yield "</testsuites>\n"


def _suite(number: int, model: CheckedModel, titles: dict[str, str]) -> Iterator[str]:
    statuses = [outcome.status for outcome in model.outcomes]
    name = _attribute(model.model.target)
    yield (
        f'  <testsuite name={name} package="mscope.audit" id="{number}" hostname="localhost"'
        f' timestamp="{_timestamp()}" tests="{len(statuses) + (model.error is not None)}"'
        f' failures="{statuses.count("failed")}" errors="{int(model.error is not None)}"'
        f' skipped="{statuses.count("skipped")}" time="0">\n    <properties>\n'
    )
    for key in ("kind", "id", "revision", "format"):
        if (value := getattr(model.model, key)) is not None:
            yield f'      <property name="{key}" value={_attribute(str(value))}/>\n'
    yield "    </properties>\n"
    if model.error is not None:
        yield _CASE.format('"the model can be looked at"', name)
        yield f'>\n      <error type="error" message={_attribute(model.error)}/>\n    </testcase>\n'
    for outcome in model.outcomes:
        yield _case(outcome, name, titles)
    yield "    <system-out></system-out>\n    <system-err></system-err>\n  </testsuite>\n"


def _case(outcome: Outcome, model: str, titles: dict[str, str]) -> str:
    title = f"{outcome.rule} {titles.get(outcome.rule, '')}".strip()
    start = _CASE.format(_attribute(title), model)
    if outcome.status == "skipped":
        inner = f"<skipped message={_attribute(outcome.reason or '')}/>"
    elif outcome.status == "failed":
        inner = _failure(outcome)
    else:
        return f"{start}/>\n"
    return f"{start}>\n      {inner}\n    </testcase>\n"


def _failure(outcome: Outcome) -> str:
    """The first finding as the message, and all of them, a line each, as the text."""
    lines = [
        f"{flaw.severity}: {_place(flaw.file, flaw.tensor)}{flaw.message}" for flaw in outcome.flaws
    ]
    first = outcome.flaws[0].message if outcome.flaws else outcome.reason or ""
    text = "\n".join(escape(_text(line)) for line in lines)
    return f"<failure type={_attribute(outcome.rule)} message={_attribute(first)}>{text}</failure>"


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
