"""What each file of the cache should hold, and so which must be hashed how. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from modelscope_cli.analysis.cache.facts import (
    DANGLING,
    GIT_SHA1,
    NAMES,
    REFS,
    SHA256,
    Chain,
    Entry,
    Known,
    Repo,
    Snapshot,
    Stamp,
    algorithm_of,
    is_below,
)
from modelscope_cli.facts import Unknown

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
        yield from _relinkable(repo, snapshot)


def _relinkable(repo: Repo, snapshot: Snapshot) -> Iterator[Wanted]:
    """Blobs that no link leads to any more and one should: right or not, before one is made."""
    names = [entry.blob for entry in snapshot.entries if entry.chain.trouble == DANGLING]
    names += [(snapshot.tree or {})[path].hash for path in not_downloaded(repo, snapshot)[0]]
    for name in names:
        chain = repo.blobs.get(name or "")
        if name is not None and chain is not None and (wanted := wanted_of_blob(name, chain)):
            yield wanted


def suspects(repo: Repo) -> Iterator[Wanted]:
    """The files that names, sizes and times alone cast a doubt on.

    A download makes the link after its blob, so a blob newer than its oldest link was written
    through one; a regular file among links has taken the place of one; a blob whose link is gone
    may have been changed before it went.
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
    for snapshot in repo.snapshots:
        yield from _relinkable(repo, snapshot)


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


def orphans(repo: Repo) -> list[str] | Unknown:
    """Blobs that no snapshot names, on whatever way; Unknown where not every snapshot was seen.

    Only then may one be called left over: what nobody could list may name any of them.
    """
    if (odd := repo.hidden(NAMES)) is not None:
        return Unknown(f"{odd.path}: {odd.what}")
    names, files = _named(repo)
    return [
        name
        for name, chain in repo.blobs.items()
        if name not in names and (chain.file is None or chain.file.identity not in files)
    ]


def _named(repo: Repo) -> tuple[set[str], set[tuple[int, int]]]:
    """Blobs that links lead to or through, and the files at their ends, by other names too.

    A blob is named as well by a file that is missing: its link can be made again.
    """
    names: set[str] = set()
    files = set(repo.used_elsewhere)
    for entry in (*(each for _, each in repo.entries()), *repo.strays):
        if entry.blob is not None:
            names.add(entry.blob)
        for hop in entry.chain.hops[1:]:
            folder, name = os.path.split(hop)
            if folder == repo.blobs_folder:
                names.add(name)
        if entry.chain.file is not None:
            files.add(entry.chain.file.identity)
    for snapshot in repo.snapshots:
        tree = snapshot.tree or {}
        names.update(tree[path].hash for path in not_downloaded(repo, snapshot)[0])
    return names, files


def detached(repo: Repo, snapshot: Snapshot) -> bool | Unknown:
    """Whether no ref names a revision; Unknown where a ref that cannot be read may do."""
    if snapshot.refs:
        return False
    odd = repo.hidden(REFS)
    return True if odd is None else Unknown(f"{odd.path}: {odd.what}")


def not_downloaded(repo: Repo, snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Files noted of a commit and not in its snapshot: those that once were, those that never.

    Those that may lie in a folder which could not be listed are neither: see `hidden`.
    """
    there = {entry.path for entry in snapshot.entries}
    gone: list[str] = []
    never: list[str] = []
    for path, known in (snapshot.tree or {}).items():
        if path not in there and snapshot.hides(path) is None:
            (gone if _was_here(repo, known) else never).append(path)
    return gone, never


def hidden(repo: Repo, snapshot: Snapshot) -> list[tuple[str, str]]:
    """What cannot be looked at in folders that could not be listed, and why.

    The files that were downloaded there once, as far as that was noted, else the folder itself.
    """
    there = {entry.path for entry in snapshot.entries}
    found: list[tuple[str, str]] = []
    for folder, why in snapshot.unlisted.items():
        files = [
            path
            for path, known in (snapshot.tree or {}).items()
            if is_below(path, folder) and path not in there and _was_here(repo, known)
        ]
        found += [(path, why) for path in files or [folder or "."]]
    return found


def _was_here(repo: Repo, known: Known) -> bool:
    """Whether a file was downloaded once: its blob is still here, or the lock of its download."""
    return known.hash in repo.blobs or known.hash in repo.locks
