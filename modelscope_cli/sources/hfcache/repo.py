"""One `models--org--name` folder of the Hugging Face cache: its refs, commits and snapshots."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence

from modelscope_cli.errors import FormatError, NotFound, UsageError
from modelscope_cli.hub_names import is_commit
from modelscope_cli.sources.local import LocalFile, not_readable

_MAX_REF_BYTES = 1000
_MAX_REFS = 1000
_MAY_BE_EMPTY = ("", "refs", "refs/pr")  # where pull requests were, all forgotten since
_IS_FOLDER = "is a folder, and holds no commit"
BY_SYSTEMS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # huggingface_hub's own list
_LEAST_COMMIT = 4  # git's own least length of a short commit
_SHOWN = 8
_DAY = 86_400


class BadRef(FormatError):
    """A file under `refs/` holds something else than a commit."""


class CachedRepo:
    """Reads what huggingface_hub keeps of one repo. Names and contents are not trusted."""

    def __init__(self, folder: str, repo_id: str) -> None:
        self.folder = folder
        self.id = repo_id

    def looks_like_one(self) -> bool:
        """Whether the folder has any of the parts of a cached repo, whatever its name."""
        return not {"snapshots", "refs", "blobs"}.isdisjoint(names_in(self.folder))

    def snapshot(self, commit: str) -> str:
        """Path of a commit's snapshot, there or not."""
        return os.path.join(self.folder, "snapshots", commit)

    def commits(self) -> list[str]:
        """Commits with a snapshot."""
        names = names_in(os.path.join(self.folder, "snapshots"))
        return sorted(name for name in names if is_commit(name))

    def ref(self, revision: str) -> str | None:
        """The commit that a branch, tag or `refs/pr/N` stands for; None where none is kept.

        Raises BadRef, and NotFound or NotARegularFile for what cannot be read.
        """
        path = self._ref_path(revision)
        if os.path.isdir(path) or not os.path.lexists(path):
            return None
        with LocalFile(path, path) as file:
            if file.size > _MAX_REF_BYTES:
                raise BadRef(path, f"holds {file.size:,} bytes where a commit has 40")
            text = file.read_at(0, file.size).decode("utf-8", "replace")
        if is_commit(text):
            return text
        what = f"holds {text[:60]!r}, not a commit of 40 hexadecimal digits"
        if is_commit(text.strip()):
            what += ": huggingface_hub finds no snapshot with the space around it"
        raise BadRef(path, what, hint="remove the file, then download the model again")

    def refs(self) -> dict[str, str]:
        """Every ref that can be read, and its commit; what is broken is left out."""
        return {name: value for name, value in self.read_refs() if isinstance(value, str)}

    def read_refs(self) -> Iterator[tuple[str, str | FormatError | NotFound]]:
        """Every ref, and its commit or what is wrong with it: `""` is the folder itself."""
        for name, problem in _files_below(os.path.join(self.folder, "refs")):
            try:
                value = problem or self.ref(name) or self._no_ref(name)
            except (FormatError, NotFound) as error:
                value = error
            if value is not None:
                yield name, value

    def _no_ref(self, name: str) -> BadRef | None:
        """What is wrong with a path that is neither file nor folder; None where it is gone."""
        path = self._ref_path(name)
        return BadRef(path, _IS_FOLDER) if os.path.lexists(path) else None

    def commit(self, revision: str) -> str:
        """The commit that a full or short one names. Raises NotFound, UsageError where many fit."""
        wanted = revision.lower()
        fits = [name for name in self.commits() if name.startswith(wanted)]
        if not is_commit(wanted, _LEAST_COMMIT) or not fits:
            raise self.lacks(f"revision {revision}", revision)
        if len(fits) > 1:
            raise UsageError(
                f"{self.id}: {revision} fits {len(fits)} commits in the HF cache",
                f"say which: {some(fits)}",
            )
        return fits[0]

    def held(self) -> list[str]:
        """Revisions with a snapshot: `main = d76c4a5`, or the commit alone."""
        refs = self.refs()
        kept = set(self.commits())
        known = [f"{name} = {commit[:7]}" for name, commit in refs.items() if commit in kept]
        return known + [commit[:7] for commit in sorted(kept - set(refs.values()))]

    def lacks(self, what: str, revision: str | None) -> NotFound:
        """The error for a revision that is not there, with what is."""
        known = self.held()
        there = f"it holds {some(known)}; " if known else ""
        return NotFound(
            f"{self.id}: {what} is not in the HF cache at {self.folder}",
            f"{there}{download(self.id, revision)}",
        )

    def age_text(self, revision: str, commit: str, now: float | None) -> str:
        """`main = d76c4a5, fetched 200 days ago`: since the ref's file was last written.

        huggingface_hub writes it only when the Hub names another commit than before.
        """
        path = self._ref_path(revision)
        try:
            written = os.stat(path).st_mtime
        except OSError as error:
            raise not_readable(path, error) from error
        return f"{revision} = {commit[:7]}, fetched {age(written, now)}"

    def _ref_path(self, revision: str) -> str:
        return os.path.join(self.folder, "refs", *revision.split("/"))


def age(written: float, now: float | None = None) -> str:
    """`200 days ago`, or `today`."""
    days = max(0, int((_now(now) - written) // _DAY))
    return "today" if days == 0 else f"{days:,} day{'s' if days > 1 else ''} ago"


def download(repo_id: str, revision: str | None = None, file: str | None = None) -> str:
    """The hint that brings into the cache what is not there."""
    at = "" if revision in (None, "main") else f" --revision {revision}"
    what = repo_id if file is None else f"{repo_id} {file}"
    return f"hf download {what}{at} brings it here"


def some(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def is_folder(path: str) -> bool:
    """Whether a folder is there. Raises NotFound where that cannot be told or a link is broken."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not os.path.islink(path):
            return False
        raise not_readable(path, error) from error


def no_cache(folder: str) -> str:
    """What a message about a hub folder adds where there is none: `, which does not exist`."""
    if os.path.isdir(folder):
        return ""
    return ", which is no folder" if os.path.lexists(folder) else ", which does not exist"


def names_in(folder: str) -> list[str]:
    """Names in a folder; none where it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _files_below(folder: str) -> Iterator[tuple[str, FormatError | NotFound | None]]:
    """Paths below a folder, `/` between the parts; links to folders are not followed.

    Folders that cannot be read, hold nothing or hold too much come with what is wrong with them.
    """
    waiting = [""]
    looked_at = 0
    while waiting:
        inner = waiting.pop()
        path = os.path.join(folder, *inner.split("/")) if inner else folder
        names, problem = _names_of_refs(path, inner)
        if problem is not None:
            yield inner, problem
        for name in names:
            if (looked_at := looked_at + 1) > _MAX_REFS:
                yield inner, BadRef(path, f"more than {_MAX_REFS:,} refs: the rest is not read")
                return
            below = f"{inner}/{name}" if inner else name
            place = os.path.join(path, name)
            if os.path.isdir(place) and not os.path.islink(place):
                waiting.append(below)
            elif name not in BY_SYSTEMS:
                yield below, None


def _names_of_refs(path: str, inner: str) -> tuple[list[str], FormatError | NotFound | None]:
    """Names in a folder of refs, and what is wrong with it."""
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.islink(path):
            return [], None  # no ref at all: a model downloaded by its commit
        return [], not_readable(path, error)
    return names, None if names or inner in _MAY_BE_EMPTY else BadRef(path, _IS_FOLDER)


def _now(now: float | None) -> float:
    if now is not None:
        return now
    import time

    return time.time()
