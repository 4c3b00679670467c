"""The vocabulary of the cache commands: what lies on the disk, before anyone judges it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

DANGLING = "dangling"
LOOP = "loop"
SPECIAL = "special"  # a FIFO, socket, device or folder where bytes are expected
FORBIDDEN = "forbidden"

SHA256 = "sha256"
GIT_SHA1 = "git-sha1"
_LENGTHS = {40: GIT_SHA1, 64: SHA256}
_HEX = frozenset("0123456789abcdef")


class Stamp(NamedTuple):
    """What the file system says of one file or link. Times are in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    device: int
    inode: int
    mode: int

    @property
    def identity(self) -> tuple[int, int]:
        """The same for every name of one file."""
        return self.device, self.inode


class Chain(NamedTuple):
    """Where a path leads, hop by hop.

    `hops` are the places that links led to, none for a regular file. `link` is set where the
    path itself is a link, `file` where bytes lie at the end; else `trouble` is one of DANGLING,
    LOOP, SPECIAL, FORBIDDEN and `detail` says it in words.
    """

    path: str
    hops: tuple[str, ...]
    link: Stamp | None
    file: Stamp | None
    trouble: str | None = None
    detail: str | None = None
    outside: bool = False  # the end lies in no folder of this cache

    @property
    def end(self) -> str:
        """The last place of the chain."""
        return self.hops[-1] if self.hops else self.path


class Entry(NamedTuple):
    """One file of a snapshot. `blob` is the name that its link's first hop bears in `blobs`."""

    path: str
    chain: Chain
    blob: str | None


class Known(NamedTuple):
    """What is known of a file's content without looking: its size and its hash."""

    size: int | None
    hash: str
    algorithm: str


class Listing(NamedTuple):
    """What is known of a commit's files: all their paths, if so, and what they should be."""

    paths: frozenset[str] | None
    known: Mapping[str, Known]


class Asked(NamedTuple):
    """The files of which the Hub told what they should be, and why not of the others."""

    compared: frozenset[str]
    why: str


class Snapshot(NamedTuple):
    """One commit in the cache. `tree` is what a download noted of the commit's files, if it did.

    `paths` are all files that the commit has, where they were listed; `unlisted` folders of the
    snapshot, `""` for itself, whose files are not known, and why. `asked` is set where the Hub was.
    """

    commit: str
    folder: str
    refs: tuple[str, ...]
    entries: tuple[Entry, ...]
    tree: Mapping[str, Known] | None = None
    unlisted: Mapping[str, str] = {}
    paths: frozenset[str] | None = None
    asked: Asked | None = None

    def lacks(self, path: str) -> bool:
        """Whether the commit is known to have no such file."""
        return self.paths is not None and path not in self.paths

    def hides(self, path: str) -> str | None:
        """Why nobody can tell whether a file is there; None where that can be told."""
        return next((why for each, why in self.unlisted.items() if is_below(path, each)), None)


# What cannot be known because of an oddity.
NAMES = "names"  # which blobs the snapshots name
REFS = "refs"
BLOBS = "blobs"


class Oddity(NamedTuple):
    """Something that should not be there, or cannot be read.

    `hides` is what nobody knows because of it: NAMES, REFS or BLOBS.
    """

    path: str
    what: str
    hides: str | None = None


class Repo(NamedTuple):
    """One repo's folder in the cache. `kind` is model, dataset, space or kernel."""

    cache: str
    folder: str
    kind: str
    id: str
    refs: Mapping[str, str]
    snapshots: tuple[Snapshot, ...]
    blobs: Mapping[str, Chain]
    incomplete: Mapping[str, Stamp]
    locks: frozenset[str]  # blobs that were locked once, and may be now
    oddities: tuple[Oddity, ...] = ()
    foreign: bool = False  # the folder is a link: what is behind it is looked at, never changed
    strays: tuple[Entry, ...] = ()  # files of folders beside the snapshots: they name blobs, too
    used_elsewhere: frozenset[tuple[int, int]] = frozenset()  # files that other repos name

    def entries(self) -> Iterator[tuple[Snapshot, Entry]]:
        """Every file of every snapshot."""
        for snapshot in self.snapshots:
            for entry in snapshot.entries:
                yield snapshot, entry

    def hidden(self, *kinds: str) -> Oddity | None:
        """The first oddity that hides one of NAMES, REFS and BLOBS; None where all are known."""
        return next((odd for odd in self.oddities if odd.hides in kinds), None)

    @property
    def blobs_folder(self) -> str:
        """Where its blobs lie."""
        return f"{self.folder}/blobs"

    @property
    def linked(self) -> bool:
        """Whether any snapshot holds links: where none does, the cache was made without them."""
        return any(entry.chain.link is not None for _, entry in self.entries())


class StoreBlob(NamedTuple):
    """A file of the store that all repos of a cache share."""

    path: str
    stamp: Stamp


class CacheFacts(NamedTuple):
    """A whole cache. `store` is the shared store; `oddities` are not those of its repos."""

    folder: str
    repos: tuple[Repo, ...]
    store: tuple[StoreBlob, ...] = ()
    oddities: tuple[Oddity, ...] = ()


def is_below(path: str, folder: str) -> bool:
    """Whether a path in a snapshot lies below a folder of it; `""` is the snapshot itself."""
    return not folder or path.startswith(f"{folder}/")


def algorithm_of(blob: str) -> str | None:
    """How a blob of this name is hashed: by the length of its name; None where that is no hash."""
    return _LENGTHS.get(len(blob)) if _HEX.issuperset(blob) else None


def key(stamp: Stamp) -> tuple[int, ...]:
    """What changes whenever a file's content may have: the key of a remembered hash."""
    return stamp.device, stamp.inode, stamp.size, stamp.mtime_ns, stamp.ctime_ns
