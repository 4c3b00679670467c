"""Every test: its own home, caches and folder, a clean environment, and no network."""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import running
from tests.running import Golden, Run

_FOREIGN = ("MSCOPE_", "HF_", "HUGGINGFACE_", "XDG_", "GITHUB_", "_MSCOPE_")
_FOREIGN_NAMES = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TRANSFORMERS_CACHE")

# How long one example takes tells of the machine, not of the code.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

# Read once, when the library is first imported: nothing asks the Hub behind our back.
os.environ["HF_HUB_OFFLINE"] = "1"


class NetworkUsed(AssertionError):
    """A test tried to leave this machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew from what comes out"
    )


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    home = next(_homes)
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES:
            monkeypatch.delenv(name)
    (home / "work").mkdir(parents=True)
    for name, folder in (
        ("HOME", home),
        ("USERPROFILE", home),
        ("XDG_CACHE_HOME", home / ".cache"),
        ("XDG_CONFIG_HOME", home / ".config"),
        ("XDG_DATA_HOME", home / ".local" / "share"),
        ("HF_HOME", home / "hf"),
        ("HF_HUB_CACHE", home / "hf" / "hub"),
    ):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the tests of the Hub have one of their own
    monkeypatch.chdir(home / "work")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Any) -> Any:
    def connect_here(sock: socket.socket, address: Any) -> Any:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise NetworkUsed(f"connect to {address}")
        return connect(sock, address)

    return connect_here


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare text with `tests/golden/<name>`: `golden("params.txt", out)`."""
    update = bool(request.config.getoption("--update-golden"))
    return Golden(running.ROOT / "tests" / "golden", update=update)


@pytest.fixture
def run() -> Run:
    """`run("params", "./model")` in this process; its exit code and what it wrote."""
    return running.run


@pytest.fixture
def run_process() -> Run:
    """The same as a fresh process: for what `run` cannot show."""
    return running.run_process
