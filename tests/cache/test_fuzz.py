"""Caches put together at random: every command answers, and `doctor --fix` loses no right byte."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.cache.facts import algorithm_of
from tests.builders.hfcache import MAIN, OLD
from tests.running import Run

_CONTENTS = (b"", b"a", b'{"a": 1}')
_BLOBS = [hashlib.sha256(each).hexdigest() for each in _CONTENTS]
_FOLDERS = ("blobs", f"snapshots/{MAIN}", f"snapshots/{OLD}/sub", "refs", "trees", "snapshots", "")
_NAMES = ("config.json", "main", f"{MAIN}.json", "x.incomplete", ".hidden", *_BLOBS)
_TARGETS = (*(f"../../blobs/{each}" for each in _BLOBS), ".", "..", "../..", "/dev/zero", "main")
_PIECES = st.tuples(
    st.sampled_from(_FOLDERS),
    st.sampled_from(_NAMES),
    st.one_of(
        st.sampled_from(_CONTENTS),
        st.sampled_from(_TARGETS),
        st.sampled_from([MAIN.encode(), b'{"format_version": 1, "files": {"main": 5}}']),
        st.none(),
    ),
)


def _write(repo: Path, pieces: list[tuple[str, str, bytes | str | None]]) -> None:
    for folder, name, content in pieces:
        path = repo / folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()
            elif isinstance(content, str):
                path.symlink_to(content)
            elif not os.path.lexists(path):
                path.write_bytes(content)
        except OSError:
            continue  # a file where a folder should be: left out


def _right_blobs(repo: Path) -> set[str]:
    """Blobs that a snapshot's link leads to, and whose bytes are those of their names."""
    found = set()
    for link in repo.glob("snapshots/*/**/*"):
        if link.is_symlink() and os.readlink(link).startswith("../../blobs/"):
            blob = Path(os.path.normpath(link.parent / os.readlink(link)))
            if blob.parent == repo / "blobs" and blob.is_file() and algorithm_of(blob.name):
                data = blob.read_bytes()
                if hashlib.sha256(data).hexdigest() == blob.name:
                    found.add(blob.name)
    return found


@given(st.lists(_PIECES, max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cache(
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
    pieces: list[tuple[str, str, bytes | str | None]],
) -> None:
    hub = tmp_path_factory.mktemp("hub")
    repo = hub / "models--org--x"
    repo.mkdir()
    _write(repo, pieces)
    place = ["--cache-dir", str(hub)]
    for argv in (["ls"], ["show", "org/x"], ["verify", "org/x"], ["verify", "--all"], ["doctor"]):
        done = run("cache", *argv, *place, "--json")
        assert done.code in (0, 1, 2, 3, 4), (argv, done.err)
    before = _right_blobs(repo)
    for options in (["--dry-run"], ["--fix", "--yes"]):
        done = run("cache", "doctor", *options, *place)
        assert done.code in (0, 1), done.err
    assert _right_blobs(repo) >= before
    assert run("cache", "doctor", "--fix", "--yes", *place).code in (0, 1)
    shutil.rmtree(hub)
