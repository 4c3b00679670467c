"""Mend the HF cache: make links, remove leftovers, save changed bytes first. Nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets

from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import GIT_SHA1, Stamp, key
from modelscope_cli.analysis.cache.findings import RELINK, REMOVE, SAVE, Action
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.sources.hfcache.layout import read_repo
from modelscope_cli.sources.hfcache.links import stamp
from modelscope_cli.sources.hfcache.locks import taken

_CHUNK = 1 << 20


class Mender:
    """Does what was listed, a repo at a time; each answer is None when done, else why not."""

    def __init__(self, keep: str | None) -> None:
        self.keep = keep
        self._orphans: dict[str, list[str] | Unknown] = {}  # by the repo, as it is now

    def apply(self, action: Action, repo_folder: str) -> str | None:
        """Do one thing, unless the file changed, is in use or lies outside the repo."""
        if not _lies_in(repo_folder, action.path):
            return "it lies outside of the repo's folder"
        try:
            with taken(_lock_path(repo_folder, action.lock)) as free:
                if not free:
                    return "in use: a download holds its lock"
                if not _unchanged(action.path, action.stamp):
                    return "it has changed since it was found"
                if action.orphan and not self._is_orphan(action.lock or "", repo_folder):
                    return "a snapshot may name it by now"
                return self._do(action, repo_folder)
        except OSError as error:
            return error.strerror or str(error)

    def _is_orphan(self, blob: str, repo_folder: str) -> bool:
        """Whether it still is one: a download may have linked to it, and left it as it was."""
        if repo_folder not in self._orphans:
            self._orphans[repo_folder] = expected.orphans(read_repo(repo_folder))
        found = self._orphans[repo_folder]
        return not isinstance(found, Unknown) and blob in found

    def _do(self, action: Action, repo_folder: str) -> str | None:
        if action.kind == RELINK:
            return _relink(action)
        if action.kind == SAVE:
            return self._save(action, repo_folder)
        if action.kind == REMOVE:
            os.unlink(action.path)
        return None

    def _save(self, action: Action, repo_folder: str) -> str | None:
        if self.keep is None or action.digest is None:
            return "its bytes are saved nowhere"
        for name in action.names:
            place = os.path.join(self.keep, os.path.basename(repo_folder), *name.split("/"))
            if (problem := _copy(action, place)) is not None:
                return problem
        if not _unchanged(action.path, action.stamp):
            return "it changed while it was saved"
        os.unlink(action.path)
        for name in action.names:
            link = os.path.join(repo_folder, "snapshots", *name.split("/"))
            if _lies_in(repo_folder, link) and os.path.islink(link) and not os.path.exists(link):
                os.unlink(link)
        return None


def check_keep(keep: str, cache: str) -> str:
    """The folder for changed bytes, as an absolute path. Raises UsageError."""
    path = os.path.abspath(os.path.expanduser(keep))
    if not keep:
        raise UsageError("--keep is an empty string", "is a variable unset?")
    inside = os.path.join(os.path.realpath(path), "")
    if inside.startswith(os.path.join(os.path.realpath(cache), "")):
        raise UsageError(f"--keep {keep} lies in the cache itself", "name a folder elsewhere")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise UsageError(f"--keep {keep} is no folder")
    return path


def _lies_in(folder: str, path: str) -> bool:
    """Whether a file lies below the repo's folder, no link on the way there."""
    above = os.path.realpath(os.path.dirname(path))
    expected = os.path.normpath(
        os.path.join(os.path.realpath(folder), os.path.relpath(os.path.dirname(path), folder))
    )
    return above == expected and not os.path.relpath(path, folder).startswith("..")


def _lock_path(repo_folder: str, blob: str | None) -> str:
    cache, name = os.path.split(repo_folder)
    return os.path.join(cache, ".locks", name, f"{blob}.lock")


def _unchanged(path: str, found: Stamp | None) -> bool:
    try:
        status = stamp(os.lstat(path))
    except FileNotFoundError:
        return found is None
    return found is not None and key(status) == key(found)


def _relink(action: Action) -> str | None:
    """Put a link where a link, a file or nothing was, in one step."""
    path, target = action.path, action.target or ""
    try:
        blob = stamp(os.stat(os.path.join(os.path.dirname(path), target)))
    except FileNotFoundError:
        return "its blob is gone"
    if action.target_stamp is None or key(blob) != key(action.target_stamp):
        return "its blob has changed since it was hashed"
    if action.stamp is None:
        os.symlink(target, path)
        return None
    beside = f"{path}.{secrets.token_hex(4)}.tmp"
    os.symlink(target, beside)
    try:
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    return None


def _copy(action: Action, place: str) -> str | None:
    """Copy bytes to a new file and see that they are those that were hashed."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    algorithm, digest = action.digest or ("", "")
    hasher = hashlib.sha256()
    if algorithm == GIT_SHA1:
        hasher = hashlib.sha1(b"blob %d\0" % action.bytes, usedforsecurity=False)
    source = os.open(action.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with open(source, "rb") as data, open(_new_name(place), "xb") as out:
        while chunk := data.read(_CHUNK):
            hasher.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return None if hasher.hexdigest() == digest else "it changed while it was saved"


def _new_name(place: str) -> str:
    """A name that is not taken: nothing saved earlier is written over."""
    found, number = place, 1
    while os.path.lexists(found):
        number += 1
        found = f"{place}.{number}"
    return found
