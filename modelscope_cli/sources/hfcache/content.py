"""Whether a snapshot's small documents still are what was downloaded, by their blobs' names."""

from __future__ import annotations

import os
from collections.abc import Iterator

from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import Note
from modelscope_cli.hub_names import is_commit
from modelscope_cli.sources.local import LocalFile, LocalSource

_DOCUMENTS = ("config.json", "adapter_config.json", "params.json", "model_index.json")
_INDEX = ".index.json"
_LARGEST = 16_777_216  # bytes: DeepSeek-V3's index has 9 MB, hashed in 10 ms
_SHA1, _SHA256 = 40, 64  # digits in a blob's name


def changed_documents(source: LocalSource) -> list[Note]:
    """A warning for every configuration or index whose blob no longer fits its name."""
    return [
        Note(
            f"{name} was changed after its download: it no longer fits its blob's name "
            f"{blob[:12]}…; what follows is about the changed file (mscope cache verify)",
            warning=True,
        )
        for name, blob in _linked(source)
        if _fits(os.path.join(source.root, name), blob) is False
    ]


def _linked(source: LocalSource) -> Iterator[tuple[str, str]]:
    """Documents that are links, and the names of the blobs they lead to."""
    for name, size in source.files().items():
        if (name in _DOCUMENTS or name.endswith(_INDEX)) and 0 <= size <= _LARGEST:
            try:
                blob = os.path.basename(os.readlink(os.path.join(source.root, name)))
            except OSError:  # a regular file: a cache without links
                continue
            if len(blob) == _SHA256 or is_commit(blob):
                yield name, blob


def _fits(path: str, blob: str) -> bool | None:
    """Whether the content has the hash that names the blob; None where it cannot be read."""
    import hashlib

    try:
        with LocalFile(path, path) as file:
            data = file.read_at(0, file.size)
    except MscopeError:
        return None
    if len(blob) == _SHA1:
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == blob  # noqa: S324
    return hashlib.sha256(data).hexdigest() == blob
