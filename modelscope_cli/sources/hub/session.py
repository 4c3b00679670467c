"""Requests to the Hub, at huggingface_hub's endpoint and with its token.

Retry, time-outs, redirects and bounds are ours: the library gives up at the first 429 of a
header read, and follows redirects wherever they lead.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from modelscope_cli import __version__
from modelscope_cli.errors import NetworkTrouble, NotFound
from modelscope_cli.sources.hub import addresses
from modelscope_cli.sources.hub import retry as hub_retry
from modelscope_cli.sources.hub.addresses import host_of, origin

MAX_ANSWER_BYTES = 110_000_000  # the largest header, and the JSON around it
MAX_HOPS = 8
_MAX_SKIPPED_BYTES = 16_000_000  # of a server that ignores Range
_SMALL = 1_000_000  # what a redirect or an error may say
_REDIRECTS = (301, 302, 303, 307, 308)


class Offline(NotFound):
    """Something is not here, and the network may not be used."""


class Span(NamedTuple):
    """Bytes wanted of a file; `length` is at least 1."""

    start: int
    length: int


class Answer(NamedTuple):
    """What the last hop said; `commit` is what the Hub itself said on the way.

    `body` starts at the byte that was asked for; names of `headers` are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    commit: str | None = None

    @property
    def is_page(self) -> bool:
        """Whether it is a web page for people."""
        return "html" in self.headers.get("content-type", "").lower()


class Client(Protocol):
    """Who sends requests: `hub_direct.Direct` or `hub_library.Library`."""

    def send(self, url: str, headers: dict[str, str]) -> AbstractContextManager[hub_retry.Response]:
        """One GET, redirects not followed. Raises NoAnswer, while the body is read too."""
        ...

    def close(self) -> None:
        """Close what lies idle."""
        ...


class Session:
    """One run's connections to one Hub; threads may share it."""

    def __init__(self, *, offline: bool = False) -> None:
        from huggingface_hub import constants

        self.endpoint, self._user = addresses.endpoint(constants.ENDPOINT)
        self._offline = offline
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._token: str | None = None
        self._gate = hub_retry.Gate()
        self._closed = False

    @property
    def host(self) -> str:
        """The endpoint's host, for messages."""
        return host_of(self.endpoint)

    @property
    def has_token(self) -> bool:
        """Whether a token goes with requests to the endpoint."""
        self._ready()
        return self._token is not None

    def get(self, url: str, span: Span | None = None, limit: int = MAX_ANSWER_BYTES) -> Answer:
        """Ask, following redirects; the token goes to the endpoint's origin only.

        Every status comes back as an answer. Raises NetworkTrouble where none came, or where
        429 and 5xx did not end.
        """
        commit = None
        home = origin(self.endpoint)
        for _ in range(MAX_HOPS):
            answer = self._patiently(url, span, limit)
            if origin(url) == home:
                commit = answer.headers.get("x-repo-commit") or commit
            place = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not place:
                return answer._replace(commit=commit)
            url = addresses.next_hop(url, place)
        raise NetworkTrouble(f"{self.host}: more than {MAX_HOPS} redirects")

    def _patiently(self, url: str, span: Span | None, limit: int) -> Answer:
        """One hop, again and again where that may help."""
        tries = 0
        while True:
            self._gate.wait()
            tries += 1
            answer, problem = self._attempt(url, span, limit)
            if answer is not None and answer.status not in hub_retry.STATUSES:
                return answer
            if self._closed:  # nobody waits for it any more
                raise NetworkTrouble(f"{host_of(url)}: given up")
            status, headers = (0, {}) if answer is None else (answer.status, answer.headers)
            wait = hub_retry.wait_before(tries, status, headers, problem)
            if wait is not None:
                self._gate.close_for(wait, shared=status == 429)
            elif problem is not None:
                raise NetworkTrouble(*hub_retry.explained(problem, host_of(url)))
            elif answer is not None:
                return answer

    def _attempt(
        self, url: str, span: Span | None, limit: int
    ) -> tuple[Answer | None, hub_retry.NoAnswer | None]:
        try:
            return self._send(url, span, limit), None
        except hub_retry.NoAnswer as problem:
            return None, problem

    def _send(self, url: str, span: Span | None, limit: int) -> Answer:
        client = self._ready()
        headers = {"user-agent": self._agent}
        if origin(url) == origin(self.endpoint) and (shown := self._authorization()):
            headers["authorization"] = shown
        if span is not None:
            headers["range"] = f"bytes={span.start}-{span.start + span.length - 1}"
            headers["accept-encoding"] = "identity"
            limit = span.length
        with client.send(url, headers) as response:
            return _answer(response, span, limit, url)

    def _authorization(self) -> str | None:
        """What the endpoint is shown: a user in its address goes before the token, as in httpx."""
        return self._user or (f"Bearer {self._token}" if self._token is not None else None)

    def _ready(self) -> Client:
        """The client, made once."""
        with self._lock:
            if self._client is None:
                self._client = self._connected()
            return self._client

    def _connected(self) -> Client:
        from huggingface_hub import __version__ as hub_version
        from huggingface_hub import constants

        from modelscope_cli.sources.hub import library as hub_library

        if self._offline or constants.HF_HUB_OFFLINE:
            raise Offline("this was not read from the Hub before")
        try:
            self._token = hub_library.token()
        except Exception as error:  # an exchange of tokens over the network, in CI
            problem = f"{type(error).__name__}: {error}"
            raise NetworkTrouble(f"no token could be had: {problem}") from error
        python = ".".join(map(str, sys.version_info[:3]))
        self._agent = f"mscope/{__version__}; hf_hub/{hub_version}; python/{python}"
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        if hub_library.is_needed():
            return hub_library.Library(timeout)
        from modelscope_cli.sources.hub.direct import Direct

        return Direct(timeout)

    def close(self) -> None:
        """Close the connections that lie idle, and try nothing again."""
        self._closed = True
        if self._client is not None:
            self._client.close()


def _answer(response: hub_retry.Response, span: Span | None, limit: int, url: str) -> Answer:
    status, headers, _ = response
    skipped = 0
    if not 200 <= status < 300:
        limit = min(limit, _SMALL) if span is None else _SMALL
    elif span is not None and status == 200:
        skipped = span.start  # Range was ignored: the file comes from its first byte
        if skipped > _MAX_SKIPPED_BYTES:
            raise NetworkTrouble(f"{host_of(url)} ignores range requests")
    elif span is not None:
        _check_range(headers, span, url)
    whole = 200 <= status < 300 and span is None
    body = _bounded(response, skipped + limit, refuse=whole)
    return Answer(status, headers, body[skipped:], url)


def _check_range(headers: Mapping[str, str], span: Span, url: str) -> None:
    said = headers.get("content-range", "")
    if not said.startswith(f"bytes {span.start}-") or "content-encoding" in headers:
        raise NetworkTrouble(f"{host_of(url)} answered a range request with other bytes")


def _bounded(response: hub_retry.Response, limit: int, *, refuse: bool) -> bytes:
    """The body up to `limit` bytes; what is longer is refused, or cut off."""
    parts: list[bytes] = []
    length = 0
    for part in response.body:
        parts.append(part)
        length += len(part)
        if length > limit:
            if refuse:
                raise NetworkTrouble(f"an answer of more than {limit:,} bytes")
            break
    return b"".join(parts)[:limit]
