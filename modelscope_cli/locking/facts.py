"""What a lock holds: of each model its revision, its files by hash, and what they add up to."""

from __future__ import annotations

from typing import NamedTuple

SHA256 = "sha256"
GIT_SHA1 = "git-sha1"  # as git names a blob: what the Hub says of files outside LFS
HEADER = "header-sha256"  # of a weight file's header alone
KIND = "kind"  # of what is no file and has no content: in words, where a link leads
ALGORITHMS = (SHA256, GIT_SHA1, HEADER, KIND)


class LockedFile(NamedTuple):
    """One file by its path in the model, `/` between the parts; `size` is in bytes.

    What is no file (a FIFO, a link to nothing) is there too, as its KIND.
    """

    path: str
    size: int
    algorithm: str
    digest: str


class LockedModel(NamedTuple):
    """One model as it was seen.

    `target` opens it again: a local path is relative to the lock's folder. `complete` is False
    for a snapshot of the HF cache, which holds what was downloaded. Totals are None where they
    are not known.
    """

    target: str
    id: str | None = None
    revision: str | None = None
    format: str | None = None
    tensors: int | None = None
    parameters: int | None = None
    bytes: int | None = None
    complete: bool = True
    files: tuple[LockedFile, ...] = ()


class Lock(NamedTuple):
    """A lock file: where it lies, and its models by target."""

    path: str
    models: dict[str, LockedModel]


class Drift(NamedTuple):
    """One difference: `what` is a field or a file, None on a side where there is nothing."""

    model: str
    what: str
    locked: str | None
    found: str | None
    file: str | None = None
