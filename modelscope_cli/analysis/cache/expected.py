"""What each file of the cache should hold, and so which must be hashed how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from modelscope_cli.analysis.cache.facts import (
    GIT_SHA1,
    SHA256,
    Chain,
    Entry,
    Known,
    Repo,
    Snapshot,
    Stamp,
    algorithm_of,
)

BOTH = (SHA256, GIT_SHA1)


class Wanted(NamedTuple):
    """A file whose hash is asked for."""

    path: str
    stamp: Stamp
    algorithms: tuple[str, ...]


def of_entry(snapshot: Snapshot, entry: Entry) -> Known | None:
    """What a snapshot's file should be: by its blob's name, else by what was noted of the commit.

    The name of a place outside the cache says nothing.
    """
    noted = (snapshot.tree or {}).get(entry.path)
    by_name = None if entry.chain.outside and entry.chain.file else of_blob(entry.blob)
    if by_name is not None and noted is not None and noted.hash == by_name.hash:
        return noted
    return by_name or noted


def of_blob(name: str | None) -> Known | None:
    """What a blob of this name should be; None where the name is no hash."""
    algorithm = None if name is None else algorithm_of(name)
    return None if name is None or algorithm is None else Known(None, name, algorithm)


def wanted_of_entry(repo: Repo, snapshot: Snapshot, entry: Entry) -> Wanted | None:
    """How to check a snapshot's file; None where nothing could be compared, or nothing is there."""
    known = of_entry(snapshot, entry)
    algorithms: tuple[str, ...] = (known.algorithm,) if known else ()
    if entry.chain.link is None and known is None and repo.blobs:
        algorithms = BOTH  # a regular file among links: perhaps a copy of one of the blobs
    return _wanted(entry.chain, algorithms)


def wanted_of_blob(name: str, chain: Chain) -> Wanted | None:
    """How to check a blob that no snapshot names."""
    known = of_blob(name)
    return _wanted(chain, (known.algorithm,) if known else ())


def _wanted(chain: Chain, algorithms: tuple[str, ...]) -> Wanted | None:
    if chain.file is None or not algorithms:
        return None
    return Wanted(chain.end, chain.file, algorithms)


def of_snapshots(repo: Repo, snapshots: Iterable[Snapshot]) -> Iterator[Wanted]:
    """Every file of these snapshots that can be checked."""
    for snapshot in snapshots:
        for entry in snapshot.entries:
            if (wanted := wanted_of_entry(repo, snapshot, entry)) is not None:
                yield wanted


def suspects(repo: Repo) -> Iterator[Wanted]:
    """The files that names, sizes and times alone cast a doubt on.

    A download makes the link after its blob, so a blob newer than its oldest link was written
    through one; a regular file among links has taken the place of one.
    """
    oldest: dict[tuple[int, int], int] = {}
    for _, entry in repo.entries():
        if entry.chain.file is not None and entry.chain.link is not None:
            made = entry.chain.link.mtime_ns
            identity = entry.chain.file.identity
            oldest[identity] = min(made, oldest.get(identity, made))
    for snapshot, entry in repo.entries():
        wanted = wanted_of_entry(repo, snapshot, entry)
        file = entry.chain.file
        if wanted is None or file is None:
            continue
        noted = (snapshot.tree or {}).get(entry.path)
        other_size = noted is not None and noted.size not in (None, file.size)
        alone = entry.chain.link is None and (repo.linked or not snapshot.tree)
        newer = file.mtime_ns > oldest.get(file.identity, file.mtime_ns)
        if newer or other_size or alone or file.size == 0:
            yield wanted


def distinct(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Each file once, whatever the names that lead to it."""
    found: dict[tuple[int, int], Wanted] = {}
    for each in wanted:
        there = found.get(each.stamp.identity)
        if there is None:
            found[each.stamp.identity] = each
        elif set(each.algorithms) - set(there.algorithms):
            both = tuple(dict.fromkeys((*there.algorithms, *each.algorithms)))
            found[each.stamp.identity] = there._replace(algorithms=both)
    return list(found.values())


def orphans(repo: Repo) -> list[str]:
    """Blobs that no snapshot names."""
    named = {entry.blob for _, entry in repo.entries()}
    return [name for name in repo.blobs if name not in named]


def not_downloaded(repo: Repo, snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Files noted of a commit and not in its snapshot: those that once were, those that never.

    A blob or its lock that is still here shows that the file was downloaded.
    """
    there = {entry.path for entry in snapshot.entries}
    gone: list[str] = []
    never: list[str] = []
    for path, known in (snapshot.tree or {}).items():
        if path not in there:
            once = known.hash in repo.blobs or known.hash in repo.locks
            (gone if once else never).append(path)
    return gone, never
