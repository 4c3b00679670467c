"""The promises that conftest makes to every test."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.running import Run

_HERE = Path(__file__).resolve().parent


def test_the_environment_is_the_tests_own() -> None:
    home = Path(os.environ["HOME"])
    assert home == Path.home()
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"):
        assert Path(os.environ[name]).is_relative_to(home)
    assert Path.cwd() == (home / "work").resolve()
    assert not {"CI", "GITHUB_ACTIONS", "NO_COLOR", "COLUMNS", "HF_TOKEN"} & set(os.environ)
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # the tests of the Hub switch it off
    assert not any(name.startswith("MSCOPE_") for name in os.environ)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "example.org"])
def test_a_connection_off_this_machine_fails(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(AssertionError, match="connect to"):
        sock.connect((address, 80))


def test_loopback_is_free_to_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_run_and_run_process_agree(run: Run, run_process: Run) -> None:
    assert run("params", "--no-such-option") == run_process("params", "--no-such-option")
    assert run("-V").out == run_process("-V").out
