"""What the Hub answers: routes, status codes, headers and documents, without any socket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_server.repos import Content, Repo

PAGE = 1000  # entries of a page of the tree
_INFO = re.compile(r"/api/models/((?:[^/]+/)?[^/]+?)(?:/revision/([^/]+))?")
_TREE = re.compile(r"/api/models/((?:[^/]+/)?[^/]+)/tree/([^/]+)")
_ALL = re.compile(r"/api/models/((?:[^/]+/)?[^/]+)/safetensors-metadata/(.+)")
_RESOLVE = re.compile(r"/((?:[^/]+/)?[^/]+)/resolve/([^/]+)/(.+)")
_KEPT = re.compile(r"/api/resolve-cache/models/((?:[^/]+/)?[^/]+)/([0-9a-f]{40})/(.+)")


class Request(NamedTuple):
    """A request as it came; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def token(self) -> str | None:
        """The bearer token."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None


class Reply(NamedTuple):
    """An answer; `body` may be a part of a file."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


class Hub:
    """The endpoint. `tokens` maps each token to the repos it may read."""

    def __init__(self, repos: Mapping[str, Repo], tokens: Mapping[str, set[str]], cdn: str) -> None:
        self.repos = repos
        self.tokens = tokens
        self.cdn = cdn
        self.tree_only = False  # as for repos too large for siblings
        self.unsaid: tuple[str, ...] = ()  # keys that a mirror leaves out of siblings
        self.unsaid_in_trees: tuple[str, ...] = ()
        self.host_of_links: str | None = None  # the Hub behind a mirror

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        path = urlsplit(request.target).path
        for pattern, route in (
            (_KEPT, self._kept),
            (_TREE, self._tree),
            (_ALL, self._all_headers),
            (_RESOLVE, self._resolve),
            (_INFO, self._info),
        ):
            if match := pattern.fullmatch(path):
                return route(request, *(unquote(g) if g else g for g in match.groups()))
        return refusal(404, None, "Not Found")

    def _repo(self, request: Request, repo_id: str) -> Repo | Reply:
        """The repo, or why this caller may not see it; gated repos show their information."""
        if request.token is not None and request.token not in self.tokens:
            return refusal(401, None, "Invalid credentials in Authorization header")
        repo = self.repos.get(repo_id)
        seen = repo is not None and (repo.access != "private" or self._allowed(request, repo))
        if repo is None or not seen:
            anonymous = request.token is None
            text = "Invalid username or password." if anonymous else "Repository not found"
            return refusal(401 if anonymous else 404, "RepoNotFound", text)
        if repo.access == "disabled":
            return refusal(403, None, "Access to this resource is disabled.")
        if repo.moved_to is not None:
            place = request.target.replace(repo_id, repo.moved_to, 1)
            return Reply(307, {"location": place})
        return repo

    def _allowed(self, request: Request, repo: Repo) -> bool:
        return repo.id in self.tokens.get(request.token or "", ())

    def _commit(self, repo: Repo, revision: str) -> str | Reply:
        found = repo.find(revision)
        if found is None:
            return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _info(self, request: Request, repo_id: str, revision: str | None) -> Reply:
        repo = self._repo(request, repo_id)
        if isinstance(repo, Reply):
            return repo
        commit = self._commit(repo, revision or "main")
        if isinstance(commit, Reply):
            return commit
        blobs = "blobs" in parse_qs(urlsplit(request.target).query)
        files = sorted(repo.commits[commit].items())
        siblings = [_without(self.unsaid, _sibling(path, c, blobs)) for path, c in files]
        document = {
            "_id": "0123456789abcdef01234567",
            "id": repo.id,
            "modelId": repo.id,
            "private": repo.access == "private",
            "gated": "manual" if repo.access == "gated" else False,
            "sha": commit,
            "siblings": None if self.tree_only else siblings,
        }
        return document_reply(document)

    def _tree(self, request: Request, repo_id: str, revision: str) -> Reply:
        repo = self._repo(request, repo_id)
        if isinstance(repo, Reply):
            return repo
        commit = self._commit(repo, revision)
        if isinstance(commit, Reply):
            return commit
        query = parse_qs(urlsplit(request.target).query)
        start = int(query.get("cursor", ["0"])[0])
        files = repo.commits[commit]
        entries = [_without(self.unsaid_in_trees, each) for each in _tree_entries(files)]
        reply = document_reply(entries[start : start + PAGE])
        if start + PAGE < len(entries):
            base = request.target.partition("?")[0]
            more = f"{base}?recursive=true&cursor={start + PAGE}"
            host = self.host_of_links or request.headers.get("host", "")
            reply.headers["link"] = f'<http://{host}{more}>; rel="next"'
        return reply

    def _all_headers(self, request: Request, repo_id: str, index: str) -> Reply:
        repo = self._repo(request, repo_id)
        if isinstance(repo, Reply):
            return repo
        if (body := repo.all_headers.get(index)) is None:
            return refusal(404, "EntryNotFound", "Entry not found")
        return Reply(200, {"content-type": "application/json; charset=utf-8"}, body)

    def _resolve(self, request: Request, repo_id: str, revision: str, path: str) -> Reply:
        repo = self._repo(request, repo_id)
        if isinstance(repo, Reply):
            return repo
        if repo.access == "gated" and not self._allowed(request, repo):
            status = 401 if request.token is None else 403
            return refusal(status, "GatedRepo", f"Access to model {repo_id} is restricted.")
        commit = self._commit(repo, revision)
        if isinstance(commit, Reply):
            return commit
        content = repo.commits[commit].get(path)
        headers = {"x-repo-commit": commit}
        if content is None:
            return refusal(404, "EntryNotFound", "Entry not found", headers)
        if content.storage == "git":
            kept = f"/api/resolve-cache/models/{repo_id}/{commit}/{quote(path)}"
            return Reply(307, {**headers, "location": kept})
        headers["x-linked-etag"] = f'"{content.sha256}"'
        headers["x-linked-size"] = str(content.size)
        if content.storage == "xet":
            headers["x-xet-hash"] = content.sha256[::-1]
            headers["x-xet-refresh-route"] = f"/api/models/{repo_id}/xet-read-token/{commit}"
        place = f"{self.cdn}/{repo_id}/{content.sha256}?X-Signature=abc&Expires=1"
        return Reply(302, {**headers, "location": place})

    def _kept(self, request: Request, repo_id: str, commit: str, path: str) -> Reply:
        repo = self._repo(request, repo_id)
        if isinstance(repo, Reply):
            return repo
        content = repo.commits[commit][path]
        headers = {"x-repo-commit": commit, "etag": f'"{content.git}"'}
        return part(content, request, headers)


class Store:
    """The other origin, which keeps large files: it refuses whoever shows it a token."""

    def __init__(self, repos: Mapping[str, Repo]) -> None:
        self.repos = repos
        self.by_hash: dict[str, Content] = {}

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        if "authorization" in request.headers:
            return refusal(400, None, "Only one auth mechanism allowed")
        if "X-Signature=" not in request.target:
            return refusal(403, None, "Access denied")
        name = urlsplit(request.target).path.rpartition("/")[2]
        if name not in self.by_hash:
            for repo in self.repos.values():
                for files in repo.commits.values():
                    self.by_hash |= {each.sha256: each for each in files.values()}
        content = self.by_hash.get(name)
        if content is None:
            return refusal(404, None, "no such key")
        return part(content, request, {"etag": f'"{content.sha256}"'})


def part(content: Content, request: Request, headers: dict[str, str]) -> Reply:
    """A file, or the range of it that was asked for."""
    headers = {**headers, "accept-ranges": "bytes", "content-type": "application/octet-stream"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None:
        size = content.size
        body = b"" if request.method == "HEAD" else content.read(0, size)
        return Reply(200, {**headers, "content-length": str(size)}, body)
    start = int(wanted[1])
    if start >= content.size:
        return Reply(416, {**headers, "content-range": f"bytes */{content.size}"})
    end = min(int(wanted[2] or content.size), content.size - 1)
    headers["content-range"] = f"bytes {start}-{end}/{content.size}"
    return Reply(206, headers, content.read(start, end + 1 - start))


def refusal(
    status: int, code: str | None, text: str, headers: Mapping[str, str] | None = None
) -> Reply:
    """An error as the Hub words it."""
    named = {"x-error-message": text, **({"x-error-code": code} if code else {})}
    body = json.dumps({"error": text}).encode()
    return Reply(status, {**(headers or {}), **named, "content-type": "application/json"}, body)


def document_reply(document: Any) -> Reply:
    """JSON."""
    body = json.dumps(document).encode()
    return Reply(200, {"content-type": "application/json; charset=utf-8"}, body)


def _sibling(path: str, content: Content, blobs: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path}
    if blobs:
        found |= {"blobId": content.git, "size": content.size}
        if content.storage != "git":
            found["lfs"] = {"sha256": content.sha256, "size": content.size, "pointerSize": 135}
    return found


def _without(keys: tuple[str, ...], entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


def _tree_entries(files: Mapping[str, Content]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        for folder in sorted({path.rpartition("/")[0] for path in files} - {""})
    ]
    for path, content in sorted(files.items()):
        entry: dict[str, Any] = {"type": "file", "oid": content.git, "size": content.size}
        if content.storage != "git":
            entry["lfs"] = {"oid": content.sha256, "size": content.size, "pointerSize": 135}
        if content.storage == "xet":
            entry["xetHash"] = content.sha256[::-1]
        entries.append({**entry, "path": path})
    return entries
