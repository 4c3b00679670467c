"""What `mscope cache doctor` shows: what is wrong, and what mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.cache.findings import SAVE, Finding, summary
from modelscope_cli.facts import Note
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table

RECORD_KEYS = (
    "problem", "repo", "revision", "path", "what", "remedy", "fix", "bytes", "fixed", "reason",
)  # fmt: skip
_COLUMNS = (
    Column("problem", "problem", "word"),
    Column("repo", "repo", "word", rank=1),
    Column("path", "where", "word", rank=2),
    Column("what", "what"),
)


class Examined(NamedTuple):
    """What was found. `results` holds, by a finding's number, None where it was mended, or why not.

    `planned`: what could be mended is shown; `hashed` and `files` say how much was looked at.
    """

    cache: str
    findings: Sequence[Finding]
    hashed: int
    files: int
    read_bytes: int
    planned: bool = False
    results: Mapping[int, str | None] = {}

    def report(self, notes: Sequence[Note]) -> Report:
        """Exit code 1 where damage is left."""
        left = [each for number, each in enumerate(self.findings) if not self._fixed(number)]
        return Report(
            "cache-doctor",
            None,
            f"the HF cache at {self.cache}",
            lambda folded: self._sections(),
            lambda: {
                "path": self.cache,
                "findings": self._records(),
                "summary": summary(self.findings),
                "files": self.files,
                "hashed": self.hashed,
                "read_bytes": self.read_bytes,
            },
            RECORD_KEYS,
            self._records,
            notes,
            exit_code=int(any(each.is_damage for each in left)),
        )

    def _fixed(self, number: int) -> bool:
        return number in self.results and self.results[number] is None

    def _records(self) -> Iterator[dict[str, Any]]:
        for number, each in enumerate(self.findings):
            action = each.action
            yield {
                "problem": each.problem,
                "repo": each.repo,
                "revision": each.revision,
                "path": each.path,
                "what": each.what,
                "remedy": each.remedy,
                "fix": action.kind if action else None,
                "bytes": action.bytes if action else None,
                "fixed": self._fixed(number) if number in self.results else None,
                "reason": self.results.get(number),
            }

    def _sections(self) -> list[Section]:
        looked: list[tuple[str, Cell, str]] = [
            *((problem, count, "count") for problem, count in summary(self.findings).items()),
            ("files looked at", self.files, "count"),
            ("of them hashed", self.hashed, "count"),
        ]
        if not self.findings:
            return [Lines(["nothing wrong was found"]), Fields(looked)]
        columns = [*_COLUMNS, *self._outcome_column()]
        rows: list[list[Cell]] = [
            [each.problem, each.repo, self._place(each), each.what, *self._outcome(number, each)]
            for number, each in enumerate(self.findings)
        ]
        remedies = dict.fromkeys(
            each.remedy
            for number, each in enumerate(self.findings)
            if not self._fixed(number) or (each.action and each.action.kind == SAVE)
        )
        lines = [f"- {remedy}" for remedy in remedies if remedy]
        return [Table(columns, rows), Fields(looked), *([Lines(lines)] if lines else [])]

    def _outcome_column(self) -> list[Column]:
        if self.results:
            return [Column("fixed", "done")]
        return [Column("fix", "would be", "word")] if self.planned else []

    def _outcome(self, number: int, finding: Finding) -> list[Cell]:
        if self.results:
            if number not in self.results:
                return [""]
            return [self.results[number] or "yes"]
        return [_WOULD[finding.action.kind] if finding.action else ""] if self.planned else []

    def _place(self, finding: Finding) -> str:
        return os.path.relpath(finding.path, finding.folder or self.cache)


_WOULD = {"relink": "relinked", "remove": "removed", "save and remove": "saved, then removed"}
