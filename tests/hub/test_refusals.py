"""Every way the Hub or the network can refuse: one line, the right exit code, what to try."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from modelscope_cli.errors import NetworkTrouble, NotFound
from modelscope_cli.load import How, open_model
from tests.builders import folders
from tests.hub.conftest import FILES, AddRepo, lines
from tests.hub_server import HubServer
from tests.running import Run

pytestmark = pytest.mark.usefixtures("client")


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
