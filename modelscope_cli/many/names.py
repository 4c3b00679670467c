"""The models of a run: those typed, those of a list, and all of the HF cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TextIO

from modelscope_cli.errors import UsageError
from modelscope_cli.opening import How
from modelscope_cli.sources.hfcache import source as hfcache

STDIN = "-"
_BOM = "\ufeff"  # Windows' editors begin a file with it
_MOST = 100_000
_MAX_BYTES = 64_000_000


class Named(NamedTuple):
    """One model as it is opened."""

    model: str
    how: How


def gather(
    typed: Sequence[str], lists: Sequence[str], how: How, *, cached: bool = False
) -> list[Named]:
    """Every model once, in the order in which they were named. Raises UsageError.

    Those of the cache are its snapshots by their paths: nothing is asked of the Hub for them.
    """
    found = [Named(name, how) for name in [*typed, *listed(lists)]]
    if cached:
        alone = how._replace(revision=None, refresh=False, offline=True)
        found += [Named(path, alone) for path in snapshots(how.cache_dir)]
    once = list(dict.fromkeys(found))
    if len(once) > _MOST:
        raise UsageError(f"{len(once):,} models are more than {_MOST:,}", "take them in turns")
    return once


def listed(lists: Sequence[str]) -> list[str]:
    """The names in files, one a line; empty lines and those that start with `#` are left out.

    What stdin said is kept: settings are looked for before models are. Raises UsageError.
    """
    if lists.count(STDIN) > 1:
        raise UsageError("--from - is given twice: stdin can be read once")
    lines = (line.strip() for path in lists for line in _text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _text(path: str) -> str:
    try:
        if path == STDIN:
            text = _said(sys.stdin)
        else:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--from {path}: cannot be read: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise UsageError(f"--from {path}: more than {_MAX_BYTES:,} characters: no list of models")
    return text.removeprefix(_BOM)


@cache
def _said(stream: TextIO) -> str:
    return stream.read(_MAX_BYTES + 1)


def snapshots(cache_dir: str | None) -> list[str]:
    """Every snapshot in the HF cache that holds anything, by repo."""
    hub = hfcache.cache_dir(cache_dir)[0]
    found: list[str] = []
    for repo in hfcache.cached_ids(hub):
        folder = os.path.join(hub, hfcache.folder_name(repo), "snapshots")
        try:
            commits = sorted(os.listdir(folder))
        except OSError:  # a repo whose download never got so far
            continue
        found += [os.path.join(folder, each) for each in commits if not each.startswith(".")]
    return found
