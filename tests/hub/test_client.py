"""Who sends the requests, with which token: as huggingface_hub would, only sooner."""

from __future__ import annotations

import gzip
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep, time
from urllib.parse import quote

import huggingface_hub
import pytest
from huggingface_hub import constants

from modelscope_cli.load import open_model
from modelscope_cli.sources.hub import library as hub_library
from modelscope_cli.sources.hub import store as hub_store
from modelscope_cli.sources.hub.body import Pace
from modelscope_cli.sources.hub.direct import Direct
from modelscope_cli.sources.hub.retry import NoAnswer
from tests.builders import folders
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.hub_server.answers import Reply, Request
from tests.running import Run, run_python

FILES: dict[str, object] = {
    "config.json": folders.BERT,
    "model.safetensors": folders.weights("a", "b"),
}
STORED = "[mine]\nhf_token = hf_stored\n"


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "token"
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "stored_tokens"))
    return path


@pytest.mark.parametrize(
    ("environment", "stored"),
    [
        ({}, None),
        ({}, "hf_file\n"),
        ({}, " \r\n"),
        ({"HF_TOKEN": "hf_env"}, "hf_file"),
        ({"HF_TOKEN": " hf_env\n"}, None),
        ({"HF_TOKEN": ""}, "hf_file"),
        ({"HF_TOKEN": " "}, "hf_file"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_old"}, "hf_file"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_TOKEN": "hf_env"}, None),
    ],
)
def test_the_token_is_the_library_s(
    environment: dict[str, str],
    stored: str | None,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if stored is not None:
        token_file.write_text(stored)
    assert hub_library.token() == huggingface_hub.get_token()


@pytest.mark.usefixtures("token_file")
def test_a_login_that_can_be_renewed_is_the_library_s_business(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_renewed")
    token_file.write_text("hf_stored")
    stored = Path(constants.HF_STORED_TOKENS_PATH)
    stored.write_text(STORED)
    assert hub_library.token() == "hf_stored"
    stored.write_text(f"{STORED}refresh_token = r\nexpires_at = 1\n")
    assert hub_library.token() == "hf_renewed"
    stored.unlink()
    monkeypatch.setenv("HF_OIDC_RESOURCE", "org/x")
    assert hub_library.token() == "hf_renewed"


_WHO = """
import sys
from modelscope_cli.load import open_model
open_model("org/x")
print("httpx2" in sys.modules or "httpx" in sys.modules)
"""


@pytest.mark.parametrize(
    ("first", "environment", "library"),
    [
        ("", {}, sys.platform != "linux"),
        ("from huggingface_hub import get_session\n", {}, True),
        ("", {"HTTPS_PROXY": "http://127.0.0.1:9"}, True),
        ("", {"all_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}, True),
    ],
)
def test_who_sends(
    hub: HubServer, add: AddRepo, first: str, environment: dict[str, str], library: bool
) -> None:
    add("org/x", FILES)
    done = run_python("-c", first + _WHO, env=environment)
    assert (done.code, done.out.strip()) == (0, str(library)), done.err


# A user in the endpoint's address


@pytest.mark.usefixtures("client", "token_file")
@pytest.mark.parametrize(
    ("user", "shown"),
    [("me:s3cret", "me:s3cret"), ("me%40x:s3%2Fcret", "me@x:s3/cret"), ("robot", "robot:")],
)
def test_a_password_in_the_endpoint_is_for_the_hub_alone(
    hub: HubServer,
    add: AddRepo,
    run: Run,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    shown: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("://", f"://{user}@"))
    seen: set[str] = set()
    answer = hub.hub.answer

    def basic(request: Request) -> Reply:
        seen.add(request.headers.get("authorization", ""))
        others = {k: v for k, v in request.headers.items() if k != "authorization"}
        return answer(request._replace(headers=others))

    monkeypatch.setattr(hub.hub_server, "answer", basic)
    add("org/x", FILES)
    add("org/gated", FILES, access="gated")
    assert run("params", "org/x").code == 0
    expected = f"Basic {b64encode(shown.encode()).decode()}"
    assert seen == {expected}
    hub.fault("/revision/v9", 500, times=9)
    for model in ("org/none", "org/gated", "org/x/none.json", "org/x@v9"):
        done = run("params", model)
        assert done.code in (3, 6)
        assert "cret" not in done.err
        assert user not in done.err
    kept = [path.name for path in Path(hub_store.folder()).iterdir()]
    assert kept == [quote(hub.url.partition("://")[2], safe="")]


@pytest.mark.parametrize(
    "endpoint",
    ["http://me:s3cret@", "http://me:s3/cret@h", "http://me:s3 cret@h", "me:s3cret@h",
     "ftp://me:s3cret@h", "http://me:s3@cret@h:x"],
)  # fmt: skip
def test_a_password_in_no_endpoint_is_not_shown(
    run: Run, hub: HubServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    done = run("params", "hf://org/x")
    assert done.code == 2
    assert "***@" in done.err
    assert "cret" not in done.err
    assert "s3" not in done.err


def test_a_proxy_is_used(hub: HubServer, add: AddRepo) -> None:
    """A proxy is asked for whole addresses: here the Hub itself plays one."""
    add("org/x", FILES)
    hub.fault("http://", 418, times=99)
    done = run_python("-c", _WHO, env={"HTTP_PROXY": hub.url, "HF_ENDPOINT": "http://hub.example"})
    assert done.code == 1
    assert hub.targets()[0].startswith("http://hub.example/")


def test_connections_are_used_again(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", FILES)
    client = Direct(5)
    for _ in range(9):
        with client.send(f"{hub.url}/api/models/org/x", {}) as response:
            assert repo.main.encode() in b"".join(response.body)
    client.close()
    assert hub.connections == 1


def test_a_connection_closed_while_it_lay_idle(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    client = Direct(5)
    with client.send(f"{hub.url}/api/models/org/x", {}) as response:
        b"".join(response.body)
    hub.fault("/api/models", "drop")
    with client.send(f"{hub.url}/api/models/org/x", {}) as response:
        assert response.status == 200
        b"".join(response.body)
    client.close()
    assert hub.connections == 2


def test_an_unread_answer_is_not_taken_for_the_next(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {"big.txt": "x" * 1_000_000})
    client = Direct(5)
    url = f"{hub.url}/api/resolve-cache/models/org/x/{hub.repos['org/x'].main}/big.txt"
    for _ in range(3):
        with client.send(url, {}) as response:
            assert next(response.body)
    client.close()
    assert hub.connections == 3


def _encoded(hub: HubServer, body: bytes, encoding: str = "gzip") -> bytes:
    hub.fault("/api/models", 200, headers={"content-encoding": encoding}, body=body)
    client = Direct(5)
    try:
        with client.send(f"{hub.url}/api/models/org/x", {}) as response:
            return b"".join(response.body)
    finally:
        client.close()


def test_compressed_answers(hub: HubServer) -> None:
    data = b"header " * 300_000
    assert _encoded(hub, gzip.compress(data)) == data
    with pytest.raises(NoAnswer, match="ends early"):
        _encoded(hub, gzip.compress(data)[:-20])
    with pytest.raises(NoAnswer, match="damaged"):
        _encoded(hub, b"nothing of the kind")
    with pytest.raises(NoAnswer, match="not asked for"):
        _encoded(hub, b"x", "br")


def test_a_bomb_is_unpacked_no_further_than_asked(hub: HubServer) -> None:
    hub.fault(
        "/api", 200, headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(500_000_000))
    )
    client = Direct(5)
    with client.send(f"{hub.url}/api/models/org/x", {}) as response:
        assert len(next(response.body)) <= 2_000_000
    client.close()


def test_a_head_that_drips(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    hub.fault("/api/models", "drip-head", seconds=0.05)
    client = Direct(0.3)
    started = time()
    with pytest.raises(NoAnswer, match="too slowly"), client.send(f"{hub.url}/api/models/x", {}):
        pass
    assert time() - started < 2
    client.close()


def test_many_slow_answers_share_a_link() -> None:
    pace = Pace(0.0)
    with ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(pace.watching(iter(())))
        slow = stack.enter_context(pace.watching(_every(0.1, b"x" * 60)))
        assert sum(map(len, slow)) == 300  # 600 bytes a second each, of ten
    with pace.watching(_every(0.1, b"x" * 60)) as slow, pytest.raises(NoAnswer):
        list(slow)


def _every(seconds: float, piece: bytes) -> Iterator[bytes]:
    for _ in range(5):
        sleep(seconds)
        yield piece


def test_no_threads_stay(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    open_model("org/x")
    for thread in threading.enumerate():
        if thread.name == "mscope-hub":
            thread.join(5)
            assert not thread.is_alive()
