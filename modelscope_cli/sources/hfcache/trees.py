"""`trees/<commit>.json`: what snapshot_download noted of a commit's files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.cache.facts import (
    GIT_SHA1,
    SHA256,
    Known,
    Listing,
    Oddity,
    algorithm_of,
)
from modelscope_cli.errors import MscopeError
from modelscope_cli.hub_names import file_problem
from modelscope_cli.sources.local import LocalFile

_MAX_BYTES = 64_000_000
_FORMAT = 1


def read(repo: str, commit: str, oddities: list[Oddity]) -> Listing | None:
    """The files of a commit; None where nothing is noted. What is broken is an oddity."""
    path = os.path.join(repo, "trees", f"{commit}.json")
    if not os.path.lexists(path):
        return None
    try:
        document = _document(path)
    except (MscopeError, ValueError, RecursionError) as error:
        what = getattr(error, "message", None) or f"no JSON: {error}"
        oddities.append(Oddity(path, what.removeprefix(f"{path}: ")))
        return None
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, dict):
        oddities.append(Oddity(path, "is JSON without a table of files"))
        return None
    if document.get("format_version") != _FORMAT:
        return None  # a newer library's: not wrong, but nothing that is understood here
    known = {name: found for name, each in files.items() if (found := _known(name, each))}
    if len(known) < len(files):
        oddities.append(Oddity(path, f"{len(files) - len(known)} of its entries make no sense"))
    return Listing(frozenset(files), known)


def _document(path: str) -> Any:
    with LocalFile(path, path) as file:
        if file.size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
        return json.loads(file.read_at(0, file.size))


def _known(name: str, each: Any) -> Known | None:
    if file_problem(name) is not None or not isinstance(each, Mapping):
        return None
    if (digest := each.get("lfs_sha256")) is not None:
        return _checked(each.get("lfs_size", each.get("size")), digest, SHA256)
    return _checked(each.get("size"), each.get("blob_id"), GIT_SHA1)


def _checked(size: Any, digest: Any, algorithm: str) -> Known | None:
    if not isinstance(digest, str) or algorithm_of(digest) != algorithm:
        return None
    return Known(size if type(size) is int and size >= 0 else None, digest, algorithm)
