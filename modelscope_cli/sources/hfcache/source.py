"""Models in the Hugging Face cache, as huggingface_hub lays it out. Read only, offline.

huggingface_hub itself is not imported: that takes 10 ms, and its scan stops at the first defect.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.errors import MscopeError, NotFound, UsageError, did_you_mean
from modelscope_cli.facts import ModelRef, Note
from modelscope_cli.hub_names import is_commit, repo_id_problem, revision_problem
from modelscope_cli.sources.hfcache.reaching import places
from modelscope_cli.sources.hfcache.repo import (
    CachedRepo,
    download,
    is_folder,
    names_in,
    no_cache,
    some,
)
from modelscope_cli.sources.listed import ListedSource
from modelscope_cli.sources.local import LocalFile, LocalSource
from modelscope_cli.target import HubTarget

PREFIX = "models--"
_MAX_TREE_BYTES = 64_000_000
_PREFIXES = (PREFIX, "datasets--", "spaces--", "kernels--")


class Snapshot(NamedTuple):
    """One model in the cache. `file` is set where a single file of `source` was asked for."""

    source: LocalSource
    file: str | None = None
    note: Note | None = None


def cache_dir(
    explicit: str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[str, Note | None]:
    """The hub folder: `explicit`, or as huggingface_hub finds it in the environment.

    `explicit` may be an HF_HOME: its `hub/` is then used, and the note says so.
    """
    if explicit is not None:
        return _given(explicit)
    env = os.environ if environ is None else environ
    caches = env.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    home = _expanded(env.get("HF_HOME", os.path.join(caches, "huggingface")))
    # The older name is still read, as in huggingface_hub's constants.py.
    older = env.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))
    return _expanded(env.get("HF_HUB_CACHE", older)), None


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))


def _given(explicit: str) -> tuple[str, Note | None]:
    if not explicit:
        raise UsageError("the cache folder is an empty string", "is a variable unset?")
    path = os.path.expanduser(explicit)
    inner = os.path.join(path, "hub")
    if not os.path.isdir(inner) or any(name.startswith(_PREFIXES) for name in names_in(path)):
        return path, None
    return inner, Note(f"{explicit} is an HF_HOME, no hub folder: using {inner}")


def open_snapshot(
    cache: str, target: HubTarget, typed: str | None = None, now: float | None = None
) -> Snapshot:
    """The model in the cache, at its revision (`main` where none was given).

    The note says which commit a branch or tag stands for, and how old that knowledge is at
    `now` (seconds since 1970). Raises NotFound, UsageError (a short commit that fits several)
    and BadRef.
    """
    folder = os.path.join(cache, folder_name(target.id))
    if not is_folder(folder):
        raise _not_cached(cache, target)
    revision = target.revision or "main"
    if (problem := revision_problem(revision)) is not None:
        raise UsageError(f"{revision!r} is no revision: {problem}")
    repo = CachedRepo(folder, target.id)
    commit = repo.ref(revision)
    note = None if commit is None else Note(repo.age_text(revision, commit, now))
    if commit is None:
        commit = repo.commit(revision)
    if not is_folder(repo.snapshot(commit)):
        raise repo.lacks(f"{revision} = {commit[:7]}", revision)
    inner = target.file.split("/") if target.file else []
    return _opened(repo, commit, inner, typed or str(target))._replace(note=note)


def within(path: str, typed: str) -> Snapshot | None:
    """The model at a path inside a cache; None where `path` is in none.

    `…/models--org--name` is its `main`, or its only snapshot; a path at or below
    `…/snapshots/<commit>` is that commit, and `file` its last part where that is no folder.
    A link from elsewhere counts as the place in the cache that it leads to.
    """
    found = (_at(place, typed) for place in places(path) if PREFIX in place)
    return next((each for each in found if each is not None), None)


def _at(place: str, typed: str) -> Snapshot | None:
    parts = place.split(os.sep)
    at = next((i for i in reversed(range(len(parts))) if _id_of(parts[i]) is not None), None)
    if at is None:
        return None
    repo = CachedRepo(os.sep.join(parts[: at + 1]), _id_of(parts[at]) or "")
    rest = parts[at + 1 :]
    if len(rest) >= 2 and rest[0] == "snapshots" and is_commit(rest[1]):
        return _opened(repo, rest[1], rest[2:], typed)
    if rest not in ([], ["snapshots"]) or not repo.looks_like_one():
        return None
    commit, note = _main_or_only(repo)
    return _opened(repo, commit, [], typed)._replace(note=note)


def listed(found: Snapshot) -> ListedSource | None:
    """Every file of the snapshot's commit, downloaded or not; None where nobody knows.

    `snapshot_download` writes them down, `trees/<commit>.json`.
    """
    ref = found.source.ref
    repo, inner = found.source.root, ""
    while repo and os.path.basename(repo) != ref.revision:
        repo, name = os.path.split(repo)
        inner = f"{name}/{inner}".rstrip("/")
    above = os.path.dirname(os.path.dirname(repo))
    tree = os.path.join(above, "trees", f"{ref.revision}.json")
    try:
        with LocalFile(tree, tree) as file:
            said = json.loads(file.read_at(0, min(file.size, _MAX_TREE_BYTES)))
        sizes = {path: int(each["size"]) for path, each in said["files"].items()}
    except (MscopeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return ListedSource(sizes, ref, inner)


def cached_ids(cache: str) -> list[str]:
    """Ids of the models that have a folder in the cache; folders with impossible names left out."""
    return sorted(filter(None, map(_id_of, names_in(cache))))


def folder_name(repo_id: str) -> str:
    """`models--org--name`. An id cannot hold `--`, so this can be turned back."""
    return PREFIX + repo_id.replace("/", "--")


def _id_of(folder: str) -> str | None:
    if not folder.startswith(PREFIX):
        return None
    repo_id = folder.removeprefix(PREFIX).replace("--", "/")
    return repo_id if repo_id_problem(repo_id) is None else None


def _main_or_only(repo: CachedRepo) -> tuple[str, Note]:
    commit = repo.ref("main")
    if commit is not None:
        if not is_folder(repo.snapshot(commit)):
            raise repo.lacks(f"main = {commit[:7]}", "main")
        return commit, Note(repo.age_text("main", commit, None))
    commits = repo.commits()
    if not commits:
        raise repo.lacks("any snapshot", "main")
    if len(commits) > 1:
        raise UsageError(
            f"{repo.folder}: no refs/main, and {len(commits)} snapshots",
            f"open one of the folders in snapshots: {some(commits)}",
        )
    return commits[0], Note(f"no refs/main: the only snapshot, {commits[0][:7]}, is taken")


def _opened(repo: CachedRepo, commit: str, inner: Sequence[str], typed: str) -> Snapshot:
    """The snapshot, a folder in it, or the folder of a file in it."""
    path = os.path.join(repo.snapshot(commit), *inner)
    ref = ModelRef(typed, "cache", id=repo.id, revision=commit, path=path)
    # A broken link is a file to be opened, which then says what is wrong with it.
    if os.path.isdir(path):
        return Snapshot(LocalSource(path, ref))
    if not inner or not os.path.lexists(path):
        raise _nothing_there(repo, commit, inner)
    return Snapshot(LocalSource(os.path.dirname(path), ref), inner[-1])


def _nothing_there(repo: CachedRepo, commit: str, inner: Sequence[str]) -> NotFound:
    if not inner or not is_folder(repo.snapshot(commit)):
        return repo.lacks(f"snapshot {commit[:7]}", commit)
    file = "/".join(inner)
    near = did_you_mean(inner[-1], names_in(os.path.join(repo.snapshot(commit), *inner[:-1])))
    # huggingface_hub remembers here what it asked for in vain.
    if os.path.lexists(os.path.join(repo.folder, ".no_exist", commit, *inner)):
        return NotFound(f"{repo.id} has no {file} at {commit[:7]}", near)
    hint = download(repo.id, commit, file)
    return NotFound(
        f"{repo.id}: {file} is not in its cached snapshot {commit[:7]}",
        f"{near}; {hint}" if near else hint,
    )


def _not_cached(cache: str, target: HubTarget) -> NotFound:
    where = f"the HF cache at {cache}"
    if target.may_be_path:
        what = f"{target.id}: no file or folder of that name here, and no such model in {where}"
    else:
        what = f"{target.id} is not in {where}"
    what += no_cache(cache)
    others = near(target.id, cached_ids(cache))
    hint = download(target.id, target.revision)
    return NotFound(what, f"{others}; {hint}" if others else hint)


def near(repo_id: str, known: Sequence[str]) -> str | None:
    """A hint at ids with the same name under another organisation, else ids spelled alike."""
    name = repo_id.rpartition("/")[2].lower()
    same = [other for other in known if other.rpartition("/")[2].lower() == name]
    return f"did you mean {some(same)}?" if same else did_you_mean(repo_id, known)
