"""What the Hub says of a commit: its files, their sizes and hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from modelscope_cli.errors import NotFound
from modelscope_cli.hub_names import file_problem, is_commit
from modelscope_cli.sources.hub import errors as hub_errors
from modelscope_cli.sources.hub.addresses import origin
from modelscope_cli.sources.hub.session import Answer, Session

MAX_LISTING_BYTES = 64_000_000
MAX_FILES = 200_000
MAX_FILE_BYTES = 2**60
_TRUNCATED = 50_000  # siblings; from here on the Hub leaves some out, and the tree has them all
_MAX_PAGES = 500


class Entry(NamedTuple):
    """One file of a commit. `oid` names its content: sha256 in LFS, else as git does (sha1)."""

    size: int
    oid: str | None = None


class Listing(NamedTuple):
    """A commit's files by path."""

    commit: str
    files: Mapping[str, Entry]


def info_url(endpoint: str, repo_id: str, revision: str) -> str:
    """The address of a revision's commit and files."""
    return f"{endpoint}/api/models/{repo_id}/revision/{quote(revision, safe='')}?blobs=true"


def file_url(endpoint: str, repo_id: str, revision: str, path: str) -> str:
    """The address of a file's content."""
    return f"{endpoint}/{repo_id}/resolve/{quote(revision, safe='')}/{quote(path)}"


def parse(
    answer: Answer, session: Session, repo_id: str, revision: str, *, hashes: bool = False
) -> Listing:
    """Read the answer at `info_url`; where it does not tell every size, ask for the tree.

    `hashes`: nor is it enough without the name of each file's content, or without any file.
    Raises NotFound and NetworkTrouble.
    """
    document = document_of(answer, session, repo_id, revision)
    commit = document.get("sha") if isinstance(document, dict) else None
    if not isinstance(commit, str) or not is_commit(commit):
        raise hub_errors.not_the_hub(session, "it names no commit")
    siblings = document.get("siblings")
    said = _Said(hashes)
    if isinstance(siblings, list) and len(siblings) < _TRUNCATED:
        for each in siblings:
            if isinstance(each, dict):
                said.take(each.get("rfilename"), each, each.get("blobId"))
        if said.lack is None:
            return Listing(commit, said.files)
    try:
        files = _tree(session, repo_id, commit, hashes=hashes)
    except NotFound as error:
        if said.lack is None or not isinstance(siblings, list):
            raise
        what = f"{said.lack}, and its tree is not to be had: {error.message}"
        raise hub_errors.not_the_hub(session, what) from error
    return Listing(commit, files)


def document_of(answer: Answer, session: Session, repo_id: str, revision: str | None) -> Any:
    """The JSON of an answer of the API. Raises NotFound and NetworkTrouble."""
    if origin(answer.url) != origin(session.endpoint):
        raise hub_errors.portal(session)
    if answer.status != 200:
        raise hub_errors.refusal(answer, session, repo_id, revision)
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        if answer.is_page:
            raise hub_errors.portal(session) from None
        raise hub_errors.not_the_hub(session, "its answer is no JSON") from None


class _Said:
    """What a list says of files; those with impossible paths are left out."""

    def __init__(self, hashes: bool) -> None:
        self.files: dict[str, Entry] = {}
        self._hashes = hashes
        self._lack: str | None = None

    @property
    def lack(self) -> str | None:
        """What it leaves unsaid that has to be known, in words; None where that is nothing."""
        if self._hashes and not self.files:
            return self._lack or "it lists no files"
        return self._lack

    def take(self, path: Any, each: Mapping[str, Any], oid: Any) -> None:
        """Take one file in."""
        if not isinstance(path, str) or file_problem(path) is not None:
            return
        large = each.get("lfs")
        size = each.get("size")
        if isinstance(large, dict):
            size, oid = large.get("size", size), large.get("sha256") or large.get("oid")
        if type(size) is not int or not 0 <= size < MAX_FILE_BYTES:
            self._lack = self._lack or f"it lists {path} without its size"
        elif self._hashes and not isinstance(oid, str):
            self._lack = self._lack or f"it lists {path} without its hash"
        elif len(self.files) >= MAX_FILES:
            self._lack = self._lack or f"it lists more than {MAX_FILES:,} files"
        else:
            self.files[path] = Entry(size, oid if isinstance(oid, str) else None)


def _tree(session: Session, repo_id: str, commit: str, *, hashes: bool) -> dict[str, Entry]:
    """Every file, page by page. Raises NetworkTrouble where some are not told."""
    said = _Said(hashes)
    base = f"{session.endpoint}/api/models/{repo_id}/tree/{commit}"
    query: str | None = "recursive=true"
    for _ in range(_MAX_PAGES):
        answer = session.get(f"{base}?{query}", limit=MAX_LISTING_BYTES)
        page = document_of(answer, session, repo_id, commit)
        if not isinstance(page, list):
            raise hub_errors.not_the_hub(session, "its tree is no list")
        for each in page:
            if isinstance(each, dict) and each.get("type") == "file":
                said.take(each.get("path"), each, each.get("oid"))
        query = _next_page(answer)
        if query is None or said.lack is not None:
            break
    lack = said.lack or ("its tree does not end" if query is not None else None)
    if lack is not None:
        raise hub_errors.not_the_hub(session, lack)
    return said.files


def _next_page(answer: Answer) -> str | None:
    """The query of the address marked `rel="next"` in the header Link.

    A mirror hands on the host of the Hub behind it: whoever was asked is asked again.
    """
    for part in answer.headers.get("link", "").split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            return address.strip().strip("<>").partition("?")[2]
    return None
