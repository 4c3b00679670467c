"""The sockets: two origins, latency, a log of requests, and faults on demand."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from tests.hub_server.answers import Hub, Reply, Request, Store
from tests.hub_server.repos import Repo


class Logged(NamedTuple):
    """One request in the log; `origin` is hub or store."""

    origin: str
    method: str
    target: str
    token: str | None
    range: str | None
    status: int


class Fault(NamedTuple):
    """What goes wrong with the next `times` requests whose target holds `part`.

    `kind`: a status with `headers`, or `hang`, `cut` (the body stops half way), `drop` (the
    connection closes unanswered), `page` (a captive portal), `ignore-range`, `away` (a redirect),
    `drip` and `drip-head` (the body, or all of it, `piece` bytes every `seconds`).
    """

    part: str
    kind: str | int
    times: int = 1
    headers: dict[str, str] = {}  # noqa: RUF012
    body: bytes = b""
    seconds: float = 30.0
    piece: int = 1


class HubServer:
    """A Hub and the store behind it, each on a port of its own, until the `with` block ends."""

    def __init__(self, repos: Iterable[Repo] = (), latency: float = 0.0) -> None:
        self.repos = {repo.id: repo for repo in repos}
        self.tokens: dict[str, set[str]] = {"hf_good": set()}
        self.latency = latency
        self.log: list[Logged] = []
        self.connections = 0
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.store = Store(self.repos)
        self._store_server = _serve(self, "store", self.store.answer)
        cdn = f"http://127.0.0.1:{self._store_server.server_address[1]}"
        self.hub = Hub(self.repos, self.tokens, cdn)
        self.hub_server = _serve(self, "hub", self.hub.answer)
        self.url = f"http://127.0.0.1:{self.hub_server.server_address[1]}"

    def add(self, repo: Repo) -> Repo:
        """Put one more repo on it."""
        self.repos[repo.id] = repo
        return repo

    def fault(self, part: str, kind: str | int, **others: Any) -> None:
        """Let something go wrong."""
        self.faults.append(Fault(part, kind, **others))

    def targets(self, origin: str | None = None) -> list[str]:
        """What was asked for, in the order in which it was answered."""
        return [each.target for each in self.log if origin in (None, each.origin)]

    def take_fault(self, target: str) -> Fault | None:
        """The fault that a request meets, counted down."""
        with self.lock:
            for at, fault in enumerate(self.faults):
                if fault.part in target and fault.times > 0:
                    self.faults[at] = fault._replace(times=fault.times - 1)
                    return fault
        return None

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for server in (self.hub_server, self._store_server):
            server.shutdown()
            server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, hub: HubServer, origin: str, answer: Callable[[Request], Reply]) -> None:
        self.hub, self.origin, self.answer = hub, origin, answer
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away at any time."""


def _serve(hub: HubServer, origin: str, answer: Callable[[Request], Reply]) -> _Server:
    server = _Server(hub, origin, answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.server.hub.lock:
            self.server.hub.connections += 1
        with contextlib.suppress(OSError):
            while (request := self._request()) is not None and self._respond(request):
                pass

    def _request(self) -> Request | None:
        line = self.rfile.readline(65_536).decode("latin-1")
        if not line.strip():
            return None
        method, target, _ = line.split(" ", 2)
        headers = {}
        while (row := self.rfile.readline(65_536).decode("latin-1").strip()) != "":
            name, _, value = row.partition(":")
            headers[name.lower()] = value.strip()
        return Request(method, target, headers)

    def _respond(self, request: Request) -> bool:
        """Answer; False where the connection ends."""
        hub = self.server.hub
        if hub.latency:
            time.sleep(hub.latency)
        fault = hub.take_fault(request.target)
        if fault is not None and fault.kind in ("hang", "drop"):
            self._logged(request, 0)
            hub.ended.wait(fault.seconds if fault.kind == "hang" else 0)
            return False
        if fault is not None and fault.kind == "ignore-range":
            headers = {k: v for k, v in request.headers.items() if k != "range"}
            request = request._replace(headers=headers)
        reply = self.server.answer(request) if fault is None else self._faulty(request, fault)
        self._logged(request, reply.status)
        self._send(request, reply, fault)
        return fault is None or fault.kind != "cut"

    def _faulty(self, request: Request, fault: Fault) -> Reply:
        if isinstance(fault.kind, int):
            return Reply(fault.kind, fault.headers, fault.body)
        if fault.kind == "page":
            headers = {"content-type": "text/html"}
            return Reply(200, headers, b"<html><title>Log in to this network</title></html>")
        if fault.kind == "away":
            return Reply(302, fault.headers)
        return self.server.answer(request)

    def _logged(self, request: Request, status: int) -> None:
        wanted = request.headers.get("range")
        entry = Logged(
            self.server.origin, request.method, request.target, request.token, wanted, status
        )
        with self.server.hub.lock:
            self.server.hub.log.append(entry)

    def _send(self, request: Request, reply: Reply, fault: Fault | None) -> None:
        headers = {"content-length": str(len(reply.body)), **reply.headers}
        try:
            words = HTTPStatus(reply.status).phrase
        except ValueError:
            words = "Unknown"
        rows = [f"HTTP/1.1 {reply.status} {words}", *(f"{k}: {v}" for k, v in headers.items())]
        front = ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1")
        body = b"" if request.method == "HEAD" else reply.body
        kind = None if fault is None else fault.kind
        if kind == "cut":
            body = body[: len(body) // 2]
        if fault is not None and kind in ("drip", "drip-head"):
            self.connection.sendall(front if kind == "drip" else b"")
            self._drip(body if kind == "drip" else front + body, fault)
        else:
            self.connection.sendall(front + body)
        if kind == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)

    def _drip(self, data: bytes, fault: Fault) -> None:
        for start in range(0, len(data), fault.piece):
            self.connection.sendall(data[start : start + fault.piece])
            if self.server.hub.ended.wait(fault.seconds):
                return
