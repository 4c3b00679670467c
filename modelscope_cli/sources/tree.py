"""Every file below a model's folder as it lies there: links as links, special files by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.sources.local import kind_of

MOST_ENTRIES = 20_000  # files and folders: a model has a few hundred
MOST_DEPTH = 16  # folders in folders

FILE, LINK, FOLDER = "file", "link", "folder"
_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_OF_VERSION_CONTROL = frozenset({".git"})  # thousands of objects that nobody loads


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
    """The entries in the order of their paths; `cut` where there were more than are listed."""

    entries: tuple[Entry, ...]
    cut: bool = False


def walk(root: str, homes: Sequence[str] = ()) -> Listing:
    """Everything below `root`; linked folders are named, not entered.

    `homes` are folders that links may lead to besides: of a cached repo its blobs. A folder that
    cannot be read is an entry of its own kind.
    """
    inside = [os.path.join(os.path.realpath(each), "") for each in (root, *homes)]
    found: list[Entry] = []
    left = [("", 0)]
    while left and len(found) < MOST_ENTRIES:
        folder, depth = left.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                there = sorted(entries, key=lambda each: each.name)
        except OSError as error:
            found.append(Entry(folder or ".", -1, f"unreadable: {error.strerror}"))
            continue
        for each in there:
            path = f"{folder}/{each.name}" if folder else each.name
            if each.is_dir(follow_symlinks=False):
                if depth < MOST_DEPTH and each.name not in _OF_VERSION_CONTROL:
                    left.append((path, depth + 1))
                continue
            found.append(_entry(each, path, inside))
    found.sort()
    return Listing(tuple(found[:MOST_ENTRIES]), bool(left) or len(found) > MOST_ENTRIES)


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
