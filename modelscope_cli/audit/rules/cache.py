"""Family C: what the HF cache holds, against what was downloaded."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.analysis.cache.verdicts import Verdict
from modelscope_cli.audit.finding import NOTE, WARNING, Flaw
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject


def _of(subject: Subject, *statuses: str) -> Iterable[Flaw]:
    return (_flaw(each) for each in subject.verdicts if each.status in statuses)


def _flaw(verdict: Verdict) -> Flaw:
    path = verdict.path if verdict.path is not None else f"blobs/{verdict.blob}"
    note = f": {verdict.note}" if verdict.note else ""
    return Flaw(f"{path}: {verdict.status}{note}", path)


class Content(Rule):
    """Cached files hold what was downloaded.

    Links lead to blobs that are named by their hash, so a changed or shortened file shows without
    the network. Training scripts that save onto a snapshot, and disks, do this; nothing else
    notices, and a second download keeps the changed bytes.

    Remedy: copy your changes out of the cache, then `mscope cache doctor`, and download again.
    """

    id = "C001"
    title = "cached files hold what was downloaded"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Files whose hash is not the one that names their blob."""
        yield from _of(subject, "modified", "truncated")


class There(Rule):
    """Cached files are there.

    A link to a blob that is gone fails when the model is loaded, offline for good.

    Remedy: download the model again.
    """

    id = "C002"
    title = "no cached file is missing"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Links to nothing, and files that were downloaded and are not there."""
        yield from _of(subject, "dangling", "missing")


class InPlace(Rule):
    """Cached files are the links that a download made.

    A file of its own in the place of a link was written by something else: its content is nobody's
    upload, whatever the revision says.

    Remedy: move it out of the cache, then download the model again.
    """

    id = "C003"
    title = "no cached file was replaced"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Files where links were, and links to other blobs."""
        yield from _of(subject, "replaced")


class Finished(Rule):
    """Downloads came to an end, and nothing is left over of them.

    Unfinished downloads and blobs that no snapshot names take room, and nothing reads them.

    Remedy: `mscope cache doctor --fix`, when no download is running.
    """

    id = "C004"
    title = "no download is unfinished or left over"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Incomplete downloads and orphaned blobs of the repo."""
        yield from _of(subject, "incomplete", "orphan")


class Verifiable(Rule):
    """Something says what each cached file should hold.

    A file whose name in the cache is no hash can be changed by anyone, and nothing offline tells.

    Remedy: `mscope cache verify --remote` asks the Hub.
    """

    id = "C005"
    title = "every cached file can be verified"
    severity = NOTE

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Files that could not be compared with anything."""
        yield from _of(subject, "unverifiable")


RULES: tuple[type[Rule], ...] = (Content, There, InPlace, Finished, Verifiable)
