"""Every way the Hub or the network can refuse: one line, the right exit code, what to try."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest
from huggingface_hub import constants

from modelscope_cli.errors import NetworkTrouble, NotFound
from modelscope_cli.load import How, open_model
from modelscope_cli.sources import hub_library
from tests.builders import folders
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.running import Completed, Run

FILES = {"config.json": folders.BERT, "model.safetensors": folders.weights("a", "b")}


@pytest.fixture(params=["standard library", "huggingface_hub"], autouse=True)
def client(request: pytest.FixtureRequest, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds whoever sends the requests."""
    monkeypatch.setattr(hub_library, "is_needed", lambda: request.param == "huggingface_hub")


def lines(done: Completed) -> tuple[str, str]:
    """The error and its hint: all that stderr holds."""
    rows = done.err.splitlines()
    assert rows[0].startswith("mscope: error: "), done.err
    assert len(rows) <= 2
    assert not done.out
    hint = rows[1].removeprefix("mscope: hint: ") if len(rows) > 1 else ""
    return rows[0].removeprefix("mscope: error: "), hint


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")


# Not there, or not allowed: 3


def test_no_such_repo(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/name", FILES)
    assert run("params", "org/name").code == 0
    done = run("params", "hf://org/nane")
    assert done.code == 3
    error, hint = lines(done)
    host = hub.url.partition("://")[2]
    assert error == f"org/nane: {host} has no such model, or it is private and no token is set"
    assert hint.startswith(
        "did you mean org/name?; for a private model log in with `hf auth login`"
    )
    assert "no file or folder of that name here either" in run("params", "org/nane").err


@pytest.mark.usefixtures("login")
def test_no_such_repo_with_a_token(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/secret", FILES, access="private")
    for name in ("org/none", "org/secret"):
        done = run("params", f"hf://{name}")
        assert done.code == 3
        assert "has no such model, or it is private and the token that is set may not" in done.err
    hub.tokens["hf_good"].add("org/secret")
    assert run("params", "org/secret").code == 0
    assert {each.token for each in hub.log if each.origin == "hub"} == {"hf_good"}


def test_gated(hub: HubServer, add: AddRepo, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add("org/x", FILES, access="gated")
    done = run("params", "org/x")
    assert done.code == 3
    error, hint = lines(done)
    assert error == "org/x is gated, and no token is set"
    assert f"granted at {hub.url}/org/x; then log in" in hint
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    done = run("params", "org/x")
    assert done.code == 3
    error, hint = lines(done)
    assert error == "org/x is gated, and the account of the token that is set has no access"
    assert hint == f"access is asked for and granted at {hub.url}/org/x"
    hub.tokens["hf_good"].add("org/x")
    assert run("params", "org/x").code == 0


def test_a_wrong_token(
    hub: HubServer, add: AddRepo, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("org/x", FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    done = run("params", "org/x")
    assert done.code == 3
    assert "refuses the token: Invalid credentials in Authorization header" in lines(done)[0]
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert run("params", "org/x").code == 0


def test_disabled(add: AddRepo, run: Run) -> None:
    add("org/x", FILES, access="disabled")
    done = run("params", "org/x")
    assert done.code == 3
    assert lines(done)[0].endswith("answers 403: Access to this resource is disabled.")


def test_no_such_revision(add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    done = run("params", "org/x@v9")
    assert done.code == 3
    assert lines(done)[0].startswith("org/x has no revision v9 on 127.0.0.1")


def test_no_such_file(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    done = run("params", "org/x/modle.safetensors")
    assert done.code == 3
    assert lines(done)[1] == "did you mean model.safetensors?"
    # Listed, but gone when it is asked for.
    headers = {"x-error-code": "EntryNotFound"}
    hub.fault("/resolve/", 404, times=9, headers=headers)
    done = run("params", "org/x")
    assert done.code == 3
    assert "has no file" in lines(done)[0]


def test_nothing_to_read(add: AddRepo, run: Run) -> None:
    add("org/x", {"README.md": "x"})
    assert run("params", "org/x").code == 3


# Trouble that may pass: 6


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


# The token


@pytest.mark.usefixtures("login")
@pytest.mark.parametrize("storage", ["lfs", "xet"])
def test_the_token_stays_with_the_endpoint(hub: HubServer, add: AddRepo, storage: str) -> None:
    add("org/x", FILES, storage=storage)
    assert open_model("org/x").ref.files == 1
    assert {each.token for each in hub.log if each.origin == "hub"} == {"hf_good"}
    assert [each.token for each in hub.log if each.origin == "store"] == [None]


@pytest.mark.usefixtures("login")
def test_another_port_is_another_origin(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    with HubServer() as other:
        hub.fault("/config.json", "away", times=9, headers={"location": f"{other.url}/steal"})
        with pytest.raises((NotFound, NetworkTrouble)):
            open_model("org/x")
        assert [each.token for each in other.log]
        assert {each.token for each in other.log} == {None}


def test_a_stored_login_is_used(
    hub: HubServer, add: AddRepo, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "token"
    path.write_text("hf_good\n")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    add("org/x", FILES)
    open_model("org/x")
    assert {each.token for each in hub.log if each.origin == "hub"} == {"hf_good"}


# Servers that do things their own way


def test_range_ignored(hub: HubServer, add: AddRepo) -> None:
    many = [f"layer.{number}.{'x' * 100}" for number in range(3000)]
    add("org/x", {**FILES, "model.safetensors": folders.weights(*many)})
    hub.fault("X-Signature", "ignore-range", times=9)
    facts = open_model("org/x")
    assert len(facts.tensors) == 3000  # type: ignore[arg-type]


def test_a_moved_repo(hub: HubServer, add: AddRepo) -> None:
    add("org/new", FILES)
    add("org/old", FILES).moved_to = "org/new"
    assert open_model("org/old").ref.files == 1


def test_a_signed_address_that_expires(hub: HubServer, add: AddRepo) -> None:
    many = [f"layer.{number}.{'x' * 100}" for number in range(3000)]
    add("org/x", {"model.safetensors": folders.weights(*many)})
    answers = iter([None, 403])
    take = hub.take_fault

    def second_time(target: str):  # type: ignore[no-untyped-def]
        if "X-Signature" in target and next(answers, None) == 403:
            hub.fault("X-Signature", 403)
        return take(target)

    hub.take_fault = second_time  # type: ignore[method-assign]
    assert len(open_model("org/x").tensors) == 3000  # type: ignore[arg-type]
    assert [each.status for each in hub.log if each.origin == "store"] == [206, 403, 206]


def test_other_bytes_than_asked_for(
    hub: HubServer, add: AddRepo, run: Run, pauses: list[float]
) -> None:
    add("org/x", FILES)
    headers = {"content-range": "bytes 5-9/10"}
    hub.fault("X-Signature", 206, times=99, headers=headers, body=b"xxxxx")
    done = run("params", "org/x")
    assert done.code == 6
    assert "answered a range request with other bytes" in lines(done)[0]


def test_jobs_bound_the_connections(hub: HubServer, add: AddRepo) -> None:
    add("org/x", dict(folders.sharded()))
    assert open_model("org/x", How(jobs=1)).ref.files == 2
    assert hub.connections <= 2  # one to each origin
