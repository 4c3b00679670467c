"""What `mscope cache show` shows: each file of a snapshot, hop by hop to its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis.cache.facts import Entry, Repo, Snapshot
from modelscope_cli.analysis.cache.verdicts import iso
from modelscope_cli.facts import ModelRef, Note
from modelscope_cli.report import Cell, Column, Fields, Report, Section, Table

RECORD_KEYS = ("path", "hops", "blob", "size", "mtime", "shared_with", "trouble")
_COLUMNS = (
    Column("path", "file", "word"),
    Column("blob", "blob", "word", rank=2),
    Column("hops", "leads to", "text", rank=3),
    Column("bytes", "bytes", "bytes", rank=4),
    Column("size", "size", "size"),
    Column("mtime", "written", "word", rank=1),
    Column("shared_with", "shared with", "text", rank=5),
)

Shared = Mapping[tuple[int, int], Sequence[str]]


class Shown:
    """The files of one snapshot that were asked for."""

    def __init__(
        self, repo: Repo, snapshot: Snapshot | None, entries: Sequence[Entry], shared: Shared
    ) -> None:
        self.repo = repo
        self.snapshot = snapshot
        self.entries = entries
        self.shared = shared

    def report(self, ref: ModelRef, folder: str, notes: Sequence[Note]) -> Report:
        """The listing of what lies in `folder`, as typed; one file alone is shown link by link."""
        commit = "no snapshot" if self.snapshot is None else f"snapshot {self.snapshot.commit}"
        one = len(self.entries) == 1
        return Report(
            "cache-show",
            ref,
            f"{self.repo.id}: {commit} in {folder}",
            lambda folded: [self._chain(self.entries[0])] if one else self._table(),
            lambda: {"files": self.records()},
            RECORD_KEYS,
            self.records,
            notes,
        )

    def records(self) -> Iterator[dict[str, Any]]:
        """The rows of the document."""
        for entry in self.entries:
            file = entry.chain.file
            yield {
                "path": entry.path,
                "hops": list(entry.chain.hops),
                "blob": entry.blob,
                "size": None if file is None else file.size,
                "mtime": None if file is None else iso(file.mtime_ns),
                "shared_with": self._shared_with(entry),
                "trouble": self._trouble(entry),
            }

    def _shared_with(self, entry: Entry) -> list[str]:
        file = entry.chain.file
        return [] if file is None else list(self.shared.get(file.identity, ()))

    def _trouble(self, entry: Entry) -> str | None:
        if entry.chain.outside and entry.chain.file is not None:
            return "leads out of the cache"
        return entry.chain.detail

    def _table(self) -> list[Section]:
        rows: list[list[Cell]] = []
        total: dict[tuple[int, int], int] = {}
        for record, entry in zip(self.records(), self.entries, strict=True):
            if entry.chain.file is not None:
                total[entry.chain.file.identity] = entry.chain.file.size
            rows.append(
                [
                    entry.path,
                    entry.blob or "",
                    self._leads_to(entry),
                    record["size"],
                    record["size"],
                    record["mtime"],
                    ", ".join(map(_short, record["shared_with"])),
                ]
            )
        size = sum(total.values())
        return [Table(_COLUMNS, rows, total=["total", "", "", size, size, "", ""])]

    def _leads_to(self, entry: Entry) -> str:
        places = [os.path.relpath(hop, self.repo.folder) for hop in entry.chain.hops]
        text = " -> ".join(places) if places else "a file of its own"
        trouble = self._trouble(entry)
        return text if trouble is None else f"{text} ({trouble})"

    def _chain(self, entry: Entry) -> Section:
        """One file: a line for each hop."""
        pairs: list[tuple[str, Cell, str]] = [("file", entry.chain.path, "text")]
        pairs += [("leads to", hop, "text") for hop in entry.chain.hops]
        if (trouble := self._trouble(entry)) is not None:
            pairs.append(("trouble", trouble, "text"))
        if entry.blob is not None:
            pairs.append(("blob", entry.blob, "text"))
        if entry.chain.link is not None:
            pairs.append(("link made", iso(entry.chain.link.mtime_ns), "text"))
        if (file := entry.chain.file) is not None:
            pairs += [
                ("size", file.size, "size"),
                ("bytes", file.size, "bytes"),
                ("written", iso(file.mtime_ns), "text"),
                ("last read", iso(file.atime_ns), "text"),
                ("mode", stat.filemode(file.mode), "text"),
            ]
        shared = ", ".join(self._shared_with(entry))
        return Fields([*pairs, *([("shared with", shared, "text")] if shared else [])])


def _short(name: str) -> str:
    return name[:7] if len(name) == 40 and "/" not in name else name
