"""What `mscope lock` shows: models, and what is not as it was locked, as a diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from modelscope_cli import pinning
from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import Note, Unknown
from modelscope_cli.locking import compare
from modelscope_cli.locking.facts import Drift, Lock
from modelscope_cli.pinning import Pinned
from modelscope_cli.report import Cell, Column, Lines, Report, Section, Table
from modelscope_cli.units import counted

RECORD_KEYS = ("model", "what", "file", "locked", "found")


class Locked(NamedTuple):
    """Every model that was looked at, beside its lock; `check` wrote nothing."""

    lock: Lock
    models: Sequence[Pinned]
    check: bool = False

    def write(self) -> None:
        """Take what was seen into the lock; models that failed keep what was locked of them."""
        seen = {each.target: each.now for each in self.models if each.now is not None}
        if seen:
            pinning.write(self.lock, {**self.lock.models, **seen})

    def drifts(self) -> Iterator[Drift]:
        """What is not as it was locked, model by model."""
        for each in self.models:
            if each.locked is not None and each.now is not None:
                yield from compare.drifts(each.locked, each.now)

    def errors(self) -> list[tuple[Pinned, MscopeError]]:
        """Models that could not be looked at, or that a check finds not locked."""
        found = []
        for each in self.models:
            error = pinning.error_of(each) if self.check else each.error
            if error is not None:
                found.append((each, error))
        return found

    def report(self) -> Report:
        """The diff first, then a line for each model."""
        notes = [
            Note(f"{each.model.target}: {error.message}", warning=True)
            for each, error in self.errors()
        ]
        return Report(
            "lock",
            None,
            self._title(),
            lambda folded: self._sections(),
            self._document,
            RECORD_KEYS,
            lambda: (drift._asdict() for drift in self.drifts()),
            notes,
            exit_code=self._exit_code(),
        )

    def _exit_code(self) -> int:
        if self.check and any(self.drifts()):
            return 1
        return next((error.exit_code for _, error in self.errors()), 0)

    def _title(self) -> str:
        models = counted(len(self.models), "model")
        if not self.check:
            done = sum(each.now is not None for each in self.models)
            return f"{self.lock.path}: {counted(done, 'model')} locked"
        drifted = len({drift.model for drift in self.drifts()})
        wrong = drifted + len(self.errors())
        if wrong:
            return f"{self.lock.path}: {wrong} of {models} not as locked"
        return f"{self.lock.path}: {models} as locked"

    def _document(self) -> dict[str, Any]:
        return {
            "models": [each.model._asdict() for each in self.models],
            "file": self.lock.path,
            "written": not self.check and any(each.now for each in self.models),
            "locked": [_record(each) for each in self.models if each.now is not None],
            "drift": [drift._asdict() for drift in self.drifts()],
            "errors": [
                {"model": each.model.target, "message": e.message, "exit_code": e.exit_code}
                for each, e in self.errors()
            ],
        }

    def _sections(self) -> list[Section]:
        sections: list[Section] = []
        if found := list(self.drifts()):
            sections.append(Lines(list(compare.lines(found)), verbatim=True))
        return [*sections, _table(self.models)]


def _record(pinned: Pinned) -> dict[str, Any]:
    if pinned.now is None:
        return {}
    record = pinned.now._asdict()
    record["files"] = [file._asdict() for file in pinned.now.files]
    return record


def _table(models: Sequence[Pinned]) -> Table:
    columns = [
        Column("model", "model", "word"),
        Column("revision", "revision", "word"),
        Column("files", "files", "count"),
        Column("parameters", "parameters", "count"),
        Column("bytes", "tensor bytes", "bytes"),
    ]
    rows: list[list[Cell]] = []
    for each in models:
        if (now := each.now) is None:
            rows.append([each.target, "", None, None, None])
            continue
        rows.append(
            [
                each.target,
                (now.revision or "")[:7],
                len(now.files),
                Unknown("") if now.parameters is None else now.parameters,
                Unknown("") if now.bytes is None else now.bytes,
            ]
        )
    return Table(columns, rows)
