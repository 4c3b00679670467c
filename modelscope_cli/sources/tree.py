"""Every file below a model's folder as it lies there: links as links, special files by name."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from modelscope_cli.sources.local import kind_of

MOST_ENTRIES = 20_000  # files and folders: a model has a few hundred
MOST_DEPTH = 64  # folders in folders

FILE, LINK, FOLDER = "file", "link", "folder"
_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_OF_VERSION_CONTROL = frozenset({".git"})  # of a checkout: thousands of packed objects


class Entry(NamedTuple):
    """One file, or link to a folder. `path` is relative to the model, `/` between the parts.

    `size` is in bytes, -1 where no bytes can be read. `kind` says what lies there once links
    are followed: `file`, `folder`, `a FIFO` …, `dangling` or `looping`. `link` is what a link
    says, `end` the place on the disk that it leads to, or the file's own; `outside` whether that
    is no part of the model. `hash` is what the Hub says of its content: sha256, or git's name.
    """

    path: str
    size: int
    kind: str = FILE
    link: str | None = None
    end: str | None = None
    outside: bool = False
    executable: bool = False
    hash: str | None = None


class Listing(NamedTuple):
    """The entries in the order of their paths.

    `cut` says why there are more than these; `passed_over` are folders left out on purpose.
    """

    entries: tuple[Entry, ...]
    cut: str | None = None
    passed_over: tuple[str, ...] = ()


def walk(root: str, homes: Sequence[str] = ()) -> Listing:
    """Everything below `root`, what lies highest first; linked folders are named, not entered.

    `homes` are folders that links may lead to besides: of a cached repo its blobs. A folder that
    cannot be read is an entry of its own kind. Of a checkout `.git` is passed over; further down
    a folder of that name is one like others.
    """
    walking = _Walk(root, homes)
    while walking.left and not walking.is_full:
        walking.folder(*walking.left.popleft())
    return Listing(
        tuple(sorted(walking.found[:MOST_ENTRIES])), walking.cut, tuple(walking.passed_over)
    )


class _Walk:
    """What was found so far, and the folders that are left, with how deep they lie."""

    def __init__(self, root: str, homes: Sequence[str]) -> None:
        self.root = root
        self.inside = [os.path.join(os.path.realpath(each), "") for each in (root, *homes)]
        self.found: list[Entry] = []
        self.passed_over: list[str] = []
        self.left = deque([("", 0)])
        self.folders = 0
        self.cut: str | None = None

    @property
    def is_full(self) -> bool:
        return len(self.found) + self.folders > MOST_ENTRIES

    def folder(self, folder: str, depth: int) -> None:
        """Everything right below one folder."""
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                there = sorted(islice(entries, MOST_ENTRIES + 1), key=lambda each: each.name)
        except OSError as error:
            self.found.append(Entry(folder or ".", -1, f"unreadable: {error.strerror}"))
            return
        for each in there:
            self.entry(each, f"{folder}/{each.name}" if folder else each.name, depth)
            if self.is_full:
                self.cut = f"there are more than {MOST_ENTRIES:,} files and folders"
                return

    def entry(self, each: os.DirEntry[str], path: str, depth: int) -> None:
        """A folder is left for later, all else described."""
        if not each.is_dir(follow_symlinks=False):
            self.found.append(_entry(each, path, self.inside))
        elif path in _OF_VERSION_CONTROL:
            self.passed_over.append(path)
        elif depth >= MOST_DEPTH:
            self.cut = f"there are folders in folders, more than {MOST_DEPTH} deep"
        else:
            self.folders += 1
            self.left.append((path, depth + 1))


def _entry(each: os.DirEntry[str], path: str, inside: Sequence[str]) -> Entry:
    if not each.is_symlink():
        return _described(Entry(path, -1, end=f"{inside[0]}{path}"), each)
    try:
        link = os.readlink(each.path)
        end = os.path.realpath(each.path)
    except OSError as error:
        return Entry(path, -1, f"unreadable: {error.strerror}", "")
    outside = not any(f"{end}{os.sep}".startswith(home) for home in inside)
    return _described(Entry(path, -1, LINK, link, end, outside), each)


def _described(entry: Entry, each: os.DirEntry[str]) -> Entry:
    try:
        status = each.stat()
    except FileNotFoundError:
        return entry._replace(kind="dangling")
    except OSError as error:
        looping = entry.link is not None and os.path.lexists(each.path)
        return entry._replace(kind="looping" if looping else f"unreadable: {error.strerror}")
    if stat.S_ISREG(status.st_mode):
        runs = bool(status.st_mode & _EXECUTABLE)
        return entry._replace(kind=FILE, size=status.st_size, executable=runs)
    return entry._replace(kind=FOLDER if stat.S_ISDIR(status.st_mode) else kind_of(status.st_mode))
