"""Which repo, revision and file of the HF cache a MODEL names."""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli import target as targets
from modelscope_cli.analysis.cache.facts import NAMES, Repo
from modelscope_cli.errors import NotFound, UsageError, did_you_mean
from modelscope_cli.facts import Note
from modelscope_cli.hub_names import is_commit, revision_problem
from modelscope_cli.sources.hfcache import source as hfcache
from modelscope_cli.sources.hfcache.layout import folder_of, parse_folder
from modelscope_cli.sources.hfcache.reaching import places
from modelscope_cli.sources.hfcache.repo import CachedRepo, is_folder, names_in, no_cache, some
from modelscope_cli.sources.local import missing, not_readable


class Where(NamedTuple):
    """A place in the cache. `commit` is None for a repo without any snapshot.

    `file` is a path in the snapshot, a folder's too; `blob` the name of one blob.
    """

    folder: str
    id: str
    commit: str | None
    file: str | None = None
    blob: str | None = None
    notes: tuple[Note, ...] = ()


def locate(model: str, revision: str | None, cache_dir: str | None) -> Where:
    """Find what MODEL names. Raises NotFound, UsageError and BadRef."""
    target = targets.parse(model, revision=revision, endpoint=os.environ.get("HF_ENDPOINT"))
    expanded = os.path.expanduser(model)
    if isinstance(target, targets.HubTarget) and target.may_be_path and os.path.lexists(expanded):
        target = targets.LocalTarget(model)
    if isinstance(target, targets.BuiltinTarget):
        raise UsageError(f"{model} is built in: it lies in no cache")
    if isinstance(target, targets.LocalTarget):
        if revision is not None:
            raise UsageError(f"{model} is a path on this machine: --revision is for Hub repos")
        return _within(os.path.expanduser(target.path), model)
    cache, note = hfcache.cache_dir(cache_dir)
    folder = os.path.join(cache, folder_of("model", target.id))
    if not is_folder(folder):
        raise _not_cached(cache, target.id)
    if target.quant is not None:
        raise UsageError(f"{model}: the cache commands take a file's path, not a GGUF type")
    found = _at_revision(folder, target.id, target.revision)
    return found._replace(file=target.file, notes=(*((note,) if note else ()), *found.notes))


def _not_cached(cache: str, repo_id: str) -> NotFound:
    known = hfcache.cached_ids(cache)
    name = repo_id.rpartition("/")[2].lower()
    same = [each for each in known if each.rpartition("/")[2].lower() == name]
    hint = f"did you mean {some(same)}?" if same else did_you_mean(repo_id, known)
    return NotFound(
        f"{repo_id} is not in the HF cache at {cache}{no_cache(cache)}",
        hint or "mscope cache ls lists it",
    )


def _within(path: str, typed: str) -> Where:
    """The place in the cache that a path is, or that its links lead to."""
    if not os.path.lexists(path):
        raise missing(typed, FileNotFoundError(2, os.strerror(2)))
    for place in places(path):
        parts = place.split(os.sep)
        at = next((i for i in reversed(range(len(parts))) if parse_folder(parts[i])), None)
        if at is not None:
            return _in_repo(parts, at, typed)
    raise NotFound(
        f"{typed} lies in no HF cache",
        "files elsewhere have no name that says what they should hold",
    )


def _in_repo(parts: list[str], at: int, typed: str) -> Where:
    folder, rest = os.sep.join(parts[: at + 1]), parts[at + 1 :]
    _, repo_id = parse_folder(parts[at]) or ("", "")
    if len(rest) == 2 and rest[0] == "blobs":
        return Where(folder, repo_id, None, blob=rest[1])
    if len(rest) >= 2 and rest[0] == "snapshots" and is_commit(rest[1]):
        return Where(folder, repo_id, rest[1], "/".join(rest[2:]) or None)
    if rest not in ([], ["snapshots"], ["blobs"]):
        raise NotFound(f"{typed} is no model, snapshot or blob", f"mscope cache show {folder}")
    return _at_revision(folder, repo_id, None)


def no_snapshot(repo: Repo, commit: str) -> NotFound:
    """The error for a snapshot that was not seen: it is not there, or could not be looked at."""
    odd = repo.hidden(NAMES)
    if odd is None:
        return NotFound(f"{repo.id}: there is no snapshot {commit[:7]} in {repo.folder}")
    return NotFound(f"{repo.id}: snapshot {commit[:7]} cannot be looked at: {odd.path}: {odd.what}")


def _must_list(folder: str) -> None:
    """Raises NotFound where a folder is there and cannot be listed."""
    try:
        os.listdir(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise not_readable(folder, error) from error


def _at_revision(folder: str, repo_id: str, revision: str | None) -> Where:
    """The snapshot of a revision: of `main` where none is given, or the only one there is."""
    repo = CachedRepo(folder, repo_id)
    if revision is not None and (problem := revision_problem(revision)) is not None:
        raise UsageError(f"{revision!r} is no revision: {problem}")
    _must_list(os.path.join(folder, "snapshots"))
    commit = repo.ref(revision or "main")
    if commit is not None and commit in repo.commits():
        return Where(folder, repo_id, commit)
    if revision is not None:
        return Where(folder, repo_id, repo.commit(revision))
    commits = repo.commits()
    if len(commits) > 1:
        raise UsageError(
            f"{repo_id}: no refs/main, and {len(commits)} snapshots",
            f"--revision says which: {some(commits)}",
        )
    if commits:
        text = f"no snapshot of main: the only one, {commits[0][:7]}, is taken"
        return Where(folder, repo_id, commits[0], notes=(Note(text),))
    if not names_in(os.path.join(folder, "blobs")):
        raise repo.lacks("any snapshot", "main")
    return Where(folder, repo_id, None, notes=(Note(f"{repo_id} has blobs and no snapshot yet"),))
