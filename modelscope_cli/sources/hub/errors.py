"""The Hub's refusals as one line each: what, where, why, what to try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelscope_cli.errors import MscopeError, NetworkTrouble, NotFound
from modelscope_cli.sources.hub import retry as hub_retry
from modelscope_cli.sources.hub.addresses import host_of, origin

if TYPE_CHECKING:
    from modelscope_cli.sources.hub.session import Answer, Session

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_LONGEST_WORDS = 300  # characters of what a server says


def refusal(
    answer: Answer,
    session: Session,
    repo_id: str,
    revision: str | None = None,
    file: str | None = None,
) -> MscopeError:
    """The error for an answer that is no success."""
    code = answer.headers.get("x-error-code", "")
    status = answer.status
    if code == "GatedRepo":
        return _gated(session, repo_id)
    if code == "RevisionNotFound":
        return NotFound(f"{repo_id} has no revision {revision or 'main'} on {session.host}")
    if code == "EntryNotFound":
        return NotFound(f"{repo_id} has no file {file} at {(revision or 'main')[:40]}")
    if origin(answer.url) != origin(session.endpoint) and not code:
        return _storage(answer, repo_id, file)
    if status == 429:
        return _rate_limit(answer, session)
    if status == 511 or (answer.is_page and status < 400):
        return portal(session)
    if status >= 500:
        return NetworkTrouble(f"{session.host} answers {status}{_words(answer)}", "try again later")
    if "credentials" in _said(answer).lower():
        return NotFound(
            f"{repo_id}: {session.host} refuses the token: {_said(answer)}",
            "it may be wrong or have expired: `hf auth login` stores another",
        )
    if code == "RepoNotFound" or status in (401, 404):
        return _no_repo(session, repo_id)
    return NotFound(f"{repo_id}: {session.host} answers {status}{_words(answer)}")


def _storage(answer: Answer, repo_id: str, file: str | None) -> NetworkTrouble:
    """A refusal of the host that the Hub keeps large files on: the repo itself is there."""
    said = _STORAGE.get(answer.status, "try again later")
    where = f"{repo_id}: {file}" if file else repo_id
    return NetworkTrouble(
        f"{where}: the Hub's storage at {host_of(answer.url)} answers "
        f"{answer.status}{_words(answer)}",
        said,
    )


_STORAGE = {
    403: "try again; a proxy or firewall may refuse that host",
    404: "try again later: the storage does not have what the Hub says it has",
    416: "try again later: the file is shorter there than the Hub says",
    451: "that host may not be asked from here",
}


def portal(session: Session) -> NetworkTrouble:
    """A web page where the Hub's own answer should be."""
    return NetworkTrouble(
        f"{session.host}: a web page came where the Hub's answer should be",
        "is this network's login page in between (a captive portal), or a proxy?",
    )


def not_the_hub(session: Session, what: str) -> NetworkTrouble:
    """An answer that no Hub gives."""
    return NetworkTrouble(f"{session.host} does not answer as a Hub does: {what}")


def _gated(session: Session, repo_id: str) -> NotFound:
    page = f"{session.endpoint}/{repo_id}"
    if session.has_token:
        return NotFound(
            f"{repo_id} is gated, and the account of the token that is set has no access",
            f"access is asked for and granted at {page}",
        )
    return NotFound(
        f"{repo_id} is gated, and no token is set",
        f"access is asked for and granted at {page}; then {_LOGIN}",
    )


class NoSuchRepo(NotFound):
    """The Hub knows no such model, or does not say that it does."""


def _no_repo(session: Session, repo_id: str) -> NotFound:
    if session.has_token:
        return NoSuchRepo(
            f"{repo_id}: {session.host} has no such model, or it is private and the token that "
            "is set may not see it"
        )
    return NoSuchRepo(
        f"{repo_id}: {session.host} has no such model, or it is private and no token is set",
        f"for a private model {_LOGIN}",
    )


def _rate_limit(answer: Answer, session: Session) -> NetworkTrouble:
    wait = hub_retry.retry_after(answer.status, answer.headers)
    when = "later" if wait is None else f"in {wait:.0f} s"
    hint = f"try again {when}"
    if not session.has_token:
        hint += f"; the limit is higher with a token: {_LOGIN}"
    return NetworkTrouble(
        f"{session.host}: too many requests (429), the rate limit is reached", hint
    )


def _words(answer: Answer) -> str:
    said = _said(answer)
    return f": {said}" if said else ""


def _said(answer: Answer) -> str:
    """The server's own words, from its header or its JSON; never a web page."""
    text = answer.headers.get("x-error-message", "")
    if not text and not answer.is_page:
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            return ""
        error = document.get("error") if isinstance(document, dict) else None
        text = error if isinstance(error, str) else ""
    return " ".join(text.split())[:_LONGEST_WORDS]
