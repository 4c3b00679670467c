"""What `mscope cache verify` shows: a status for each file, and what to do about the bad ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.cache.verdicts import DAMAGE, Verdict, summary
from modelscope_cli.facts import ModelRef, Note
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table

RECORD_KEYS = (
    "path", "blob", "hops", "size", "expected", "actual", "algorithm", "status", "note",
    "repo", "revision",
)  # fmt: skip
_STRICT = frozenset({"incomplete", "orphan", "unverifiable"})


class Verified(NamedTuple):
    """Everything that was judged. `model` is None for a whole cache."""

    model: ModelRef | None
    title: str
    verdicts: Sequence[Verdict]
    remedies: Sequence[str]
    read_bytes: int
    remembered_bytes: int
    strict: bool = False

    def report(self, notes: Sequence[Note]) -> Report:
        """The table of one model names every file, that of a whole cache only what is not ok."""
        return Report(
            "cache-verify",
            self.model,
            self.title,
            lambda folded: self._sections(),
            lambda: {
                "files": self._records(),
                "summary": summary(self.verdicts),
                "read_bytes": self.read_bytes,
                "remembered_bytes": self.remembered_bytes,
                "remedies": list(self.remedies),
            },
            RECORD_KEYS,
            self._records,
            notes,
            exit_code=self._exit_code(),
        )

    def _exit_code(self) -> int:
        bad = DAMAGE | _STRICT if self.strict else DAMAGE
        return int(any(verdict.status in bad for verdict in self.verdicts))

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.verdicts:
            yield {key: getattr(each, key) for key in RECORD_KEYS} | {"hops": list(each.hops)}

    def _sections(self) -> list[Section]:
        whole = self.model is None
        shown = [each for each in self.verdicts if not (whole and each.status == "ok")]
        columns = [
            *([Column("repo", "repo", "word")] if whole else []),
            *([Column("revision", "revision", "word", rank=2)] if whole else []),
            Column("path", "file", "word"),
            Column("status", "status", "word"),
            Column("size", "size", "size", rank=1),
            Column("note", "note"),
        ]
        rows: list[list[Cell]] = [
            [
                *([each.repo, (each.revision or "")[:7]] if whole else []),
                each.path if each.path is not None else f"blobs/{each.blob}",
                each.status,
                each.size,
                each.note or "",
            ]
            for each in shown
        ]
        counts: list[tuple[str, Cell, str]] = [
            (status, count, "count")
            for status, count in summary(self.verdicts).items()
            if count or status == "ok"
        ]
        counts.append(("hashed", self.read_bytes, "size"))
        if self.remembered_bytes:
            counts.append(("hashed before, unchanged since", self.remembered_bytes, "size"))
        return [
            *([Table(columns, rows)] if rows else []),
            Fields(counts),
            *([Lines(self.remedies)] if self.remedies else []),
        ]
