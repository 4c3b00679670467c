"""The program as its users run it: a process, a terminal, a key pressed, a server that floods."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders import folders
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.running import ROOT, Run

FILES: dict[str, object] = {
    "config.json": folders.BERT,
    "model.safetensors": folders.weights("a", "b"),
}


def _start(*argv: str, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelscope_cli", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def _on_terminal(*argv: str) -> tuple[int, bytes, str]:
    """Exit code, stdout, and what a terminal on stderr was sent."""
    controller, terminal = pty.openpty()
    process = _start(*argv, stderr=terminal)
    os.close(terminal)
    out = process.communicate(timeout=60)[0]
    raw = b""
    try:
        while data := os.read(controller, 65_536):
            raw += data
    except OSError:  # EIO, when the last writer is gone
        pass
    os.close(controller)
    return process.returncode, out, raw.decode()


def test_a_process(hub: HubServer, add: AddRepo, run_process: Run) -> None:
    add("org/x", FILES)
    done = run_process("params", "org/x")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("org/x: safetensors, revision ")
    again = run_process("params", "org/x")
    assert again == done


def test_a_line_of_progress_on_a_terminal(hub: HubServer, add: AddRepo) -> None:
    add("org/x", dict(folders.sharded()))
    hub.latency = 0.4
    code, out, drawn = _on_terminal("params", "org/x")
    assert code == 0
    assert b"reading from the Hub" not in out
    assert "\rreading from the Hub: " in drawn
    assert drawn.endswith("\r")
    assert not drawn.rsplit("\r", 2)[1].strip()  # taken away at the end


def test_no_progress_for_a_quick_look(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    code, _, drawn = _on_terminal("params", "org/x", "--offline")
    assert code == 3
    assert "reading" not in drawn


def test_ctrl_c_ends_it_at_once(
    hub: HubServer, add: AddRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setenv(name, "300")  # what ends it sooner is the key
    add("org/x", FILES)
    hub.fault("", "hang", times=99)
    process = _start("params", "org/x", stderr=subprocess.PIPE)
    for _ in range(300):
        if hub.log:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize("model", ["org/x", "org/x@v1"])
def test_what_the_hf_cache_holds_imports_no_library(
    model: str, hub: HubServer, run_process: Run, tmp_path: Path
) -> None:
    from tests.builders.hfcache import MAIN, Cache
    from tests.test_imports import _HEAVY, _guarded

    cache = Cache(Path(os.environ["HF_HUB_CACHE"]))
    files = {name: folders.encoded(each) for name, each in FILES.items()}
    cache.add("org/x", MAIN, files, refs=("main", "v1"))
    done = _guarded((*_HEAVY, "rich", "http", "socket", "ssl"), "params", model)
    assert "a " in done.out
    assert not hub.log


def test_a_flood_of_an_answer(
    hub: HubServer, add: AddRepo, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelscope_cli.sources.hub import listing as hub_listing

    add("org/x", FILES)
    monkeypatch.setattr(hub_listing, "MAX_LISTING_BYTES", 1000)
    hub.fault("/revision/", 200, body=b" " * 5000)
    done = run("params", "org/x")
    assert done.code == 6
    assert "an answer of more than 1,000 bytes" in done.err


def test_a_file_longer_than_it_was_said_to_be(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.fault("resolve-cache", 200, times=9, body=b"{" + b" " * 100_000 + b"}")
    assert run("config", "org/x").code in (3, 4, 6)
