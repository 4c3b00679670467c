"""Plain connections to the Hub, kept open and used again, by the standard library alone.

huggingface_hub's client takes 125 ms to make and twice the time for each request: it is asked
where there is more to know than an address, see `hub_library`.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelscope_cli.sources.hub.body import Pace, unpacked
from modelscope_cli.sources.hub.retry import NoAnswer, Response

if TYPE_CHECKING:
    import ssl

_CHUNK = 65_536
_NO_TIMEOUT = 3600.0
_MAX_IDLE = 64

Origin = tuple[str, str]  # scheme, host and port


class Direct:
    """Sends requests; threads may share it. `timeout` in seconds, of each step."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pace = Pace(timeout)
        self._idle: dict[Origin, list[http.client.HTTPConnection]] = {}
        self._trust: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def send(self, url: str, headers: dict[str, str]) -> Iterator[Response]:
        """One GET, redirects not followed. Raises NoAnswer, while the body is read too."""
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc.rpartition("@")[2])
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with _explained():
            connection, answer = self._ask(origin, target, {"accept-encoding": "gzip", **headers})
            try:
                named = {name.lower(): value for name, value in answer.getheaders()}
                with self._pace.watching(_raw(answer)) as pieces:
                    yield Response(answer.status, named, unpacked(pieces, named))
            finally:
                self._put_back(origin, connection, answer)

    def _ask(
        self, origin: Origin, target: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        while (connection := self._take(origin)) is not None:
            try:
                connection.request("GET", target, headers=headers)
                return connection, connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()  # closed by the other side while it lay idle
            except BaseException:
                connection.close()
                raise
        connection = self._connected(origin)
        try:
            connection.request("GET", target, headers=headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _connected(self, origin: Origin) -> http.client.HTTPConnection:
        scheme, host = origin
        if scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, timeout=self._timeout, context=self._context()
            )
        else:
            connection = http.client.HTTPConnection(host, timeout=self._timeout)
        try:
            connection.connect()
        except TimeoutError:
            raise
        except OSError as error:
            kind = "name" if isinstance(error, socket.gaierror) else "connect"
            raise NoAnswer(kind, str(error)) from error
        connection.response_class = _Answer
        return connection

    def _context(self) -> ssl.SSLContext:
        """Trust what the system trusts, or `SSL_CERT_FILE`; made once, it takes 30 ms."""
        import ssl

        with self._lock:
            if self._trust is None:
                self._trust = ssl.create_default_context()
            return self._trust

    def _take(self, origin: Origin) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(origin)
            return idle.pop() if idle else None

    def _put_back(
        self,
        origin: Origin,
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        """Keep a connection whose answer was read to its end."""
        whole = answer.isclosed() and not answer.will_close and connection.sock is not None
        with self._lock:
            idle = self._idle.setdefault(origin, [])
            if whole and len(idle) < _MAX_IDLE and not self._closed:
                idle.append(connection)
                return
        answer.close()
        connection.close()

    def close(self) -> None:
        """Close what lies idle, and what ends later."""
        with self._lock:
            self._closed = True
            waiting = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for connection in waiting:
            connection.close()


@contextmanager
def _explained() -> Iterator[None]:
    """The system's exceptions as NoAnswer."""
    try:
        yield
    except TimeoutError as error:
        raise NoAnswer("time-out", str(error)) from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise NoAnswer("broken", str(error) or type(error).__name__) from error
    except (OSError, ValueError) as error:
        raise NoAnswer("other", f"{type(error).__name__}: {error}") from error


def _raw(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read1(_CHUNK):  # what has come: `read` waits for all of it
        yield piece
    if answer.length:  # http.client ends such a body without a word
        raise http.client.IncompleteRead(b"", answer.length)
    answer.read()  # `read1` leaves it open at its very end


class _Answer(http.client.HTTPResponse):
    """An answer whose head has to be there in time, not only each byte of it."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self._head = _Head(self.fp, sock.gettimeout() or _NO_TIMEOUT)
        self.fp = io.BufferedReader(self._head)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._head.latest = None


class _Head(io.RawIOBase):
    """Reads on until `latest`; None ends that watch."""

    def __init__(self, stream: io.BufferedIOBase, seconds: float) -> None:
        self._stream = stream
        self.latest: float | None = monotonic() + seconds

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take what has come. Raises TimeoutError."""
        if self.latest is not None and monotonic() > self.latest:
            raise TimeoutError("the head of the answer came too slowly")
        return self._stream.readinto1(buffer)

    def close(self) -> None:
        """Close what it reads, too."""
        self._stream.close()
        super().close()
