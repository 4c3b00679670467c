"""Whose address it is: the endpoint, what a token is given for, where a redirect may lead."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from modelscope_cli.errors import NetworkTrouble, UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """A Hub's address without a slash at its end, and without the user that it may name.

    That user, with a password, is what `authorization` tells the Hub and nobody else.
    """

    url: str
    authorization: str | None = None


def endpoint(text: str) -> Endpoint:
    """Read what HF_ENDPOINT says. Raises UsageError for what is no address of a Hub."""
    url = text.rstrip("/")
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme, host = "", ""
    if scheme not in _DEFAULT_PORTS or not host or not url.isprintable() or " " in url:
        shown = _without_user(url)
        raise UsageError(f"HF_ENDPOINT={shown!r} is no address of a Hub", "https://HOST")
    parts = urlsplit(url)
    user, mark, _ = parts.netloc.rpartition("@")
    if not mark:
        return Endpoint(url)
    name, _, password = user.partition(":")
    secret = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return Endpoint(parts._replace(netloc=host_of(url)).geturl(), f"Basic {secret}")


def _without_user(url: str) -> str:
    """An address that may be malformed, without all that could be a password."""
    before, mark, rest = url.rpartition("@")
    scheme, slashes, _ = before.rpartition("://")
    return f"{scheme}{slashes}***@{rest}" if mark else url


def host_of(url: str) -> str:
    """Host and port, for messages: never the user and password before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address: what a token is given for."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


def next_hop(url: str, place: str) -> str:
    """Where a redirect leads. Raises NetworkTrouble where it is not followed."""
    try:
        target = urljoin(url, place)
        scheme = origin(target)[0]
    except ValueError:
        raise NetworkTrouble(f"{host_of(url)}: a redirect to no address") from None
    if scheme not in _DEFAULT_PORTS or (scheme == "http" and urlsplit(url).scheme == "https"):
        raise NetworkTrouble(f"{host_of(url)}: a redirect to {scheme}:// is not followed")
    return target
