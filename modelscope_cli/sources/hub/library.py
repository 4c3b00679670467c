"""Requests through huggingface_hub's own client: proxies, other platforms' trust, its factory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_cli.sources.hub.body import Pace, unpacked
from modelscope_cli.sources.hub.retry import NoAnswer, Response

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_KNOWN_TRUST = "linux"  # elsewhere the system's certificates and proxies take more than a file


def is_needed() -> bool:
    """Whether more is to be known than an address, or the library is imported anyway."""
    return (
        sys.platform != _KNOWN_TRUST
        or any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)
        or "huggingface_hub.utils" in sys.modules  # its user may have set a client factory
    )


def token() -> str | None:
    """The user's token as the library finds it, where that is more than a variable or a file."""
    from huggingface_hub import constants

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    if os.environ.get("HF_OIDC_RESOURCE") or "google.colab" in sys.modules or _can_be_renewed():
        from huggingface_hub import get_token

        return get_token()
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    return _clean(given) or _clean(_text(constants.HF_TOKEN_PATH))


def _can_be_renewed() -> bool:
    """Whether a login by browser is stored, whose token the library renews."""
    from huggingface_hub import constants

    return "refresh_token" in _text(getattr(constants, "HF_STORED_TOKENS_PATH", ""))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1_000_000)
    except OSError:
        return ""


def _clean(text: str | None) -> str | None:
    return (text or "").replace("\r", "").replace("\n", "").strip() or None


class Library:
    """Sends requests through the shared session of huggingface_hub."""

    def __init__(self, timeout: float) -> None:
        from huggingface_hub import get_session

        self._client: Any = get_session()
        # httpx of huggingface_hub 1, httpx2 of 2: whichever made the client.
        self._http: Any = sys.modules[type(self._client).__module__.partition(".")[0]]
        self._timeout = timeout
        self._pace = Pace(timeout)

    @contextmanager
    def send(self, url: str, headers: dict[str, str]) -> Iterator[Response]:
        """One GET, redirects not followed. Raises NoAnswer, while the body is read too."""
        http = self._http
        headers = {"accept-encoding": "gzip", **headers}
        try:
            with self._client.stream(
                "GET", url, headers=headers, timeout=self._timeout, follow_redirects=False
            ) as answer:
                named = {name.lower(): value for name, value in answer.headers.items()}
                with self._pace.watching(answer.iter_raw()) as pieces:
                    yield Response(answer.status_code, named, unpacked(pieces, named))
        except (http.HTTPError, http.InvalidURL, OSError, ValueError) as error:
            raise _explained(error, http) from error

    def close(self) -> None:
        """Leave the session to the library, which shares it."""


def _explained(error: Exception, http: Any) -> NoAnswer:
    text = str(error) or type(error).__name__
    if isinstance(error, (http.TimeoutException, TimeoutError)):
        return NoAnswer("time-out", text)
    if isinstance(error, (http.ConnectError, http.ProxyError)):
        unknown = any(word in text for word in ("Name or service", "getaddrinfo", "nodename"))
        return NoAnswer("name" if unknown else "connect", text)
    if isinstance(error, http.TransportError):
        return NoAnswer("broken", text)
    return NoAnswer("other", f"{type(error).__name__}: {text}")
