"""Fail unless a wheel holds the committed package, data and schemas included, and no more."""

from __future__ import annotations

import subprocess
import sys
import zipfile

_METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def main(wheel: str) -> int:
    """Print every difference; returns the exit code."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "modelscope_cli"],  # noqa: S607 - whichever git is there
        capture_output=True,
        check=True,
        text=True,
    )
    package = set(listed.stdout.split("\0")) - {""}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
    expected = package | {f"{info}/{name}" for name in _METADATA}
    for name in sorted(expected - names):
        sys.stdout.write(f"not in the wheel: {name}\n")
    for name in sorted(names - expected):
        sys.stdout.write(f"only in the wheel, not committed: {name}\n")
    sys.stdout.write(f"{len(names)} files in the wheel\n")
    return int(names != expected)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
