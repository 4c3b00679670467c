"""Addresses of the Hub's web pages and files, as people paste them from a browser."""

from __future__ import annotations

from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.hub_names import HOSTS, KINDS, Address, split_revision

_AT_A_PLACE = frozenset({"blob", "tree", "resolve", "raw", "blame"})
_AT_A_REVISION = frozenset({"commit", "commits"})
_ROUTES = _AT_A_PLACE | _AT_A_REVISION
_PAGES = {
    *("api", "blog", "chat", "collections", "docs", "enterprise", "join", "learn", "login"),
    *("new", "organizations", "papers", "posts", "pricing", "search", "settings", "tasks"),
}


def address(url: str, endpoint: str | None = None) -> Address:
    """Tell what a Hub address, with or without `https://`, points at.

    The same answers as `huggingface_hub.parse_hf_uri`, and besides: repos without an
    organisation, `.git` clone addresses, commit pages and ollama's `hf.co/org/name:Q4_K_M`.
    Raises UsageError for another site or a page that is no repo, file or revision.
    """
    host, path = _host_and_path(url)
    own_host, own_path = (None, "") if endpoint is None else _host_and_path(endpoint)
    if host.removeprefix("www.") not in HOSTS and host != own_host:
        raise UsageError(
            f"{url}: {host or 'that'} is not the Hugging Face Hub", "another Hub: set HF_ENDPOINT"
        )
    if host == own_host and own_path and f"{path}/".startswith(f"{own_path}/"):
        path = path[len(own_path) :]
    segments = [part for part in path.split("/") if part]
    kind = segments.pop(0) if segments and segments[0] in KINDS else "models"
    if not segments:
        raise UsageError(f"{url} names no model", "give the address of a model's page or file")
    if segments[0] in _PAGES:
        raise NotFound(f"{url} is a page of the site, not a model")
    return _located(url, kind, *_split_id(segments))


def _host_and_path(url: str) -> tuple[str, str]:
    """Host in lower case without user and port, and the path without query and fragment."""
    rest = url.partition("://")[2] if "://" in url else url
    rest = rest.partition("#")[0].partition("?")[0]
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return host.lower(), f"{slash}{path}".rstrip("/")


def _split_id(segments: list[str]) -> tuple[str, list[str]]:
    """Part the repo id from what follows. `gpt2/tree/main` is a repo without an organisation."""
    alone = len(segments) > 2 and segments[1] in _ROUTES and segments[2] not in _ROUTES
    count = 1 if alone else 2
    return "/".join(segments[:count]), segments[count:]


def _located(url: str, kind: str, repo_id: str, rest: list[str]) -> Address:
    if "@" in repo_id and len(rest) < 2:
        repo_id, _, tail = repo_id.partition("@")
        rest = ["tree", tail]
    repo_id, mark, quant = repo_id.partition(":")
    found = Address(kind, repo_id.removesuffix(".git"), None, None, quant if mark else None)
    if not rest or (len(rest) == 1 and rest[0] in _ROUTES):
        return found
    if rest[0] in _AT_A_PLACE:
        tail = "/".join(map(_decoded, rest[1:]))
        revision, file, quant_after = split_revision(tail, greedy=False)
        return found._replace(revision=revision, file=file, quant=found.quant or quant_after)
    if rest[0] in _AT_A_REVISION:
        return found._replace(revision=split_revision(_decoded(rest[1]), greedy=False)[0])
    raise UsageError(
        f"{url}: '/{rest[0]}' is no file or revision of the model",
        f"{repo_id}, or {repo_id}@refs/pr/N for a pull request",
    )


def _decoded(segment: str) -> str:
    """One segment decoded, still one: `feature%2Fx` keeps its `%2F`, decoded with the revision."""
    if "%" not in segment:
        return segment
    from urllib.parse import unquote

    return unquote(segment).replace("/", "%2F")
