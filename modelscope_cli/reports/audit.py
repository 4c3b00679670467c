"""What `mscope audit` shows: findings, what each rule came out as, and whether it passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from modelscope_cli.audit import engine, rules
from modelscope_cli.audit.engine import Audited
from modelscope_cli.audit.finding import ERROR, SEVERITIES, Finding
from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import ModelRef, Note
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table
from modelscope_cli.reports import checks
from modelscope_cli.units import counted

RECORD_KEYS = ("rule", "severity", "message", "model", "file", "tensor", "line")


class Audit(NamedTuple):
    """Every model that was audited, in order; `fail_on` is the least severity that fails."""

    models: Sequence[Audited]
    fail_on: str
    exit_zero: bool = False
    streamed: bool = False  # the findings were printed as they came

    @property
    def passed(self) -> bool:
        """Whether nothing was found that fails."""
        return engine.passes(self.models, self.fail_on)

    def report(self, notes: Sequence[Note] = ()) -> Report:
        """Findings first, then the rules; `models` and `errors` in the document."""
        alone = self.models[0].model if len(self.models) == 1 else None
        return Report(
            "audit",
            alone,
            self._title(),
            lambda folded: self._sections(),
            self._document,
            RECORD_KEYS,
            self._records,
            (*notes, *self._unseen()),
            exit_code=self._exit_code(),
            checks=lambda: checks.of(self.models, self.fail_on),
            streamed=self.streamed,
        )

    def _unseen(self) -> Iterator[Note]:
        """A warning for each model that could not be looked at, with what to try."""
        for each in self.models:
            if each.error is not None:
                hint = f"; {each.error.hint}" if each.error.hint else ""
                yield Note(f"{_named(each.model.target, each.error)}{hint}", warning=True)

    def _exit_code(self) -> int:
        """1 for what was found; else that of a model which could not be looked at."""
        found = not engine.passes([m for m in self.models if m.error is None], self.fail_on)
        if found and not self.exit_zero:
            return 1
        return next((m.error.exit_code for m in self.models if m.error is not None), 0)

    def _title(self) -> str:
        word = "passed" if self.passed else "failed"
        names = [each.model.target for each in self.models]
        return f"{names[0] if len(names) == 1 else counted(len(names), 'model')}: {word}"

    def _findings(self) -> Iterator[Finding]:
        for each in self.models:
            yield from each.findings

    def _records(self) -> Iterator[dict[str, Any]]:
        return (record for each in self.models for record in records(each))

    def _document(self) -> dict[str, Any]:
        summed = engine.summed(self.models)
        return {
            "models": [each.model._asdict() for each in self.models],
            "passed": self.passed,
            "fail_on": self.fail_on,
            "rules": [
                {"id": s.rule.id, "title": s.rule.title, "status": s.status, "reason": s.reason}
                for s in summed
            ],
            "findings": [found._asdict() for found in self._findings()],
            "errors": [
                error_record(each.model, each.error)
                for each in self.models
                if each.error is not None
            ],
        }

    def _sections(self) -> list[Section]:
        sections: list[Section] = []
        several = len(self.models) > 1
        if found := list(self._findings()):
            sections.append(_findings_table(found, several=several))
        sections += [
            Lines([_named(each.model.target, each.error)])
            for each in self.models
            if each.error is not None
        ]
        return [*sections, _rules_table(self.models), Fields(self._counts())]

    def _counts(self) -> list[tuple[str, Cell, str]]:
        severities = [found.severity for found in self._findings()]
        rows: list[tuple[str, Cell, str]] = [
            (f"{word}s", severities.count(word), "count") for word in SEVERITIES
        ]
        return [("models", len(self.models), "count"), *rows]


def records(audited: Audited) -> Iterator[dict[str, Any]]:
    """The rows of one model: its findings, or one of no rule that says why there are none."""
    for found in audited.findings:
        yield found._asdict()
    if audited.error is not None:
        row = Finding("", ERROR, audited.error.message, audited.model.target)
        yield {**row._asdict(), "rule": None}


def error_record(model: ModelRef, error: MscopeError) -> dict[str, Any]:
    """A model that could not be looked at, for machines."""
    return {"model": model.target, "message": error.message, "exit_code": error.exit_code}


def _findings_table(found: Sequence[Finding], *, several: bool) -> Table:
    columns = [
        Column("rule", "rule", "word"),
        Column("severity", "severity", "word"),
        *([Column("model", "model", "word")] if several else []),
        Column("file", "file", "word"),
        Column("message", "what is wrong"),
    ]
    rows: list[list[Cell]] = [
        [
            each.rule,
            each.severity,
            *([each.model] if several else []),
            each.file or "",
            each.message,
        ]
        for each in found
    ]
    return Table(columns, rows)


def _rules_table(models: Sequence[Audited]) -> Table:
    columns = [
        Column("id", "rule", "word"),
        Column("title", "title"),
        Column("status", "status", "word"),
        Column("reason", "reason"),
    ]
    rows: list[list[Cell]] = [
        [each.rule.id, each.rule.title, each.status, each.reason or ""]
        for each in engine.summed(models)
    ]
    return Table(columns, rows)


LIST_KEYS = ("id", "title", "severity", "why", "remedy")


def of_rules() -> Report:
    """Every rule there is: `--list`."""
    every = list(rules.every().values())

    def records() -> Iterator[dict[str, Any]]:
        for rule in every:
            yield {
                "id": rule.id, "title": rule.title, "severity": rule.severity,
                "why": rule.why(), "remedy": rule.remedy(),
            }  # fmt: skip

    columns = [
        Column("id", "rule", "word"),
        Column("severity", "severity", "word"),
        Column("title", "title"),
    ]
    rows = [[rule.id, rule.severity, rule.title] for rule in every]
    families = [f"{family.letter}  {family.title}" for family in rules.FAMILIES.values()]
    return Report(
        "audit-list",
        None,
        "the rules of mscope audit",
        lambda folded: [Lines(families), Table(columns, rows)],
        lambda: {"rules": list(records())},
        LIST_KEYS,
        records,
    )


def of_rule(name: str) -> Report:
    """One rule, explained: `--explain ID`."""
    rule = rules.named(name)
    record = {
        "id": rule.id, "title": rule.title, "severity": rule.severity,
        "why": rule.why(), "remedy": rule.remedy(),
    }  # fmt: skip
    lines = [*rule.why().splitlines(), "", f"Remedy: {rule.remedy()}"]
    return Report(
        "audit-list",
        None,
        f"{rule.id} ({rule.severity}): {rule.title}",
        lambda folded: [Lines(lines)],
        lambda: {"rules": [record]},
        LIST_KEYS,
        lambda: iter([record]),
    )


def _named(model: str, error: MscopeError) -> str:
    """What an error says of a model; most begin with its name."""
    named = error.message.startswith(f"{model}: ")
    return error.message if named else f"{model}: {error.message}"
