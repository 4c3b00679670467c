"""Bytes of tensor data: each byte of a storage once, however many tensors look into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import FileFact, TensorTable

_Span = tuple[int, int, int]  # start in the storage, bytes spanned, bytes of the tensor


def stored_bytes(rows: Sequence[RowFact], table: TensorTable, files: Sequence[FileFact]) -> int:
    """What the tensors of `rows`, rows of `table`, take in `files`."""
    total = sum(row.bytes for row in rows)
    # Only our reader's own entry is meant: other formats' metadata is whatever a file holds.
    torch = {file.path: file.metadata for file in files if file.format == "torch"}
    by_file = {path: found["extents"] for path, found in torch.items() if found.get("extents")}
    if not by_file:
        return total
    storages: dict[tuple[str | None, int], set[_Span]] = {}
    for index in (index for row in rows for index in row.row.indices):
        file, size = table.files[index], table.bytes[index]
        extent = by_file.get(file or "", {}).get(table.names[index])
        if extent is not None:
            total -= size
            spans = storages.setdefault((file, extent.storage), set())
            spans.add((extent.start, extent.bytes, size))
    return total + sum(map(_covered, storages.values()))


def _covered(spans: Iterable[_Span]) -> int:
    """Bytes that any of them has: at most what they span together, nor more than all have."""
    spanned = had = end = 0
    for start, length, size in sorted(spans):
        spanned += max(0, start + length - max(start, end))
        end = max(end, start + length)
        had += min(length, size)
    return min(spanned, had)
