"""Hashing with progress and memory: what an interrupted run leaves, what a terminal shows."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelscope_cli import verifying
from modelscope_cli.analysis.cache.expected import Wanted
from modelscope_cli.analysis.cache.facts import SHA256, Known
from modelscope_cli.sources.hfcache import hash_memory, hashing
from modelscope_cli.sources.hfcache.links import stamp
from tests.builders import folders, gguf

_NOTHING_NOTED = Known(None, "0" * 64, SHA256)


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """Three files that may be remembered at once."""
    monkeypatch.setattr(hash_memory, "_RACY_NS", 0)
    found = []
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 9)
        path = str(tmp_path / name)
        found.append(Wanted(path, stamp(os.lstat(path)), (SHA256,)))
    return found


def test_what_was_hashed_before_a_ctrl_c_is_remembered(
    wanted: list[Wanted], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = hashing.run

    def interrupted(*args: object) -> Iterator[tuple[hashing.Job, hashing.Hashes]]:
        yield next(run(*args))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(hashing, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verifying.Hasher(1).hash(wanted)
    monkeypatch.undo()
    monkeypatch.setattr(hash_memory, "_RACY_NS", 0)
    hasher = verifying.Hasher(1)
    hasher.hash(wanted)
    assert hasher.bytes_read + hasher.bytes_remembered == 27


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_counts_bytes_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(verifying, "_QUIET", 0)
    monkeypatch.setattr(verifying, "_EVERY", 0.001)
    progress = verifying.Progress(4 * 2**20)
    progress.add(2**20)
    assert "hashing: 1.00 MiB of 4.00 MiB, " in terminal.getvalue()
    progress.clear()
    assert terminal.getvalue().endswith(" \r")


def test_progress_is_silent_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setattr(verifying, "_QUIET", 0)
    progress = verifying.Progress(10)
    progress.add(5)
    progress.clear()
    assert (pipe.getvalue(), progress.done) == ("", 5)


_GGUF = folders.gguf_weights("a", metadata={"general.architecture": gguf.text("llama")})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"a": "text", "b": [1, 2, {"c": null}]}'),
        ("a.safetensors", folders.weights("a", "b")),
        ("a.gguf", _GGUF),
    ],
)
def test_every_shorter_file_is_cut_short(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "blob"
    wrong = []
    for length in range(1, len(content) + 1):
        path.write_bytes(content[:length])
        if verifying.cut_short(str(path), name, _NOTHING_NOTED) != (length < len(content)):
            wrong.append(length)
    assert wrong == []
    assert not verifying.cut_short(str(tmp_path / "none"), name, _NOTHING_NOTED)
