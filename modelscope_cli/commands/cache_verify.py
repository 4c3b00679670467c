"""`mscope cache verify`: whether the cache holds what was downloaded."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import os
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from modelscope_cli import output as writing
from modelscope_cli import verifying
from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import Asked, Known, Listing, Repo, Snapshot
from modelscope_cli.analysis.cache.remedies import Remedies
from modelscope_cli.analysis.cache.verdicts import Verdict
from modelscope_cli.errors import NotFound, UsageError, did_you_mean
from modelscope_cli.facts import ModelRef, Note, Unknown
from modelscope_cli.opening import How
from modelscope_cli.options import CachedModel, CachedName, Jobs, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports.cache_verify import Verified
from modelscope_cli.sources.hfcache import layout as cache_layout
from modelscope_cli.sources.hfcache import source as hfcache
from modelscope_cli.sources.hfcache.where import Where, locate, no_snapshot
from modelscope_cli.units import counted, size_text


class Looked(NamedTuple):
    """What of one repo is verified: these snapshots, and its leftovers where all of it is."""

    repo: Repo
    snapshots: Sequence[Snapshot]
    leftovers: bool = True


@command_
def command(
    context: typer.Context,
    model: CachedName = None,
    *,
    all: Annotated[
        bool,
        typer.Option("--all", help="Every repo of the cache, or every revision of MODEL."),
    ] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Hash files that were found right before, too.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit 1 for what is incomplete, orphaned or unverifiable, too."
        ),
    ] = False,
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Also ask the Hub what each file should be."),
    ] = False,
    jobs: Jobs = None,
    which: CachedModel,
    output: Output,
) -> Report:
    """Check cached files against the hashes that their blobs are named by, offline."""
    if all and _origin(context, "model") != "COMMANDLINE":
        model = None
    if remote and not How().may_ask:
        raise UsageError("--remote asks the Hub, and the network is switched off: HF_HUB_OFFLINE")
    hasher = verifying.Hasher(jobs, rehash=rehash)
    if model is None:
        if not all:
            raise UsageError("cache verify needs a MODEL", "mscope cache verify --all checks all")
        if which.revision is not None:
            raise UsageError("--revision needs a MODEL")
        return _whole_cache(which.cache_dir, hasher, output, strict=strict, remote=remote)
    where = locate(model, which.revision, which.cache_dir)
    repo = cache_layout.read_repo(where.folder)
    looked = _looked_at(repo, where, every=all)
    notes = list(where.notes)
    if remote:
        looked = _asked([looked], several=all)[0]
    notes += _notes(looked)
    verdicts, remedies = _judged([looked], hasher)
    commit = where.commit if not all else None
    path = repo.folder if commit is None else os.path.join(repo.folder, "snapshots", commit)
    ref = ModelRef(model, "cache", repo.id, commit, files=len(verdicts), path=path)
    title = f"{repo.id}: {f'snapshot {commit}' if commit else 'every snapshot'} in {where.folder}"
    return Verified(
        ref, title, verdicts, remedies, hasher.bytes_read, hasher.bytes_remembered, strict
    ).report(notes)


def _origin(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else source.name


def _whole_cache(
    cache_dir: str | None, hasher: verifying.Hasher, output: Output, *, strict: bool, remote: bool
) -> Report:
    folder, note = hfcache.cache_dir(cache_dir)
    cache = cache_layout.read_cache(folder)
    looked = [Looked(repo, repo.snapshots) for repo in cache.repos]
    wanted = expected.distinct(
        each for look in looked for each in expected.of_snapshots(look.repo, look.snapshots)
    )
    size = sum(each.stamp.size for each in wanted)
    first = f"{counted(len(wanted), 'file')} to be checked, {size_text(size, output.units)}"
    # Before anything is read: a whole cache can take an hour.
    writing.say(Note(first), quiet=output.quiet)
    if remote:
        looked = _asked(looked, several=True)
    verdicts, remedies = _judged(looked, hasher)
    notes = [*([note] if note else []), *(note for look in looked for note in _notes(look))]
    return Verified(
        None, f"the HF cache at {folder}", verdicts, remedies,
        hasher.bytes_read, hasher.bytes_remembered, strict,
    ).report(notes)  # fmt: skip


def _looked_at(repo: Repo, where: Where, *, every: bool) -> Looked:
    """The part of a repo that MODEL names."""
    if where.blob is not None:
        return _by_blob(repo, where.blob)
    if every:
        return Looked(repo, repo.snapshots)
    found = [each for each in repo.snapshots if each.commit == where.commit]
    if where.commit is not None and not found:
        raise no_snapshot(repo, where.commit)
    if where.file is None:
        return Looked(repo, found)
    return Looked(repo, [_only(repo, found[0], where.file)], leftovers=False)


def _only(repo: Repo, snapshot: Snapshot, file: str) -> Snapshot:
    """A snapshot with one file, or the files below one folder."""
    wanted = file.strip("/")

    def fits(path: str) -> bool:
        return path == wanted or path.startswith(f"{wanted}/")

    entries = tuple(entry for entry in snapshot.entries if fits(entry.path))
    tree = {path: known for path, known in (snapshot.tree or {}).items() if fits(path)}
    if not entries and not tree:
        raise NotFound(
            f"{repo.id}: {wanted} is not in its cached snapshot {snapshot.commit[:7]}",
            did_you_mean(wanted, [entry.path for entry in snapshot.entries]),
        )
    return snapshot._replace(entries=entries, tree=tree)


def _by_blob(repo: Repo, blob: str) -> Looked:
    """Every file that leads to one blob."""
    found = []
    for snapshot in repo.snapshots:
        entries = tuple(entry for entry in snapshot.entries if entry.blob == blob)
        if entries:
            kept: dict[str, Known] = {
                entry.path: snapshot.tree[entry.path]
                for entry in entries
                if snapshot.tree and entry.path in snapshot.tree
            }
            found.append(snapshot._replace(entries=entries, tree=kept))
    if not found:
        raise NotFound(f"{repo.id}: no snapshot names the blob {blob}")
    return Looked(repo, found, leftovers=False)


def _asked(looked: Sequence[Looked], *, several: bool) -> list[Looked]:
    """The same with what the Hub says of each commit, instead of what a download noted.

    `several`: where it knows one of them no more, the others are answered all the same.
    """
    from contextlib import closing

    from modelscope_cli.sources.hfcache.remote import Remote

    def asked(look: Looked, snapshot: Snapshot) -> Snapshot:
        if look.repo.kind != "model":
            return _uncompared(snapshot, "it is asked about models only")
        try:
            listing = remote.listing(look.repo.id, snapshot.commit)
        except NotFound as error:
            if not several:
                raise
            return _uncompared(snapshot, error.message)
        return _compared(snapshot, listing, look)

    with closing(Remote()) as remote:
        return [
            look._replace(snapshots=[asked(look, each) for each in look.snapshots])
            for look in looked
        ]


def _uncompared(snapshot: Snapshot, why: str) -> Snapshot:
    return snapshot._replace(asked=Asked(frozenset(), why))


def _compared(snapshot: Snapshot, listing: Listing, looked: Looked) -> Snapshot:
    """A snapshot with the Hub's listing, or the part of it that was asked for."""
    names = {entry.path for entry in snapshot.entries}
    tree = {path: each for path, each in listing.known.items() if looked.leftovers or path in names}
    asked = Asked(frozenset(listing.known), "it names no hash of this file")
    return snapshot._replace(tree=tree, paths=listing.paths, asked=asked)


def _judged(looked: Sequence[Looked], hasher: verifying.Hasher) -> tuple[list[Verdict], list[str]]:
    computed = hasher.hash(
        each for look in looked for each in expected.of_snapshots(look.repo, look.snapshots)
    )
    default = hfcache.cache_dir()[0]
    verdicts: list[Verdict] = []
    remedies: list[str] = []
    for look in looked:
        judge = verifying.judge(look.repo, computed)
        found = [each for snapshot in look.snapshots for each in judge.snapshot(snapshot)]
        found += judge.leftovers() if look.leftovers else ()
        verdicts += found
        is_default = os.path.realpath(look.repo.cache) == os.path.realpath(default)
        remedies += Remedies(look.repo, default=is_default).of(found)
    return verdicts, remedies


def _notes(looked: Looked) -> list[Note]:
    """What was not looked at, and what makes no sense in the repo's folder."""
    notes = [Note(f"{odd.path}: {odd.what}", warning=True) for odd in looked.repo.oddities]
    for snapshot in looked.snapshots:
        if snapshot.asked is not None and not snapshot.asked.compared:
            what = f"{looked.repo.id}, {snapshot.commit[:7]}: not compared with the Hub"
            notes.append(Note(f"{what}: {snapshot.asked.why}", warning=True))
        _, never = expected.not_downloaded(looked.repo, snapshot)
        if never:
            files = counted(len(never), "file")
            notes.append(Note(f"{files} of {snapshot.commit[:7]} were not downloaded"))
    if looked.leftovers and isinstance(orphans := expected.orphans(looked.repo), Unknown):
        text = f"{looked.repo.id}: whether blobs are orphaned is not known: {orphans.reason}"
        notes.append(Note(text, warning=True))
    others = len(looked.repo.snapshots) - len(looked.snapshots)
    if others and looked.leftovers:
        which = counted(others, "other snapshot")
        notes.append(Note(f"{which} of {looked.repo.id} not looked at: --all does"))
    return notes
