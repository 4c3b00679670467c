"""What was locked against what is there, as lines of a diff. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.locking.facts import KIND, Drift, LockedFile, LockedModel

_FIELDS = ("id", "revision", "format", "tensors", "parameters", "bytes")


def drifts(locked: LockedModel, found: LockedModel) -> list[Drift]:
    """Every difference, fields first, then files by path; none where all is as it was locked.

    Of a snapshot that holds only what was downloaded, what is not there is no difference, as
    long as it is the same commit.
    """
    partial = not (locked.complete and found.complete)
    lenient = partial and locked.revision is not None and locked.revision == found.revision
    return [
        *_fields(locked, found, lenient=lenient),
        *_files(locked, found, lenient=lenient),
    ]


def _fields(locked: LockedModel, found: LockedModel, *, lenient: bool) -> Iterator[Drift]:
    for field in _FIELDS:
        before, after = getattr(locked, field), getattr(found, field)
        if before == after or (lenient and None in (before, after)):
            continue
        yield Drift(locked.target, field, _text(before), _text(after))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _files(locked: LockedModel, found: LockedModel, *, lenient: bool) -> Iterator[Drift]:
    before = {each.path: each for each in locked.files}
    after = {each.path: each for each in found.files}
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if lenient and (old is None or new is None):
            continue
        if not _same(old, new):
            yield Drift(locked.target, path, _described(old), _described(new), path)


def _same(old: LockedFile | None, new: LockedFile | None) -> bool:
    """By the hash, where both are of one kind; sizes alone cannot say that nothing changed."""
    return old == new


def sentence(drift: Drift) -> str:
    """One difference as a finding: its lines of the diff as one."""
    return "not as locked: " + " ".join(_pair(drift))


def _described(file: LockedFile | None) -> str | None:
    if file is None or file.algorithm == KIND:
        return None if file is None else file.digest
    return f"{file.size:,} bytes, {file.algorithm} {file.digest}"


def lines(found: Sequence[Drift]) -> Iterator[str]:
    """The differences as a diff: the model, then what was locked and what is there."""
    model = None
    for each in found:
        if each.model != model:
            model = each.model
            yield f"  {model}"
        yield from _pair(each)


def _pair(drift: Drift) -> Iterator[str]:
    """What was, and what is."""
    if drift.locked is not None:
        yield f"- {drift.what}: {drift.locked}"
    if drift.found is not None:
        yield f"+ {drift.what}: {drift.found}"
