"""Locks of the HF cache: a file that a download holds is left alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def taken(path: str) -> Iterator[bool]:
    """Hold the lock at `path` for a while; False where somebody else does.

    A lock that was never made is held by nobody; one that cannot be looked at may be. Nothing is
    created.
    """
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
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
    except OSError:
        return False  # a holder, or no locks there: then huggingface_hub's file itself is the lock
    return True
