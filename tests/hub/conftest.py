"""A Hub on this machine that the program and the real huggingface_hub both ask."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import huggingface_hub
import pytest
from huggingface_hub import constants

from modelscope_cli.sources.hub import library as hub_library
from modelscope_cli.sources.hub import retry as hub_retry
from tests.builders import folders
from tests.builders.folders import encoded
from tests.hub_server import HubServer, Repo
from tests.hub_server.repos import content
from tests.running import Completed

AddRepo = Callable[..., Repo]
FILES: dict[str, object] = {
    "config.json": folders.BERT,
    "model.safetensors": folders.weights("a", "b"),
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub, asked by whoever asks *the* Hub; nobody is logged in."""
    with HubServer() as server:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", os.environ["HF_HUB_CACHE"])
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")
        monkeypatch.setattr(hub_library, "is_needed", lambda: False)  # although tests import it
        yield server
        server.ended.set()
        for thread in threading.enumerate():
            if thread.name == "mscope-hub":
                thread.join(10)
        huggingface_hub.close_session()


@pytest.fixture
def add(hub: HubServer) -> AddRepo:
    """`add("org/x", {"config.json": {...}})`: put a repo on the Hub."""

    def put(
        repo_id: str, files: dict[str, object], *, storage: str = "lfs", access: str = "public"
    ) -> Repo:
        made = {name: content(name, encoded(each), storage) for name, each in files.items()}
        return hub.add(Repo(repo_id, made, access=access))

    return put


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which take no time here."""
    waited: list[float] = []

    class Clock:
        """Time that passes only by waiting."""

        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(hub_retry, "pause", pause)
    monkeypatch.setattr(hub_retry, "monotonic", clock.monotonic)
    return waited


@pytest.fixture(params=["standard library", "huggingface_hub"])
def client(request: pytest.FixtureRequest, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends the requests, the answer is the same."""
    monkeypatch.setattr(hub_library, "is_needed", lambda: request.param == "huggingface_hub")


def lines(done: Completed) -> tuple[str, str]:
    """The error and its hint: all that stderr holds."""
    rows = done.err.splitlines()
    assert rows[0].startswith("mscope: error: "), done.err
    assert len(rows) <= 2
    assert not done.out
    hint = rows[1].removeprefix("mscope: hint: ") if len(rows) > 1 else ""
    return rows[0].removeprefix("mscope: error: "), hint
