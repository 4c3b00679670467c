"""What the Hub says of a commit: its files, their sizes and hashes; and all headers at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from modelscope_cli.hub_names import file_problem, is_commit
from modelscope_cli.sources.hub import errors as hub_errors
from modelscope_cli.sources.hub.session import Answer, Session, origin

MAX_LISTING_BYTES = 64_000_000
MAX_FILES = 200_000
_TRUNCATED = 50_000  # siblings; from here on the Hub leaves some out, and the tree has them all
_MAX_PAGES = 500


class Entry(NamedTuple):
    """One file of a commit. `oid` names its content: sha256 in LFS, else as git does (sha1)."""

    size: int
    oid: str | None = None


class Listing(NamedTuple):
    """A commit's files by path; `complete` where none was left out."""

    commit: str
    files: Mapping[str, Entry]
    complete: bool = True


def info_url(endpoint: str, repo_id: str, revision: str) -> str:
    """The address of a revision's commit and files."""
    return f"{endpoint}/api/models/{repo_id}/revision/{quote(revision, safe='')}?blobs=true"


def file_url(endpoint: str, repo_id: str, revision: str, path: str) -> str:
    """The address of a file's content."""
    return f"{endpoint}/{repo_id}/resolve/{quote(revision, safe='')}/{quote(path)}"


def headers_url(endpoint: str, repo_id: str, index: str) -> str:
    """The address of every shard header of `main` in one answer; the official Hub has it."""
    return f"{endpoint}/api/models/{repo_id}/safetensors-metadata/{quote(index)}"


def parse(answer: Answer, session: Session, repo_id: str, revision: str) -> Listing:
    """Read the answer at `info_url`. Raises NotFound and NetworkTrouble."""
    document = document_of(answer, session, repo_id, revision)
    commit = document.get("sha") if isinstance(document, dict) else None
    if not isinstance(commit, str) or not is_commit(commit):
        raise hub_errors.not_the_hub(session, "it names no commit")
    siblings = document.get("siblings")
    if not isinstance(siblings, list) or len(siblings) >= _TRUNCATED:
        return _tree(session, repo_id, commit)
    files: dict[str, Entry] = {}
    taken = [
        isinstance(each, dict) and _add(files, each.get("rfilename"), each, each.get("blobId"))
        for each in siblings
    ]
    return Listing(commit, files, all(taken))


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


def _add(files: dict[str, Entry], path: Any, each: Mapping[str, Any], oid: Any) -> bool:
    """Take one file in, or say no: what has no size or an impossible path is left out."""
    if not isinstance(path, str) or file_problem(path) is not None or len(files) >= MAX_FILES:
        return False
    large = each.get("lfs")
    if isinstance(large, dict):
        size, oid = large.get("size", each.get("size")), large.get("sha256") or large.get("oid")
    else:
        size = each.get("size")
    if type(size) is not int or not 0 <= size < 2**60:
        return False
    files[path] = Entry(size, oid if isinstance(oid, str) else None)
    return True


def _tree(session: Session, repo_id: str, commit: str) -> Listing:
    """Every file, page by page."""
    files: dict[str, Entry] = {}
    complete = True
    base = f"{session.endpoint}/api/models/{repo_id}/tree/{commit}"
    url: str | None = f"{base}?recursive=true"
    for _ in range(_MAX_PAGES):
        if url is None or origin(url) != origin(session.endpoint):
            break
        answer = session.get(url, limit=MAX_LISTING_BYTES)
        page = document_of(answer, session, repo_id, commit)
        if not isinstance(page, list):
            raise hub_errors.not_the_hub(session, "its tree is no list")
        for each in page:
            if isinstance(each, dict) and each.get("type") == "file":
                complete &= _add(files, each.get("path"), each, each.get("oid"))
        url = _next_page(answer)
    return Listing(commit, files, complete and url is None)


def _next_page(answer: Answer) -> str | None:
    """The address marked `rel="next"` in the header Link."""
    for part in answer.headers.get("link", "").split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            return urljoin(answer.url, address.strip().strip("<>"))
    return None


_SHARD = re.compile(rb'"([^"\\]+\.safetensors)":(?=\{)')
_LAST_END = re.compile(rb",([0-9]{1,19})\]\}\}\Z")


def heads(answer: Answer, listing: Listing, folder: str = "") -> dict[str, bytes]:
    """The first bytes of every shard, out of the one answer that holds all headers.

    Each header is cut out as text and parsed by its reader alone. Only one whose length is what
    the file's size leaves beside the data is given; a shard without is asked for its own bytes.
    """
    if answer.status != 200:
        return {}
    found: dict[str, bytes] = {}
    places = list(_SHARD.finditer(answer.body))
    starts = [*(place.start() for place in places), len(answer.body)]
    for place, following in zip(places, starts[1:], strict=True):
        path = folder + place[1].decode("utf-8", "replace")
        end = answer.body.rfind(b"]}}", place.end(), following)  # of the last tensor's entry
        if path in listing.files and end >= 0:
            head = _head(answer.body[place.end() : end + 3], listing.files[path].size)
            if head is not None:
                found[path] = head
    return found


def _head(text: bytes, size: int) -> bytes | None:
    """The header as it stands in a file of that size; None where it cannot be told."""
    last = _LAST_END.search(text[-30:])
    room = len(text) + -len(text) % 8  # as the library pads it
    if last is None or size - 8 - room != int(last[1]):
        return None
    return room.to_bytes(8, "little") + text.ljust(room)
