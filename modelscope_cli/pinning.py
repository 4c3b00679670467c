"""Models opened and locked, or held against their lock; one that fails does not stop the others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from modelscope_cli import auditing
from modelscope_cli.errors import MscopeError, NotFound, UsageError
from modelscope_cli.facts import ModelRef
from modelscope_cli.locking import document, observe
from modelscope_cli.locking.facts import Lock, LockedModel
from modelscope_cli.many import running
from modelscope_cli.many.names import Named


class Pinned(NamedTuple):
    """One model as it is now beside what was locked of it, or why it cannot be looked at."""

    model: ModelRef
    target: str  # its name in the lock
    now: LockedModel | None = None
    locked: LockedModel | None = None
    error: MscopeError | None = None


class Asked(NamedTuple):
    """What is looked at, and how."""

    lock: Lock
    headers: bool = False
    jobs: int | None = None
    check: bool = False


def look(models: Sequence[Named], asked: Asked, jobs: int) -> Iterable[Pinned]:
    """Every model as it is now. A branch is looked up at the Hub unless offline."""
    return running.each(partial(_look, asked), models, jobs, _lost)


def _look(asked: Asked, named: Named) -> Pinned:
    target = document.target(named.model, asked.lock.path)
    locked = asked.lock.models.get(target)
    try:
        with auditing.subject(named.model, named.how) as seen:
            if seen.error is not None and not (asked.check and locked is not None):
                return Pinned(seen.ref, target, None, locked, seen.error)
            now = observe.model(seen, target, like=locked, headers=asked.headers, jobs=asked.jobs)
            if seen.error is not None and locked is not None and now == locked:
                return Pinned(seen.ref, target, None, locked, seen.error)  # locked as it is
            return Pinned(seen.ref, target, now, locked)
    except MscopeError as error:
        return Pinned(ModelRef(named.model, "directory"), target, None, locked, error)


def _lost(named: Named, why: str) -> Pinned:
    return Pinned(ModelRef(named.model, "directory"), named.model, error=MscopeError(why))


def all_of(lock: Lock) -> list[str]:
    """Every model of a lock, as it is opened from the current folder."""
    return [document.place(target, lock.path) for target in lock.models]


def refuse_inside(models: Sequence[str], lock: str) -> None:
    """A lock that lies in a model could have come with it. Raises UsageError."""
    from modelscope_cli import belonging, settings

    if settings.is_foreign(lock, belonging.folders(models)):
        raise UsageError(
            f"{lock}: a lock inside the model that it locks says nothing",
            "run from another folder, or --lock FILE",
        )


def write(lock: Lock, models: Mapping[str, LockedModel]) -> None:
    """Write a lock, whole or not at all. Raises UsageError."""
    text = document.text(models.values())
    folder, name = os.path.split(os.path.abspath(lock.path))
    beside = None
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        with os.fdopen(handle, "w", encoding="ascii", newline="\n") as stream:
            stream.write(text)
        os.chmod(beside, _mode(lock.path))
        os.replace(beside, lock.path)
    except OSError as error:
        raise UsageError(f"{lock.path}: cannot be written: {error.strerror}") from error
    finally:
        if beside is not None:
            with suppress(OSError):
                os.unlink(beside)


def _mode(path: str) -> int:
    """As the file is, else as a new one would be."""
    with suppress(OSError):
        return os.stat(path).st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read_or_new(path: str) -> Lock:
    """A lock, or an empty one where none is yet. Raises UsageError."""
    return document.read(path) if os.path.lexists(path) else Lock(path, {})


def error_of(pinned: Pinned) -> MscopeError | None:
    """Why a model cannot be held against a lock: not opened, or not in it."""
    if pinned.error is None and pinned.locked is None:
        return NotFound(f"{pinned.target} is not in the lock", "mscope lock MODEL adds it")
    return pinned.error
