"""What `cache verify` says of each file. Pure: hashes and times come in, statuses go out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import (
    DANGLING,
    FORBIDDEN,
    SPECIAL,
    Entry,
    Known,
    Repo,
    Snapshot,
    Stamp,
)
from modelscope_cli.facts import Unknown

STATUSES = (
    "ok", "modified", "truncated", "missing", "dangling", "replaced", "incomplete", "orphan",
    "unverifiable",
)  # fmt: skip
DAMAGE = frozenset({"modified", "truncated", "missing", "dangling", "replaced"})

Computed = Mapping[tuple[int, int], Mapping[str, str] | Unknown]  # by a file's identity


class Verdict(NamedTuple):
    """One file, judged. `path` is relative to its snapshot; None for what no snapshot names."""

    repo: str
    revision: str | None
    path: str | None
    blob: str | None
    hops: tuple[str, ...]
    size: int | None
    expected: str | None
    actual: str | None
    algorithm: str | None
    status: str
    note: str | None = None
    place: str = ""  # the path on the disk


class Judge:
    """Judges the files of one repo.

    `cut_short(place, name, known)` tells whether a file whose hash is wrong ends too early.
    """

    def __init__(
        self, repo: Repo, computed: Computed, cut_short: Callable[[str, str, Known], bool]
    ) -> None:
        self.repo = repo
        self.computed = computed
        self.cut_short = cut_short
        self.linked = repo.linked

    def snapshot(self, snapshot: Snapshot) -> Iterator[Verdict]:
        """Every file of a snapshot, those too that should be there."""
        for entry in snapshot.entries:
            yield self.entry(snapshot, entry)
        for path, why in expected.hidden(self.repo, snapshot):
            yield self._unseen(snapshot, path, why)
        for path in sorted(self.missing(snapshot)):
            yield self._missing(snapshot, path, (snapshot.tree or {})[path])

    def _missing(self, snapshot: Snapshot, path: str, known: Known) -> Verdict:
        kept = self._blob_file(known.hash)
        actual = self._hashes(kept)
        digest = None if isinstance(actual, Unknown) else actual.get(known.algorithm)
        status, note = "missing", "no such file; it was downloaded once"
        if kept is not None and digest not in (None, known.hash):
            status, note = "modified", f"no such file; {_changed_blob(kept)}"
        elif known.hash in self.repo.blobs:
            note = "no such file; its blob is still here"
        return Verdict(
            self.repo.id, snapshot.commit, path,
            known.hash if known.hash in self.repo.blobs else None, (),
            kept.size if kept and status == "modified" else None,
            known.hash, digest, known.algorithm, status, note,
            os.path.join(snapshot.folder, *path.split("/")),
        )  # fmt: skip

    def _unseen(self, snapshot: Snapshot, path: str, why: str) -> Verdict:
        """A file, or a folder, of which nobody can tell whether it is there."""
        known = (snapshot.tree or {}).get(path)
        return Verdict(
            self.repo.id, snapshot.commit, path, None, (), None,
            known.hash if known else None, None, known.algorithm if known else None,
            "unverifiable", f"not looked at: {why}",
            os.path.normpath(os.path.join(snapshot.folder, *path.split("/"))),
        )  # fmt: skip

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Files of the commit that were here once."""
        return expected.not_downloaded(self.repo, snapshot)[0]

    def leftovers(self) -> Iterator[Verdict]:
        """Blobs that no snapshot names, and downloads that did not end.

        None is called orphaned where a snapshot could not be seen: see `expected.orphans`.
        """
        orphans = expected.orphans(self.repo)
        for name in () if isinstance(orphans, Unknown) else orphans:
            chain = self.repo.blobs[name]
            known = expected.of_blob(name)
            yield Verdict(
                self.repo.id, None, None, name, chain.hops, chain.file.size if chain.file else None,
                known.hash if known else None, None, known.algorithm if known else None,
                "orphan", "no snapshot names this blob", chain.path,
            )  # fmt: skip
        for name, stamp in self.repo.incomplete.items():
            yield Verdict(
                self.repo.id, None, None, name, (), stamp.size, None, None, None,
                "incomplete", "a download that did not end, or has not yet",
                os.path.join(self.repo.blobs_folder, name),
            )  # fmt: skip

    def entry(self, snapshot: Snapshot, entry: Entry) -> Verdict:
        """One file of a snapshot."""
        known = expected.of_entry(snapshot, entry)
        actual = self._actual(entry, known)
        status, note = _held_against_the_hub(
            snapshot, entry, *self._judged(snapshot, entry, known, actual)
        )
        file = entry.chain.file or (self._blob_file(entry.blob) if status == "modified" else None)
        return Verdict(
            self.repo.id, snapshot.commit, entry.path, entry.blob, entry.chain.hops,
            file.size if file else None, known.hash if known else None,
            actual if isinstance(actual, str) else None, known.algorithm if known else None,
            status, note, entry.chain.path,
        )  # fmt: skip

    def _actual(self, entry: Entry, known: Known | None) -> str | Unknown | None:
        """The hash that was computed, in the algorithm of what is expected.

        Where the link leads nowhere, that of the blob which it should lead to.
        """
        hashes = self._hashes(entry.chain.file or self._blob_file(entry.blob))
        if known is None or isinstance(hashes, Unknown):
            return hashes if isinstance(hashes, Unknown) else None
        return hashes.get(known.algorithm)

    def _hashes(self, file: Stamp | None) -> Mapping[str, str] | Unknown:
        return {} if file is None else self.computed.get(file.identity, {})

    def _blob_file(self, name: str | None) -> Stamp | None:
        """The bytes of the repo's blob of that name, if they are there."""
        chain = self.repo.blobs.get(name or "")
        return None if chain is None else chain.file

    def _judged(
        self, snapshot: Snapshot, entry: Entry, known: Known | None, actual: str | Unknown | None
    ) -> tuple[str, str | None]:
        if entry.chain.trouble not in (None, DANGLING):
            return self._without_bytes(entry)
        if (other := _other_blob(snapshot, entry, known)) is not None:
            return "replaced", other
        if entry.chain.file is None:
            return self._dangling(entry, known, actual)
        if isinstance(actual, Unknown):
            return "unverifiable", actual.reason
        if entry.chain.link is None:
            return self._regular(snapshot, entry, known, actual)
        if snapshot.lacks(entry.path) and (known is None or actual in (None, known.hash)):
            return "unverifiable", LISTED_NOWHERE
        if known is None:
            return "unverifiable", _nothing_said(entry)
        if actual is None:
            return "unverifiable", NOT_HASHED
        if actual == known.hash:
            return "ok", "its link leads out of the cache" if entry.chain.outside else None
        return self._changed(entry, known)

    def _without_bytes(self, entry: Entry) -> tuple[str, str]:
        chain = entry.chain
        if chain.trouble == FORBIDDEN:
            return "unverifiable", chain.detail or ""
        if chain.trouble == SPECIAL:
            return "replaced", f"is {chain.detail}"
        return "dangling", chain.detail or ""

    def _dangling(
        self, entry: Entry, known: Known | None, actual: str | Unknown | None
    ) -> tuple[str, str]:
        """A link to nothing: damage of the link alone only where its blob is here, and right."""
        what = f"leads to {entry.chain.end}, which is not there"
        blob = self._blob_file(entry.blob)
        if blob is None:
            return "dangling", what
        if isinstance(actual, Unknown):
            return "dangling", f"{what}; a blob of that name is here: {actual.reason}"
        if known is not None and actual is not None and actual != known.hash:
            return "modified", f"{what}; {_changed_blob(blob)}"
        return "dangling", f"{what}; a blob of that name is here"

    def _regular(
        self, snapshot: Snapshot, entry: Entry, known: Known | None, actual: str | None
    ) -> tuple[str, str | None]:
        """A file of its own: right in a cache made without links, else it replaced a link."""
        copied = self.copied_blob(entry)
        right = copied is not None or (known is not None and actual == known.hash)
        if self.linked:
            return "replaced", _replaced_note(entry, right=right)
        if snapshot.lacks(entry.path):
            return "unverifiable", LISTED_NOWHERE
        if known is not None and actual is not None:
            return ("ok", None) if actual == known.hash else self._changed(entry, known)
        if copied is not None:
            return "ok", f"a copy of the blob {copied[:12]}"
        if known is None and self._hashes(entry.chain.file) and self._unclaimed():
            return "replaced", _replaced_note(entry, right=False)
        if known is not None:
            return "unverifiable", NOT_HASHED
        return "unverifiable", NOTHING_NOTED

    def copied_blob(self, entry: Entry) -> str | None:
        """The blob that has the bytes of a regular file, going by names."""
        hashes = self._hashes(entry.chain.file)
        if isinstance(hashes, Unknown):
            return None
        return next((each for each in hashes.values() if each in self.repo.blobs), None)

    def _unclaimed(self) -> bool:
        """Whether there are blobs of which no file of any snapshot is a copy."""
        copied = {self.copied_blob(entry) for _, entry in self.repo.entries()}
        return bool(set(self.repo.blobs) - copied)

    def _changed(self, entry: Entry, known: Known) -> tuple[str, str]:
        size = entry.chain.file.size if entry.chain.file else 0
        short = size == 0 or self.cut_short(entry.chain.end, entry.path, known)
        note = _changed_note(entry)
        if known.size is not None and known.size != size:
            note += f"; {size:,} bytes of {known.size:,}"
        return ("truncated" if short else "modified"), note


def _held_against_the_hub(
    snapshot: Snapshot, entry: Entry, status: str, note: str | None
) -> tuple[str, str | None]:
    """A file that the Hub was asked about and said nothing of is not ok against the Hub."""
    asked = snapshot.asked
    if status != "ok" or asked is None or entry.path in asked.compared:
        return status, note
    return "unverifiable", f"what this disk knows fits; not compared with the Hub: {asked.why}"


def _other_blob(snapshot: Snapshot, entry: Entry, known: Known | None) -> str | None:
    """What is wrong with a link that names another blob than was noted of its file."""
    noted = (snapshot.tree or {}).get(entry.path)
    if entry.chain.link is None or noted is None or known is None or noted.hash == known.hash:
        return None
    return f"its link leads to another blob than {noted.hash[:12]}, downloaded"


NOT_HASHED = "not hashed"
LISTED_NOWHERE = "its commit has no such file"
NOTHING_NOTED = "a cache without links, and nothing was noted of this commit"
_NO_HASH = "its blob's name is no hash, and nothing was noted of this commit"
# A look at names, sizes and times alone leaves these as they are, and says nothing of them.
UNTRIED = frozenset({NOT_HASHED, NOTHING_NOTED, _NO_HASH})
_PRIVATE = 0o600
_WRITERS = (
    ((".json", ".jinja", ".txt", ".md", ".model"), ", as save_pretrained and open(..., 'w') do"),
    ((".bin", ".pt", ".pth", ".ckpt"), ", as torch.save does"),
    ((".safetensors",), ", as open(..., 'wb') and safetensors before 0.8 do"),
)


def _changed_blob(blob: Stamp) -> str:
    return f"the blob of its name holds other bytes, written {moment(blob.mtime_ns)}"


def _changed_note(entry: Entry) -> str:
    """When a file was written, and by what probably."""
    file, link = entry.chain.file, entry.chain.link
    written = "" if file is None else moment(file.mtime_ns)
    if file is None or link is None:
        return f"written {written}{_writer(entry.path)}"
    if file.mtime_ns > link.mtime_ns:
        made = moment(link.mtime_ns)
        return f"blob written {written} through a link made {made}{_writer(entry.path)}"
    return f"blob written {written}, before its link was made {moment(link.mtime_ns)}"


def _replaced_note(entry: Entry, *, right: bool) -> str:
    file = entry.chain.file
    what = "a file of its own where a link was"
    if file is None:
        return what
    what += f", written {moment(file.mtime_ns)}"
    if right:
        return f"{what}; its bytes are those of the download"
    if entry.path.endswith(".safetensors") and file.mode & 0o777 == _PRIVATE:
        return f"{what}, as safetensors 0.8 writes"
    return f"{what}, as by save_pretrained or a copy onto it"


def _writer(path: str) -> str:
    """Which write probably did it."""
    return next((text for endings, text in _WRITERS if path.endswith(endings)), "")


def _nothing_said(entry: Entry) -> str:
    if entry.chain.outside:
        return f"its link leads out of the cache, to {entry.chain.end}"
    return _NO_HASH


def moment(nanoseconds: int) -> str:
    """`2026-05-14 22:58`, this machine's time: what a person remembers of a write."""
    from datetime import datetime

    try:
        return datetime.fromtimestamp(nanoseconds // 10**9).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "at a time that cannot be"


def iso(nanoseconds: int) -> str | None:
    """The same for machines: ISO 8601 in UTC; None for a time that cannot be."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return None


def summary(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many files have each status, none left out."""
    counts = dict.fromkeys(STATUSES, 0)
    for verdict in verdicts:
        counts[verdict.status] += 1
    return counts
