"""Where the Hugging Face cache lies and how much is in it, within a bounded time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from modelscope_cli.facts import Unknown
from modelscope_cli.sources.hfcache import source as hfcache

_SECONDS = 2.0
_MAX_ENTRIES = 500_000


class HfCache(NamedTuple):
    """The hub folder. `bytes` counts a file with several names once; `at_least_bytes` is what
    was counted where that is not all; `free_bytes` is what the disk still takes.
    """

    path: str
    exists: bool
    writable: bool
    bytes: int | Unknown
    at_least_bytes: int
    repos: int
    free_bytes: int | None


def look(environ: Mapping[str, str], *, seconds: float = _SECONDS) -> HfCache:
    """The cache that huggingface_hub uses under these variables."""
    path, _ = hfcache.cache_dir(environ=environ)
    if not os.path.isdir(path):
        return HfCache(path, False, _writable(path), 0, 0, 0, _free(path))
    size, complete = _size(path, time.monotonic() + seconds)
    reason = Unknown(f"not counted to its end in {seconds:g} s: mscope cache ls does that")
    return HfCache(
        path, True, _writable(path), size if complete else reason, size, _repos(path), _free(path)
    )


def _size(top: str, deadline: float) -> tuple[int, bool]:
    """Bytes of regular files, each once, and whether all were seen. Links are not followed."""
    total = entries = 0
    seen: set[tuple[int, int]] = set()
    folders = [top]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for each in found:
                    entries += 1
                    if entries > _MAX_ENTRIES or time.monotonic() > deadline:
                        return total, False
                    if each.is_dir(follow_symlinks=False):
                        folders.append(each.path)
                    elif each.is_file(follow_symlinks=False):
                        stat = each.stat(follow_symlinks=False)
                        if stat.st_nlink == 1 or (stat.st_dev, stat.st_ino) not in seen:
                            seen.add((stat.st_dev, stat.st_ino))
                            total += stat.st_size
        except OSError:
            continue  # not readable, or gone meanwhile
    return total, True


def _repos(path: str) -> int:
    return len(hfcache.cached_ids(path))


def _existing(path: str) -> str:
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _writable(path: str) -> bool:
    return os.access(_existing(path), os.W_OK)


def _free(path: str) -> int | None:
    from shutil import disk_usage

    try:
        return disk_usage(_existing(path)).free
    except OSError:
        return None
