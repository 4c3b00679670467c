"""What `mscope cache ls` shows: repos, sizes, what is broken; and mscope's own cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelscope_cli.analysis.cache.usage import CacheUsage, RepoUsage
from modelscope_cli.analysis.cache.verdicts import iso
from modelscope_cli.facts import Note, Unknown
from modelscope_cli.report import Cell, Column, Fields, Report, Section, Table

RECORD_KEYS = (
    "id", "kind", "revisions", "refs", "bytes", "last_used", "broken", "incomplete", "orphans",
    "detached", "snapshots",
)  # fmt: skip
_COLUMNS = (
    Column("id", "repo", "word"),
    Column("kind", "kind", "word", rank=5),
    Column("revisions", "revisions", "count", rank=2),
    Column("refs", "refs", "text", rank=3),
    Column("bytes", "bytes", "bytes", rank=4),
    Column("size", "size", "size"),
    Column("last_used", "last used", "word", rank=1),
    Column("state", "state", "text"),
)


def report(
    folder: str, usage: CacheUsage, own: tuple[str, int] | None, notes: Sequence[Note]
) -> Report:
    """`own` is mscope's own cache: its folder and bytes, None where there is none."""
    return Report(
        "cache-ls",
        None,
        f"the HF cache at {folder}",
        lambda folded: _sections(usage, own),
        lambda: {
            "path": folder,
            "repos": _records(usage),
            "total_bytes": usage.total_bytes,
            "unused_store_bytes": usage.unused_store_bytes,
            "mscope": None if own is None else {"path": own[0], "bytes": own[1]},
        },
        RECORD_KEYS,
        lambda: _records(usage),
        notes,
    )


def _records(usage: CacheUsage) -> Iterator[dict[str, Any]]:
    for repo in usage.repos:
        yield {
            "id": repo.id,
            "kind": repo.kind,
            "revisions": len(repo.snapshots),
            "refs": sorted(repo.refs),
            "bytes": repo.bytes,
            "last_used": None if repo.last_used_ns is None else iso(repo.last_used_ns),
            "broken": repo.broken,
            "incomplete": repo.incomplete,
            "orphans": _number(repo.orphans),
            "detached": _number(repo.detached),
            "snapshots": [
                {
                    "commit": each.commit,
                    "refs": list(each.refs),
                    "files": each.files,
                    "bytes": each.bytes,
                    "detached": _number(each.detached),
                }
                for each in repo.snapshots
            ],
            **({"unknown": unknown} if (unknown := _unknown(repo)) else {}),
        }


def _number(value: int | Unknown) -> int | None:
    """JSON's null where a number, or a yes, is not known; why is said beside it."""
    return None if isinstance(value, Unknown) else value


def _unknown(repo: RepoUsage) -> dict[str, str]:
    fields = {"orphans": repo.orphans, "detached": repo.detached}
    return {key: each.reason for key, each in fields.items() if isinstance(each, Unknown)}


def _sections(usage: CacheUsage, own: tuple[str, int] | None) -> list[Section]:
    rows = [_row(repo) for repo in usage.repos]
    total: list[Cell] = ["total", "", None, "", usage.total_bytes, usage.total_bytes, "", ""]
    extra: list[tuple[str, Cell, str]] = []
    if usage.unused_store_bytes:
        extra.append(("in the shared store, of no repo", usage.unused_store_bytes, "size"))
    if own is not None:
        extra.append((f"mscope's own cache, {own[0]}", own[1], "size"))
    return [Table(_COLUMNS, rows, total=total), *([Fields(extra)] if extra else [])]


def _row(repo: RepoUsage) -> list[Cell]:
    used = None if repo.last_used_ns is None else iso(repo.last_used_ns)
    return [
        repo.id,
        repo.kind,
        len(repo.snapshots),
        ", ".join(sorted(repo.refs)),
        repo.bytes,
        repo.bytes,
        used,
        state(repo),
    ]


def state(repo: RepoUsage) -> str:
    """What is not as it should be, in words; empty where nothing is."""
    counts: tuple[tuple[int | Unknown, str], ...] = (
        (repo.broken, "broken"),
        (repo.incomplete, "incomplete"),
        (repo.orphans, "orphaned"),
        (repo.detached, "detached"),
    )
    return ", ".join(
        f"{word}: unknown" if isinstance(count, Unknown) else f"{count:,} {word}"
        for count, word in counts
        if count
    )
