"""What `cache ls` counts: bytes once each, whatever the number of names they have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import CacheFacts, Repo, Snapshot, Stamp
from modelscope_cli.facts import Unknown


class SnapshotUsage(NamedTuple):
    """One revision. `detached`: no ref names it; Unknown where not every ref can be read."""

    commit: str
    refs: tuple[str, ...]
    files: int
    bytes: int
    detached: bool | Unknown


class RepoUsage(NamedTuple):
    """One repo. `bytes` counts every file of it once, `last_used_ns` is the latest access."""

    kind: str
    id: str
    snapshots: tuple[SnapshotUsage, ...]
    refs: Mapping[str, str]
    bytes: int
    last_used_ns: int | None
    broken: int
    incomplete: int
    orphans: int | Unknown

    @property
    def detached(self) -> int | Unknown:
        """How many revisions no ref names."""
        found = [each.detached for each in self.snapshots]
        return next((each for each in found if isinstance(each, Unknown)), found.count(True))


class CacheUsage(NamedTuple):
    """The whole cache; `unused_store_bytes` lie in the shared store and no repo names them."""

    repos: tuple[RepoUsage, ...]
    total_bytes: int
    unused_store_bytes: int


def of_cache(cache: CacheFacts) -> CacheUsage:
    """Sums of a whole cache."""
    of_repos = [_unique(stamps(repo)) for repo in cache.repos]
    used = {identity for files in of_repos for identity in files}
    store = _unique(blob.stamp for blob in cache.store)
    unused = sum(stamp.size for identity, stamp in store.items() if identity not in used)
    together: dict[tuple[int, int], Stamp] = {}
    for files in of_repos:
        together.update(files)
    return CacheUsage(
        tuple(of_repo(repo) for repo in cache.repos),
        sum(stamp.size for stamp in together.values()) + unused,
        unused,
    )


def of_repo(repo: Repo) -> RepoUsage:
    """Sums of one repo."""
    files = _unique(stamps(repo))
    missing = sum(len(expected.not_downloaded(repo, each)[0]) for each in repo.snapshots)
    orphans = expected.orphans(repo)
    return RepoUsage(
        repo.kind,
        repo.id,
        tuple(_of_snapshot(repo, each) for each in repo.snapshots),
        repo.refs,
        sum(stamp.size for stamp in files.values()),
        max((stamp.atime_ns for stamp in files.values()), default=None),
        sum(entry.chain.file is None for _, entry in repo.entries()) + missing,
        len(repo.incomplete),
        orphans if isinstance(orphans, Unknown) else len(orphans),
    )


def stamps(repo: Repo) -> Iterator[Stamp]:
    """Every file that a repo keeps; not what a link out of the cache leads to."""
    for _, entry in repo.entries():
        if entry.chain.file is not None and not entry.chain.outside:
            yield entry.chain.file
    for chain in repo.blobs.values():
        if chain.file is not None and not chain.outside:
            yield chain.file
    yield from repo.incomplete.values()


def _of_snapshot(repo: Repo, snapshot: Snapshot) -> SnapshotUsage:
    files = [entry.chain.file for entry in snapshot.entries if entry.chain.file is not None]
    return SnapshotUsage(
        snapshot.commit,
        snapshot.refs,
        len(snapshot.entries),
        sum(stamp.size for stamp in _unique(files).values()),
        expected.detached(repo, snapshot),
    )


def _unique(found: Iterable[Stamp]) -> dict[tuple[int, int], Stamp]:
    return {stamp.identity: stamp for stamp in found}


def shared_with(
    repo: Repo, commit: str, others: Iterable[Repo]
) -> dict[tuple[int, int], list[str]]:
    """Who else names each file: other revisions of this repo, then other repos, by identity."""
    found: dict[tuple[int, int], list[str]] = {}
    for each in (repo, *(other for other in others if other.folder != repo.folder)):
        for snapshot, entry in each.entries():
            if entry.chain.file is None or (each is repo and snapshot.commit == commit):
                continue
            names = found.setdefault(entry.chain.file.identity, [])
            name = snapshot.commit if each is repo else each.id
            if name not in names:
                names.append(name)
    return found
