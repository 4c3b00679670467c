"""What a lock would say of a model now: its files hashed, or as the Hub names their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from modelscope_cli import verifying
from modelscope_cli.analysis import params
from modelscope_cli.analysis.cache.expected import Wanted
from modelscope_cli.analysis.cache.facts import algorithm_of
from modelscope_cli.errors import MscopeError, NotFound
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable, Unknown
from modelscope_cli.formats import base
from modelscope_cli.locking.facts import GIT_SHA1, HEADER, KIND, SHA256, LockedFile, LockedModel
from modelscope_cli.sources.base import OpenFile
from modelscope_cli.sources.hfcache.links import stamp
from modelscope_cli.sources.tree import FILE, FOLDER, Entry

_NOT_THE_MODELS = (".cache/", ".git/")  # what downloads and checkouts keep beside a model
_LOCK = "mscope.lock"


class Seen(Protocol):
    """What is locked: an opened model and its files."""

    @property
    def ref(self) -> ModelRef:
        """Which model it is."""
        ...

    @property
    def opened(self) -> ModelFacts | MscopeError:
        """What was read of it, or why it could not be."""
        ...

    @property
    def files(self) -> Sequence[Entry]:
        """Every file."""
        ...

    def open(self, path: str) -> OpenFile:
        """One of its files."""
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

    With `headers` weight files are known by their headers alone: quick, and blind to values. A
    damaged model has files too, which say what changed: its totals are those of `like`. Raises
    MscopeError for files that cannot be read.
    """
    ref = seen.ref
    if ref.path is None and ref.kind != "hub":
        raise NotFound(f"{target} ships with mscope: there is nothing to lock")
    wanted = {each.path: each.algorithm for each in like.files} if like is not None else {}
    entries = [each for each in seen.files if _is_the_models(each)]
    for name in (target, *(each.path for each in entries)):
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise NotFound(f"{name!r}: a name that is no text cannot be locked", "rename it")
    lengths = _header_lengths(seen, wanted)
    asked = set(lengths) if headers else {path for path, how in wanted.items() if how == HEADER}
    plan = {each.path: _algorithm(each, wanted, asked & lengths.keys()) for each in entries}
    return LockedModel(
        target, ref.id, ref.revision, *_totals(seen, like),
        complete=ref.kind != "cache",
        files=tuple(sorted(_files(seen, entries, plan, lengths, jobs))),
    )  # fmt: skip


def _is_the_models(entry: Entry) -> bool:
    """Folders are known by what is in them, a link to one by where it leads."""
    inside = not entry.path.startswith(_NOT_THE_MODELS)
    return inside and entry.path != _LOCK and (entry.kind != FOLDER or entry.link is not None)


def _header_lengths(seen: Seen, wanted: Mapping[str, str]) -> dict[str, int]:
    """Bytes of each weight file's header; of a damaged model those of files that can be read."""
    if isinstance(seen.opened, ModelFacts):
        return {each.path: each.header_bytes for each in seen.opened.files if each.header_bytes}
    found: dict[str, int] = {}
    for path in (path for path, algorithm in wanted.items() if algorithm == HEADER):
        with suppress(MscopeError), seen.open(path) as file:
            found[path] = base.sniff(file).reader().read(file).fact.header_bytes
    return found


def _algorithm(entry: Entry, wanted: Mapping[str, str], by_header: Collection[str]) -> str:
    """How a file is known: as it was, as its blob is named where it lies in a cache, by sha256."""
    if entry.kind != FILE or entry.size < 0:
        return KIND
    if entry.path in by_header:
        return HEADER
    before = wanted.get(entry.path)
    if before in (SHA256, GIT_SHA1):
        return before
    return algorithm_of(entry.hash or os.path.basename(entry.link or "")) or SHA256


_Totals = tuple[str | None, int | None, int | None, int | None]


def _totals(seen: Seen, like: LockedModel | None) -> _Totals:
    """Format, tensors, parameters and bytes; None for what is not known."""
    facts = seen.opened
    if isinstance(facts, MscopeError):
        if like is None:
            raise facts
        return like.format, like.tensors, like.parameters, like.bytes
    if not isinstance(facts.tensors, TensorTable):
        return seen.ref.format, None, None, None
    totals = params.examine(facts, facts.tensors, params.Choice()).totals
    parameters = None if isinstance(totals.parameters, Unknown) else totals.parameters
    return seen.ref.format, totals.tensors, parameters, totals.bytes


def _files(
    seen: Seen,
    entries: Sequence[Entry],
    plan: Mapping[str, str],
    lengths: Mapping[str, int],
    jobs: int | None,
) -> Iterator[LockedFile]:
    hashed: list[Entry] = []
    for each in entries:
        if plan[each.path] == KIND:
            link = f" link to {each.link}" if each.link else ""
            yield LockedFile(each.path, 0, KIND, f"{each.kind}{link}")
        elif plan[each.path] == HEADER:
            digest = _of_header(seen.ref, each.path, lengths[each.path])
            yield LockedFile(each.path, each.size, HEADER, digest)
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


def _of_header(ref: ModelRef, path: str, length: int) -> str:
    """sha256 of the first bytes of a weight file, as many as its header takes."""
    digest = hashlib.sha256()
    with open(os.path.join(_folder(ref), *path.split("/")), "rb") as stream:
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
