"""`cache verify` on eight large files against one thread of hashlib.

`python -m benchmarks.cache write FOLDER` makes a hub folder without data on disk;
`python -m benchmarks.cache loop FOLDER` hashes its blobs one after another, no more.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

FILES = 8
FILE_BYTES = 512 * 2**20
COMMIT = "0" * 40
REPO = "org/large"
_CHUNK = 1 << 20


def write(hub: str) -> None:
    """A snapshot of eight sparse files, each a byte longer than the one before."""
    repo = Path(hub, "models--org--large")
    for part in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repo / part).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    zeros = hashlib.sha256()
    for _ in range(FILE_BYTES // _CHUNK):
        zeros.update(bytes(_CHUNK))
    for number in range(FILES):
        digest = zeros.copy()
        digest.update(bytes(number))
        blob = repo / "blobs" / digest.hexdigest()
        with blob.open("wb") as out:
            out.truncate(FILE_BYTES + number)
        link = repo / "snapshots" / COMMIT / f"model-{number + 1:05}-of-{FILES:05}.safetensors"
        link.symlink_to(os.path.join("..", "..", "blobs", blob.name))


def loop(hub: str) -> int:
    """Hash every blob in one thread: how many have the name that they should."""
    right = 0
    for blob in sorted(Path(hub, "models--org--large", "blobs").iterdir()):
        with blob.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        right += digest == blob.name
    return right


def main(command: str, hub: str) -> int:
    if command == "write":
        write(hub)
        return 0
    right = loop(hub)
    print(f"{right} of {FILES} are right")
    return right != FILES


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
