"""Locks of the HF cache: a file that a download holds is left alone."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

_HELD = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def taken(path: str) -> Iterator[bool]:
    """Hold the lock at `path` for a while; False where somebody else does.

    A lock that was never made is held by nobody. Nothing is created.
    """
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags)
    except OSError:
        yield not os.path.lexists(path)
        return
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    if sys.platform == "win32":
        return True  # removing an open file fails there by itself
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD  # a file system without locks knows of no holder
    return True
