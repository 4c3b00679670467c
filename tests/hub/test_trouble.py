"""Trouble of the network, which a retry may mend: exit code 6, and what is said then."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest
from huggingface_hub import constants

from modelscope_cli.load import open_model
from tests.builders import folders
from tests.hub.conftest import FILES, AddRepo, lines
from tests.hub_server import HubServer
from tests.running import Run

pytestmark = pytest.mark.usefixtures("client")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_status_that_passes(
    hub: HubServer, add: AddRepo, pauses: list[float], status: int
) -> None:
    add("org/x", FILES)
    hub.fault("/api/models/org/x/revision", status, times=2)
    hub.fault("/org/x/resolve/main/model.safetensors", status, times=2)
    hub.fault("X-Signature", status, times=2)
    assert open_model("org/x").ref.files == 1
    assert pauses


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_that_stays(
    hub: HubServer, add: AddRepo, run: Run, pauses: list[float], status: int
) -> None:
    add("org/x", FILES)
    hub.fault("/api/models/org/x/revision", status, times=99)
    done = run("params", "org/x")
    assert done.code == 6
    error, hint = lines(done)
    if status == 429:
        assert "too many requests (429), the rate limit is reached" in error
        assert "the limit is higher with a token" in hint
    else:
        assert f"answers {status}" in error
    assert len([t for t in hub.targets() if "/revision/" in t]) == 5


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"ratelimit": '"api";r=0;t=11'}, 11.0),
        ({"ratelimit": '"api";r=5;t=11'}, 0.5),
        ({"retry-after": "soon"}, 0.5),
        ({}, 0.5),
    ],
)
def test_what_a_server_asks_to_wait(
    hub: HubServer, add: AddRepo, pauses: list[float], headers: dict[str, str], wait: float
) -> None:
    add("org/x", FILES)
    hub.fault("/revision/", 429, headers=headers)
    assert open_model("org/x").ref.files == 1
    assert max(pauses) == pytest.approx(wait)


def test_a_date_to_wait_for(hub: HubServer, add: AddRepo, pauses: list[float]) -> None:
    add("org/x", FILES)
    hub.fault("/revision/", 503, headers={"retry-after": formatdate(time() + 20, usegmt=True)})
    open_model("org/x")
    assert 17 < max(pauses) <= 20


def test_too_long_a_wait_is_the_user_s_to_decide(
    hub: HubServer, add: AddRepo, run: Run, pauses: list[float]
) -> None:
    add("org/x", FILES)
    hub.fault("/revision/", 429, times=9, headers={"retry-after": "3000"})
    done = run("params", "org/x")
    assert done.code == 6
    assert "try again in 3000 s" in lines(done)[1]
    assert max(pauses, default=0) < 60


def test_a_hanging_server(
    hub: HubServer,
    add: AddRepo,
    run: Run,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add("org/x", FILES)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fault("/revision/", "hang", times=2)
    assert open_model("org/x").ref.files == 1  # the third try
    hub.fault("/revision/", "hang", times=9)
    started = time()
    done = run("params", "org/x@v1")
    assert time() - started < 5
    assert done.code == 6
    error, hint = lines(done)
    assert error.endswith("did not answer in time")
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in hint


@pytest.mark.parametrize("part", ["/revision/", "resolve-cache", "X-Signature"])
def test_a_server_that_drips(
    hub: HubServer,
    add: AddRepo,
    run: Run,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    add("org/x", FILES)
    hub.fault(part, "drip", seconds=0.05)
    assert open_model("org/x").ref.files == 1  # the second try
    add("org/y", {**FILES, "config.json": {**folders.BERT, "much": "x" * 2000}})
    hub.fault(part, "drip", times=99, seconds=0.05)
    started = time()
    done = run("params", "org/y")
    assert time() - started < 4
    assert done.code == 6
    error, hint = lines(done)
    assert "sends too slowly" in error
    assert hint.startswith("try again later")


def test_a_slow_link_is_borne_with(
    hub: HubServer, add: AddRepo, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    add("org/x", {"model.safetensors": folders.weights(*(f"{n:0300}" for n in range(60)))})
    hub.fault("X-Signature", "drip", piece=1000, seconds=0.05)  # 20 kB a second
    started = time()
    assert open_model("org/x").ref.files == 1
    assert time() - started > 0.8
    assert not pauses


@pytest.mark.parametrize("kind", ["cut", "drop"])
@pytest.mark.parametrize("part", ["/revision/", "resolve/main", "X-Signature", "resolve-cache"])
def test_a_connection_that_breaks(
    hub: HubServer, add: AddRepo, pauses: list[float], kind: str, part: str
) -> None:
    add("org/x", FILES)
    hub.fault(part, kind, times=2)
    facts = open_model("org/x")
    assert (facts.ref.files, facts.config) == (1, folders.BERT)


def test_a_connection_that_always_breaks(
    hub: HubServer, add: AddRepo, run: Run, pauses: list[float]
) -> None:
    add("org/x", FILES)
    hub.fault("X-Signature", "cut", times=99)
    done = run("params", "org/x")
    assert done.code == 6
    assert "the connection broke" in lines(done)[0]


def test_no_network(run: Run, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = run("params", "org/x")
    assert done.code == 6
    error, hint = lines(done)
    assert "127.0.0.1:9 cannot be reached" in error
    assert "; org/x: no file or folder of that name here, and no such model in the HF" in hint


@pytest.mark.parametrize(
    "endpoint", ["foo", "http://", "ftp://x", "http://[::1", "http://a b", "http://a:b", ""]
)
def test_an_endpoint_that_is_none(
    run: Run, hub: HubServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    done = run("params", "hf://org/x")
    assert done.code == 2
    assert lines(done)[0] == f"HF_ENDPOINT={endpoint.rstrip('/')!r} is no address of a Hub"


def test_no_network_but_something_kept(
    run: Run, hub: HubServer, add: AddRepo, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    repo = add("org/x", FILES)
    assert run("params", "org/x").code == 0
    hub.fault("", "drop", times=99)
    done = run("params", "org/x")
    assert done.code == 6
    assert (
        f"--offline answers with what was read of main = {repo.main[:7]}, asked today"
        in lines(done)[1]
    )
    done = run("params", "org/x", "--offline")
    assert done.code == 0
    assert f"main = {repo.main[:7]}, asked today; the Hub is not asked" in done.err


def test_a_captive_portal(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.fault("", "page", times=99)
    done = run("params", "org/x")
    assert done.code == 6
    error, hint = lines(done)
    assert error.endswith("a web page came where the Hub's answer should be")
    assert "captive portal" in hint


def test_a_captive_portal_by_redirect(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    with HubServer() as portal:
        portal.fault("", "page", times=99)
        hub.fault("", "away", times=99, headers={"location": f"{portal.url}/login"})
        done = run("params", "org/x")
        assert done.code == 6
        assert "a web page came" in lines(done)[0]
        assert {each.token for each in portal.log} == {None}


def test_a_portal_in_front_of_the_store(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.fault("X-Signature", "page", times=99)
    assert run("params", "org/x").code == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 429, 451, 503])
def test_the_storage_refuses(
    hub: HubServer, add: AddRepo, run: Run, pauses: list[float], status: int
) -> None:
    add("org/x", FILES)
    hub.fault("X-Signature", status, times=99)
    done = run("params", "org/x")
    assert done.code == 6
    error, hint = lines(done)
    storage = hub.hub.cdn.partition("://")[2]
    assert error == f"org/x: model.safetensors: the Hub's storage at {storage} answers {status}"
    assert hint


def test_a_mirror_s_hub_refuses(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.fault("X-Signature", 403, times=99, headers={"x-error-code": "GatedRepo"})
    done = run("params", "org/x")
    assert done.code == 3
    assert "org/x is gated" in lines(done)[0]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"sha": 1}', b'{"sha": "x"}', b"\xff", b'{"sha": "../../../x"}']
)
def test_answers_of_no_hub(hub: HubServer, add: AddRepo, run: Run, body: bytes) -> None:
    add("org/x", FILES)
    hub.fault("/revision/", 200, body=body, headers={"content-type": "application/json"})
    done = run("params", "org/x")
    assert done.code == 6
    assert "does not answer as a Hub does" in lines(done)[0]


@pytest.mark.parametrize(
    "place", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[", "", "/api/loop"]
)
def test_redirects_to_nowhere(
    hub: HubServer, add: AddRepo, run: Run, place: str, pauses: list[float]
) -> None:
    add("org/x", FILES)
    hub.fault("", "away", times=99, headers={"location": place})
    assert run("params", "org/x").code in (3, 6)


def test_an_error_s_words_are_bounded_and_escaped(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    words = {"x-error-message": "\x1b[31m::error:: " + "x" * 5000}
    hub.fault("/revision/", 418, headers=words)
    done = run("params", "org/x")
    assert done.code == 3
    assert "\x1b" not in done.err
    assert len(done.err) < 600
