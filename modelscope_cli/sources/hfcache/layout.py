"""The HF cache as it lies on the disk: repos, snapshots, blobs, the shared store. Read only.

Nothing is opened but refs and `trees/*.json`, and no folder behind a link is walked: names,
links, sizes and times are all that is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence

from modelscope_cli.analysis.cache.facts import (
    BLOBS,
    FORBIDDEN,
    NAMES,
    REFS,
    CacheFacts,
    Chain,
    Entry,
    Oddity,
    Repo,
    Snapshot,
    Stamp,
    StoreBlob,
)
from modelscope_cli.errors import NotFound
from modelscope_cli.hub_names import is_commit, repo_id_problem
from modelscope_cli.sources.hfcache import trees as cache_trees
from modelscope_cli.sources.hfcache.links import Follower, stamp
from modelscope_cli.sources.hfcache.repo import BY_SYSTEMS, CachedRepo
from modelscope_cli.sources.local import not_readable

STORE = "blobs"
STORE_MARKER = ".huggingface-shared-blobs"
INCOMPLETE = ".incomplete"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel"}
_PLURALS = {kind: plural for plural, kind in KINDS.items()}
_REPO_PARTS = frozenset({"snapshots", "blobs", "refs", "trees", ".no_exist"})
_CACHE_PARTS = frozenset({STORE, ".locks", "CACHEDIR.TAG", "version.txt", "xet", "tmp"})
_MAX_ENTRIES = 1_000_000  # in one repo: a listing that never ends must end
_MAX_DEPTH = 64
_TOO_MANY = f"more than {_MAX_ENTRIES:,} files: the rest is not looked at"
_LINK = "is a link to somewhere else: not followed"


def read_cache(folder: str, note: Callable[[str], None] | None = None) -> CacheFacts:
    """Everything in a hub folder. `note` is told each repo's folder before it is read.

    Raises NotFound where the folder itself cannot be read.
    """
    oddities: list[Oddity] = []
    repos: list[Repo] = []
    for entry in sorted(_must_scan(folder), key=lambda each: each.name):
        if parse_folder(entry.name) is not None and _is_folder(entry):
            if note is not None:
                note(entry.name)
            repos.append(read_repo(entry.path))
        elif entry.name not in _CACHE_PARTS | BY_SYSTEMS:
            oddities.append(Oddity(entry.path, "is no part of an HF cache"))
    users = _users(repos)
    return CacheFacts(
        folder,
        tuple(repo._replace(used_elsewhere=_used_elsewhere(repo, users)) for repo in repos),
        tuple(_store(folder, oddities)),
        tuple(oddities),
    )


def _users(repos: Sequence[Repo]) -> dict[tuple[int, int], set[str]]:
    """The folders of the repos whose snapshots lead to each file."""
    found: dict[tuple[int, int], set[str]] = {}
    for repo in repos:
        for entry in (*(each for _, each in repo.entries()), *repo.strays):
            if entry.chain.file is not None:
                found.setdefault(entry.chain.file.identity, set()).add(repo.folder)
    return found


def _used_elsewhere(
    repo: Repo, users: Mapping[tuple[int, int], set[str]]
) -> frozenset[tuple[int, int]]:
    """The repo's own blobs that a snapshot of another repo leads to, past the shared store."""
    own = [chain.file.identity for chain in repo.blobs.values() if chain.file and not chain.link]
    return frozenset(each for each in own if users.get(each, set()) - {repo.folder})


def parse_folder(name: str) -> tuple[str, str] | None:
    """Kind and id out of `models--org--name`; None where that is no repo's folder."""
    prefix, mark, rest = name.partition("--")
    repo_id = rest.replace("--", "/")
    if not mark or prefix not in KINDS or repo_id_problem(repo_id) is not None:
        return None
    return KINDS[prefix], repo_id


def folder_of(kind: str, repo_id: str) -> str:
    """The folder's name of a repo: the reverse of `parse_folder`."""
    return f"{_PLURALS[kind]}--{repo_id.replace('/', '--')}"


def read_repo(folder: str) -> Repo:
    """One repo's folder. Never raises: what cannot be read is an oddity."""
    folder = os.path.abspath(folder)
    cache, name = os.path.split(folder)
    kind, repo_id = parse_folder(name) or ("model", name)
    return _RepoReader(cache, folder).repo(kind, repo_id)


class _RepoReader:
    """Reads one repo; counts what it has looked at."""

    def __init__(self, cache: str, folder: str) -> None:
        self.cache = cache
        self.folder = folder
        self.follower = Follower((cache, folder))
        self.oddities: list[Oddity] = []
        self.strays: list[Entry] = []
        self.left = _MAX_ENTRIES

    def repo(self, kind: str, repo_id: str) -> Repo:
        for entry in self._scan(self.folder):
            if entry.name not in _REPO_PARTS | BY_SYSTEMS:
                self._odd(entry.path, "is no part of a cached repo")
        refs = self._refs(repo_id)
        blobs, incomplete = self._blobs()
        snapshots = tuple(self._snapshots(refs))
        self._refs_to_nothing(refs, {each.commit for each in snapshots})
        return Repo(
            self.cache, self.folder, kind, repo_id, refs,
            snapshots, blobs, incomplete, self._locks(),
            tuple(self.oddities), os.path.islink(self.folder), tuple(self.strays),
        )  # fmt: skip

    def _refs(self, repo_id: str) -> dict[str, str]:
        found = {}
        for name, value in CachedRepo(self.folder, repo_id).read_refs():
            if isinstance(value, str):
                found[name] = value
            else:
                path = self._ref_path(name)
                self._odd(path, value.message.removeprefix(f"{path}: "), REFS)
        return found

    def _ref_path(self, name: str) -> str:
        return os.path.normpath(os.path.join(self.folder, "refs", *name.split("/")))

    def _refs_to_nothing(self, refs: dict[str, str], kept: set[str]) -> None:
        """Refs whose commit has no snapshot, where every snapshot was seen.

        A download that asked for a file which the commit lacks leaves just that and `.no_exist`.
        """
        if any(odd.hides == NAMES for odd in self.oddities):
            return
        for name, commit in refs.items():
            asked = os.path.join(self.folder, ".no_exist", commit)
            if commit not in kept and not os.path.isdir(asked):
                what = f"names {commit[:7]}, of which there is no snapshot"
                self._odd(self._ref_path(name), what, REFS)

    def _snapshots(self, refs: dict[str, str]) -> Iterator[Snapshot]:
        for entry in self._folder_entries("snapshots", NAMES):
            if not is_commit(entry.name) or not _is_real_folder(entry):
                self._no_snapshot(entry)
                continue
            unlisted: dict[str, str] = {}
            noted = cache_trees.read(self.folder, entry.name, self.oddities)
            yield Snapshot(
                entry.name,
                entry.path,
                tuple(name for name, commit in refs.items() if commit == entry.name),
                tuple(self._entries(entry.path, unlisted)),
                noted.known if noted else None,
                unlisted,
                noted.paths if noted else None,
            )

    def _no_snapshot(self, entry: os.DirEntry[str]) -> None:
        """Whatever else lies there may name blobs, as a file with bytes of its own does not."""
        if entry.is_symlink():
            self._odd(entry.path, _LINK, NAMES)
        elif entry.name not in BY_SYSTEMS:
            self._odd(entry.path, "is no snapshot: a folder named by a commit")
            if _is_real_folder(entry):
                self.strays += self._entries(entry.path, {})

    def _entries(self, root: str, unlisted: dict[str, str]) -> Iterator[Entry]:
        waiting = [""]
        while waiting:
            inner = waiting.pop()
            entries, lack = self._listed(os.path.join(root, inner))
            if lack is not None:
                self._hide(root, inner, lack, unlisted)
            for entry in entries:
                path = f"{inner}/{entry.name}" if inner else entry.name
                if not _is_real_folder(entry):
                    if entry.name not in BY_SYSTEMS:
                        yield self._entry(path, entry)
                elif path.count("/") < _MAX_DEPTH:
                    waiting.append(path)
                else:
                    self._hide(root, path, "lies too deep to be of a model", unlisted)

    def _hide(self, root: str, inner: str, why: str, unlisted: dict[str, str]) -> None:
        unlisted[inner] = why
        self._odd(os.path.join(root, inner).rstrip(os.sep), why, NAMES)

    def _entry(self, path: str, entry: os.DirEntry[str]) -> Entry:
        chain = self.follower.follow(entry.path)
        blob = self._blob_name(chain)
        if chain.link is not None and _is_folder(entry):
            self._odd(entry.path, "is a link to a folder: not followed", NAMES)
        elif chain.trouble == FORBIDDEN and blob is None:
            self._odd(os.path.dirname(entry.path), f"its links: {chain.detail}", NAMES)
        return Entry(path, chain, blob)

    def _blob_name(self, chain: Chain) -> str | None:
        """The name that a link bears in a `blobs` folder: of this repo, or of where it was."""
        if not chain.hops:
            return None
        above, name = os.path.split(chain.hops[0])
        return name if os.path.basename(above) == STORE else None

    def _blobs(self) -> tuple[dict[str, Chain], dict[str, Stamp]]:
        blobs: dict[str, Chain] = {}
        incomplete: dict[str, Stamp] = {}
        for entry in self._folder_entries("blobs", BLOBS):
            if entry.name.endswith(INCOMPLETE):
                try:
                    incomplete[entry.name] = stamp(entry.stat(follow_symlinks=False))
                except OSError:
                    continue  # finished or given up meanwhile
            elif _is_real_folder(entry) or entry.name.startswith((".", "tmp_")):
                if entry.name not in BY_SYSTEMS:
                    self._odd(entry.path, "is no blob")
            elif not entry.name.endswith(".lock"):
                blobs[entry.name] = self.follower.follow(entry.path)
        return blobs, incomplete

    def _locks(self) -> frozenset[str]:
        names = _names(os.path.join(self.cache, ".locks", os.path.basename(self.folder)))
        return frozenset(name.removesuffix(".lock") for name in names)

    def _folder_entries(self, part: str, hides: str) -> list[os.DirEntry[str]]:
        path = os.path.join(self.folder, part)
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._odd(path, error.strerror or str(error), hides)
            return []
        if is_link:
            self._odd(path, _LINK, hides)
            return []
        return self._scan(path, hides)

    def _scan(self, path: str, hides: str | None = None) -> list[os.DirEntry[str]]:
        entries, lack = self._listed(path)
        if lack is not None:
            self._odd(path, lack, hides)
        return entries

    def _listed(self, path: str) -> tuple[list[os.DirEntry[str]], str | None]:
        """What lies in a folder, and why that is not all."""
        try:
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda each: each.name)
        except OSError as error:
            return [], error.strerror or str(error)
        more = len(entries) > self.left
        entries = entries[: self.left]
        self.left -= len(entries)
        return entries, _TOO_MANY if more else None

    def _odd(self, path: str, what: str, hides: str | None = None) -> None:
        odd = Oddity(path, what, hides)
        if odd not in self.oddities[-1:]:  # a folder is said once, whatever the number of its files
            self.oddities.append(odd)


def _store(folder: str, oddities: list[Oddity]) -> Iterator[StoreBlob]:
    """Files of the store that the repos of a cache share (huggingface_hub 2)."""
    root = os.path.join(folder, STORE)
    if not os.path.isfile(os.path.join(root, STORE_MARKER)):
        if os.path.lexists(root):
            oddities.append(Oddity(root, f"is no shared store: it lacks {STORE_MARKER}"))
        return
    for prefix in _names(root):
        if len(prefix) != 2 or os.path.islink(os.path.join(root, prefix)):
            continue
        for name in _names(os.path.join(root, prefix)):
            path = os.path.join(root, prefix, name)
            if name.endswith((".lock", ".refs", ".soft")):
                continue
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield StoreBlob(path, stamp(status))


def _must_scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise NotFound(f"there is no HF cache at {folder}", "--cache-dir names another") from error
    except OSError as error:
        raise not_readable(folder, error) from error


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a folder lies there, a link to one too: caches are spread over disks so."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
