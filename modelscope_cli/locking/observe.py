"""What a lock would say of a model now: its files hashed, or as the Hub names their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from modelscope_cli import verifying
from modelscope_cli.analysis import params
from modelscope_cli.analysis.cache.expected import Wanted
from modelscope_cli.analysis.cache.facts import algorithm_of
from modelscope_cli.errors import NotFound
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable, Unknown
from modelscope_cli.locking.facts import GIT_SHA1, HEADER, SHA256, LockedFile, LockedModel
from modelscope_cli.sources.hfcache.links import stamp
from modelscope_cli.sources.tree import FILE, Entry

_NOT_THE_MODELS = (".cache/", ".git/")  # what downloads and checkouts keep beside a model
_LOCK = "mscope.lock"


class Seen(Protocol):
    """What is locked: an opened model and its files."""

    @property
    def ref(self) -> ModelRef:
        """Which model it is."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """What was read of it."""
        ...

    @property
    def files(self) -> Sequence[Entry]:
        """Every file."""
        ...


def model(
    seen: Seen,
    target: str,
    *,
    like: LockedModel | None = None,
    headers: bool = False,
    jobs: int | None = None,
) -> LockedModel:
    """A model as it is now. `like` is what was locked: files are hashed as they were then.

    With `headers` weight files are known by their headers alone: quick, and blind to values.
    Raises MscopeError for what cannot be read.
    """
    ref, facts = seen.ref, seen.facts
    if ref.path is None and ref.kind != "hub":
        raise NotFound(f"{target} ships with mscope: there is nothing to lock")
    wanted = {each.path: each.algorithm for each in like.files} if like is not None else {}
    entries = [each for each in seen.files if _counts(each)]
    for name in (target, *(each.path for each in entries)):
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise NotFound(f"{name!r}: a name that is no text cannot be locked", "rename it")
    plan = {each.path: wanted.get(each.path) or _kind(each, facts, headers) for each in entries}
    return LockedModel(
        target, ref.id, ref.revision, ref.format, *_totals(facts),
        complete=ref.kind != "cache", files=tuple(sorted(_files(seen, entries, plan, jobs))),
    )  # fmt: skip


def _counts(entry: Entry) -> bool:
    return (
        entry.kind == FILE
        and entry.size >= 0
        and entry.path != _LOCK
        and not entry.path.startswith(_NOT_THE_MODELS)
    )


def _kind(entry: Entry, facts: ModelFacts, headers: bool) -> str:
    """How a file is known: as its blob is named where it lies in a cache, else by sha256."""
    if headers and any(each.path == entry.path and each.header_bytes for each in facts.files):
        return HEADER
    named = entry.hash or os.path.basename(entry.link or "")
    return algorithm_of(named) or SHA256


def _totals(facts: ModelFacts) -> tuple[int | None, int | None, int | None]:
    """Tensors, parameters and bytes; None for what is not known."""
    if not isinstance(facts.tensors, TensorTable):
        return None, None, None
    totals = params.examine(facts, facts.tensors, params.Choice()).totals
    parameters = None if isinstance(totals.parameters, Unknown) else totals.parameters
    return totals.tensors, parameters, totals.bytes


def _files(
    seen: Seen, entries: Sequence[Entry], plan: Mapping[str, str], jobs: int | None
) -> Iterator[LockedFile]:
    hashed: list[Entry] = []
    for each in entries:
        if plan[each.path] == HEADER:
            yield LockedFile(each.path, each.size, HEADER, _of_header(seen, each))
        elif each.hash is not None:  # the Hub's word
            kind = algorithm_of(each.hash) or SHA256
            yield LockedFile(each.path, each.size, kind, each.hash)
        elif seen.ref.kind == "hub":
            raise NotFound(f"{each.path}: the Hub names no hash of it")
        else:
            hashed.append(each)
    yield from _of_content(_folder(seen.ref), hashed, plan, jobs)


def _folder(ref: ModelRef) -> str:
    path = ref.path or ""
    return path if os.path.isdir(path) else os.path.dirname(path)


def _of_header(seen: Seen, entry: Entry) -> str:
    """sha256 of the first bytes of a weight file, as many as its header takes."""
    length = next(each.header_bytes for each in seen.facts.files if each.path == entry.path)
    digest = hashlib.sha256()
    with open(os.path.join(_folder(seen.ref), *entry.path.split("/")), "rb") as stream:
        while length > 0 and (data := stream.read(min(length, _CHUNK))):
            digest.update(data)
            length -= len(data)
    return digest.hexdigest()


_CHUNK = 1 << 20


def _of_content(
    folder: str, entries: Sequence[Entry], plan: Mapping[str, str], jobs: int | None
) -> Iterator[LockedFile]:
    """Hash files, remembering between runs what has not changed since."""
    wanted = {each.path: _wanted(folder, each, plan[each.path]) for each in entries}
    computed = verifying.Hasher(jobs).hash(wanted.values())
    for path, (_, there, (algorithm,)) in wanted.items():
        found = computed[there.identity]
        if isinstance(found, Unknown):
            raise NotFound(f"{path}: {found.reason}")
        yield LockedFile(path, there.size, algorithm, found[algorithm])


def _wanted(folder: str, entry: Entry, algorithm: str) -> Wanted:
    """A file of the model where its bytes lie. Raises NotFound where they went away meanwhile."""
    path = entry.end or os.path.realpath(os.path.join(folder, *entry.path.split("/")))
    try:
        there = stamp(os.stat(path))
    except OSError as error:
        raise NotFound(f"{entry.path}: {error.strerror}") from error
    return Wanted(path, there, (algorithm if algorithm == GIT_SHA1 else SHA256,))
