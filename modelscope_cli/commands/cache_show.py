"""`mscope cache show`: where the files of a snapshot lie."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import os
from typing import Annotated

import typer

from modelscope_cli.analysis.cache.facts import Entry, Repo, Snapshot
from modelscope_cli.analysis.cache.usage import shared_with
from modelscope_cli.errors import NotFound, UsageError, did_you_mean
from modelscope_cli.facts import ModelRef, Note
from modelscope_cli.options import CachedModel, CachedName, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports.cache_show import Shown
from modelscope_cli.sources.hfcache import layout as cache_layout
from modelscope_cli.sources.hfcache.where import Where, locate, no_snapshot


@command_
def command(
    model: CachedName = None,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", show_default=False, help="One file of it, by its path in the repo."
        ),
    ] = None,
    *,
    which: CachedModel,
    output: Output,
) -> Report:
    """Show where each file of a cached snapshot lies: link, blob, shared store."""
    if model is None:
        raise UsageError("cache show needs a MODEL", "mscope cache ls lists what there is")
    where = locate(model, which.revision, which.cache_dir)
    if file is not None:
        where = where._replace(file=f"{where.file}/{file}" if where.file else file)
    repo = cache_layout.read_repo(where.folder)
    snapshot = next((each for each in repo.snapshots if each.commit == where.commit), None)
    entries = _entries(repo, snapshot, where)
    shared = shared_with(repo, where.commit or "", _neighbours(repo))
    path = repo.folder if snapshot is None else snapshot.folder
    ref = ModelRef(model, "cache", repo.id, where.commit, files=len(entries), path=path)
    unseen = {} if snapshot is None else snapshot.unlisted
    notes = [
        Note(f"{folder or 'the snapshot'}: {why}", warning=True) for folder, why in unseen.items()
    ]
    return Shown(repo, snapshot, entries, shared).report(ref, where.folder, [*where.notes, *notes])


def _entries(repo: Repo, snapshot: Snapshot | None, where: Where) -> list[Entry]:
    """The files asked for: of the snapshot, below a folder of it, or by their blob."""
    if where.blob is not None:
        found = [entry for _, entry in repo.entries() if entry.blob == where.blob]
        if not found:
            raise NotFound(f"{repo.id}: no snapshot names the blob {where.blob}")
        return found
    if snapshot is None:
        if where.commit is not None:
            raise no_snapshot(repo, where.commit)
        return []
    if where.file is None:
        return list(snapshot.entries)
    wanted = where.file.strip("/")
    found = [
        entry
        for entry in snapshot.entries
        if entry.path == wanted or entry.path.startswith(f"{wanted}/")
    ]
    if not found and (why := snapshot.hides(wanted)) is not None:
        raise NotFound(f"{repo.id}: {wanted} cannot be looked at: {why}")
    if not found:
        raise NotFound(
            f"{repo.id}: {wanted} is not in its cached snapshot {snapshot.commit[:7]}",
            did_you_mean(wanted, [entry.path for entry in snapshot.entries]),
        )
    return found


def _neighbours(repo: Repo) -> list[Repo]:
    """The other repos of the cache, where any file of this one lies in the shared store."""
    store = os.path.join(repo.cache, cache_layout.STORE, "")
    if not any(entry.chain.end.startswith(store) for _, entry in repo.entries()):
        return []
    return list(cache_layout.read_cache(repo.cache).repos)
