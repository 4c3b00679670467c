"""GitHub's workflow commands: each finding an annotation, on its file where that is checked in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelscope_cli.escape import one_line
from modelscope_cli.render import places
from modelscope_cli.report import CheckedModel, Checks, Flaw, Report

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
# A runner shows ten of each kind a step: the gravest come first.
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = str.maketrans({**_DATA, ":": "%3A", ",": "%2C"})
_MESSAGE = str.maketrans(_DATA)


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """A line for each finding, and for each model that could not be looked at."""
    checks = report.checks() if report.checks is not None else Checks((), ())
    titles = {rule.id: rule.title for rule in checks.rules}
    for model in checks.models:
        if model.error is not None:
            yield _command("error", {"title": "mscope"}, f"{model.model.target}: {model.error}")
    for severity in _COMMANDS:
        for model in checks.models:
            for outcome in model.outcomes:
                title = f"{outcome.rule} {titles.get(outcome.rule, '')}".strip()
                for flaw in outcome.flaws:
                    if flaw.severity == severity:
                        yield _annotation(model, title, flaw)


def _annotation(model: CheckedModel, title: str, flaw: Flaw) -> str:
    properties: dict[str, str] = {}
    if (path := places.in_checkout(model.model, flaw.file)) is not None and flaw.file is not None:
        properties["file"] = path
        if flaw.line is not None:
            properties["line"] = str(flaw.line)
    properties["title"] = title
    where = "".join(f"{part}: " for part in (model.model.target, flaw.file) if part is not None)
    tensor = "" if flaw.tensor is None else f" (tensor {flaw.tensor})"
    return _command(_COMMANDS[flaw.severity], properties, f"{where}{flaw.message}{tensor}")


def _command(name: str, properties: Mapping[str, str], message: str) -> str:
    """One command on one line: nothing in a name can end it or begin another."""
    written = ",".join(
        f"{key}={one_line(value).translate(_PROPERTY)}" for key, value in properties.items()
    )
    return f"::{name} {written}::{one_line(message).translate(_MESSAGE)}\n"
