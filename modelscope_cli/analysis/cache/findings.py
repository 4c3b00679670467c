"""What `cache doctor` finds, and which of it can be mended without losing anything. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import (
    BLOBS,
    DANGLING,
    LOOP,
    NAMES,
    REFS,
    Chain,
    Entry,
    Oddity,
    Repo,
    Stamp,
    algorithm_of,
)
from modelscope_cli.analysis.cache.remedies import Remedies
from modelscope_cli.analysis.cache.verdicts import DAMAGE, UNTRIED, Computed, Judge, Verdict
from modelscope_cli.facts import Unknown

RELINK = "relink"
REMOVE = "remove"
SAVE = "save and remove"


class Action(NamedTuple):
    """One thing to do. `stamp` is how the file or link was when it was found; else it is left.

    `target` is the text of the link that RELINK makes, `target_stamp` how the bytes were that it
    will lead to; `names` are the snapshots' names of the bytes that SAVE copies away first,
    `digest` their hash and its algorithm. `orphan`: only while no snapshot names the blob.
    """

    kind: str
    path: str
    stamp: Stamp | None
    bytes: int = 0
    target: str | None = None
    lock: str | None = None  # the blob whose lock a download would hold
    names: tuple[str, ...] = ()
    digest: tuple[str, str] | None = None
    target_stamp: Stamp | None = None
    orphan: bool = False

    @property
    def text(self) -> str:
        """The action as it is listed before anything is done."""
        arrow = f" -> {self.target}" if self.target is not None else ""
        return f"{self.kind}  {self.path}{arrow}"


class Finding(NamedTuple):
    """One thing that is not as it should be; `action` mends it where that is safe."""

    problem: str
    repo: str
    revision: str | None
    path: str
    what: str
    remedy: str
    folder: str = ""
    action: Action | None = None

    @property
    def is_damage(self) -> bool:
        """Whether something that was downloaded is not there as it was."""
        return self.problem in DAMAGE


class Doctor:
    """Findings of one repo. `keep`: changed bytes may be taken away, once they are saved.

    `full`: every file was to be hashed, so what could not be checked is a finding, too.
    """

    def __init__(
        self, repo: Repo, judge: Judge, remedies: Remedies, *, keep: bool, full: bool = False
    ) -> None:
        self.repo = repo
        self.judge = judge
        self.remedies = remedies
        self.keep = keep
        self.full = full
        self._hiding = repo.hidden(NAMES, REFS, BLOBS)
        self._saved: dict[str, Action] = {}  # by the blob: several files may lead to one

    def findings(self) -> Iterator[Finding]:
        """Everything wrong with the repo, damage first."""
        wanted: set[str | None] = set()  # blobs that something damaged is to be made of again
        for snapshot in self.repo.snapshots:
            entries = {entry.path: entry for entry in snapshot.entries}
            for verdict in self.judge.snapshot(snapshot):
                if verdict.status in DAMAGE:
                    found = self._damage(verdict, entries.get(verdict.path or ""))
                    lock = found.action.lock if found.action else None
                    wanted |= {verdict.blob, verdict.expected, lock}
                    yield found
                elif (unchecked := self._unchecked(verdict, entries)) is not None:
                    yield unchecked
        for verdict in self.judge.leftovers():
            if verdict.blob not in wanted:
                yield self._leftover(verdict)
        yield from self._information()

    def _information(self) -> Iterator[Finding]:
        for snapshot in self.repo.snapshots:
            if expected.detached(self.repo, snapshot) is True:
                remedy = f"hf cache prune{self.remedies.place} removes all of these"
                text = "no branch or tag names this revision"
                yield self._finding("detached", snapshot.commit, snapshot.folder, text, remedy)
        for odd in self.repo.oddities:
            problem = "ref" if odd.hides == REFS else "odd"
            yield self._finding(problem, None, odd.path, odd.what, self._about(odd))

    def _about(self, odd: Oddity) -> str:
        return self.remedies.ref(odd.path) if odd.hides == REFS else _ABOUT[odd.hides]

    def _unchecked(self, verdict: Verdict, entries: Mapping[str, Entry]) -> Finding | None:
        """What nobody can vouch for, said aloud; not what a quick look never meant to check."""
        entry = entries.get(verdict.path or "")
        found = (verdict.status, verdict.revision, verdict.place, verdict.note or "")
        if verdict.status == "unverifiable" and (self.full or verdict.note not in UNTRIED):
            return self._finding(*found, self.remedies.unchecked(verdict))
        if entry is not None and entry.chain.outside:
            what = f"its link leads out of the cache, to {entry.chain.end}"
            return self._finding("odd", verdict.revision, verdict.place, what, _ABOUT[None])
        return None

    def _finding(
        self, problem: str, revision: str | None, path: str, what: str, remedy: str,
        action: Action | None = None,
    ) -> Finding:  # fmt: skip
        if self.repo.foreign and (action is not None or remedy == self.remedies.fix()):
            action, remedy = None, f"{self.repo.folder} is a link: mend what it leads to"
        return Finding(
            problem, self.repo.id, revision, path, what, remedy, self.repo.folder, action
        )

    def _allowed(self, action: Action | None) -> Action | None:
        """Nothing is taken away where something could not be seen that may need it."""
        takes = action is not None and action.kind in (REMOVE, SAVE)
        return None if takes and self._hiding is not None else action

    def _damage(self, verdict: Verdict, entry: Entry | None) -> Finding:
        action = self._allowed(self._mended(verdict, entry))
        remedy = self._remedy(verdict, action)
        return self._finding(
            verdict.status, verdict.revision, verdict.place, verdict.note or "", remedy, action
        )

    def _remedy(self, verdict: Verdict, action: Action | None) -> str:
        if action is None:
            return "; ".join(self.remedies.of([verdict]))
        if action.kind == SAVE:
            return f"once changed files are saved: {self.remedies.download(verdict.revision or '')}"
        if action.kind == REMOVE:  # a link to nothing: brought back, or taken away
            return f"{'; '.join(self.remedies.of([verdict]))}; or {self.remedies.fix()}"
        return self.remedies.fix()

    def _mended(self, verdict: Verdict, entry: Entry | None) -> Action | None:
        if verdict.status in ("dangling", "missing"):
            return self._relinked(verdict, entry)
        if verdict.status == "replaced" and entry is not None and entry.chain.link is None:
            copied = self.judge.copied_blob(entry)
            if copied is not None and self._is_right(copied):
                return self._relink(verdict.place, entry.chain.file, copied)
        return self._save(verdict, entry) if self.keep else None

    def _relinked(self, verdict: Verdict, entry: Entry | None) -> Action | None:
        """Point a link at its blob again where that is right; take it away where there is none.

        A link out of the cache stays: what it leads to may be on a disk that is not here today.
        """
        link = entry.chain.link if entry else None
        blob = verdict.blob or ""
        if self._is_right(blob):
            return self._relink(verdict.place, link, blob)
        chain = self.repo.blobs.get(blob)
        gone = chain is None or _is_gone(chain)
        if link is None or entry is None or not blob or not gone or entry.chain.outside:
            return None
        return Action(REMOVE, verdict.place, link, lock=blob)

    def _relink(self, place: str, found: Stamp | None, blob: str) -> Action:
        target = os.path.relpath(os.path.join(self.repo.blobs_folder, blob), os.path.dirname(place))
        bytes_there = self.repo.blobs[blob].file
        return Action(RELINK, place, found, 0, target, blob, target_stamp=bytes_there)

    def _is_right(self, blob: str) -> bool:
        """Whether a blob was hashed, and holds what its name says."""
        chain = self.repo.blobs.get(blob)
        return chain is not None and digest_of(self.judge.computed, chain, blob) == blob

    def _save(self, verdict: Verdict, entry: Entry | None) -> Action | None:
        """Take changed bytes away once they are saved; what other repos share is left alone.

        Where no link leads to them any more they are those of the blob. A blob that is right by
        its name is no user's, whoever pointed a link at it.
        """
        linked = entry is not None and entry.chain.file is not None
        chain = entry.chain if entry and linked else self.repo.blobs.get(verdict.blob or "")
        if chain is None or chain.file is None or self._is_right(verdict.blob or ""):
            return None
        digest = self._digest(verdict, chain.file)
        if digest is None or not self._owns(chain):
            return None
        if chain.end not in self._saved:
            names = (f"{verdict.revision}/{verdict.path}", *self._names(chain.end, verdict.blob))
            self._saved[chain.end] = Action(
                SAVE, chain.end, chain.file, chain.file.size, None, verdict.blob,
                tuple(dict.fromkeys(names)), digest,
            )  # fmt: skip
        return self._saved[chain.end]

    def _owns(self, chain: Chain) -> bool:
        """Whether a file is this repo's alone: not of the shared store, nor of another repo."""
        inside = chain.end.startswith(os.path.join(self.repo.folder, ""))
        elsewhere = chain.file is not None and chain.file.identity in self.repo.used_elsewhere
        return inside and not chain.outside and not elsewhere

    def _names(self, end: str, blob: str | None) -> Iterator[str]:
        """The snapshots' names of a file, links that lead to it no more included."""
        for snapshot, each in self.repo.entries():
            lost = each.chain.file is None and each.blob is not None and each.blob == blob
            if each.chain.end == end or lost:
                yield f"{snapshot.commit}/{each.path}"

    def _digest(self, verdict: Verdict, file: Stamp) -> tuple[str, str] | None:
        if verdict.actual is not None and verdict.algorithm is not None:
            return verdict.algorithm, verdict.actual
        hashes = self.judge.computed.get(file.identity, {})
        return None if isinstance(hashes, Unknown) else next(iter(hashes.items()), None)

    def _leftover(self, verdict: Verdict) -> Finding:
        blob = verdict.blob or ""
        what, remedy = verdict.note or "", self.remedies.fix()
        action: Action | None
        if verdict.status == "incomplete":
            stamp = self.repo.incomplete[blob]
            lock = blob.partition(".")[0]
            action = Action(REMOVE, verdict.place, stamp, stamp.size, lock=lock)
        else:
            what, remedy, action = self._orphan(blob, self.repo.blobs[blob], what)
        allowed = self._allowed(action)
        if self._hiding is not None:
            remedy = f"nothing is removed while {self._hiding.path} hides what may need it"
        return self._finding(verdict.status, None, verdict.place, what, remedy, allowed)

    def _orphan(self, blob: str, chain: Chain, what: str) -> tuple[str, str, Action | None]:
        """What an orphan is, what to do about it, and what --fix does: only what it will do."""
        fix = self.remedies.fix()
        own = chain.link or chain.file
        if _is_gone(chain):
            return what, fix, Action(REMOVE, chain.path, own, 0, lock=blob, orphan=True)
        if chain.file is None:
            return f"{what}; it is {chain.detail}", _LOOK, None
        if (algorithm := algorithm_of(blob)) is None:
            return f"{what}, and its name is no hash", _LOOK, None
        hashes = self.judge.computed.get(chain.file.identity, {})
        if isinstance(hashes, Unknown):
            return f"{what}, and nobody can tell what it holds: {hashes.reason}", _LOOK, None
        digest = hashes.get(algorithm)
        if digest is None:  # --fix hashes it first
            return what, fix, None
        if digest == blob:
            size = 0 if chain.link else chain.file.size
            return what, fix, Action(REMOVE, chain.path, own, size, lock=blob, orphan=True)
        return self._foreign_bytes(blob, chain, f"{what}, and its bytes are not those of its name")

    def _foreign_bytes(self, blob: str, chain: Chain, what: str) -> tuple[str, str, Action | None]:
        """An orphan that holds what no download brought: perhaps a user's only copy."""
        algorithm = algorithm_of(blob)
        digest = digest_of(self.judge.computed, chain, blob)
        if chain.link is not None or chain.file is None or not algorithm or not digest:
            return what, _LOOK, None
        action = Action(
            SAVE, chain.path, chain.file, chain.file.size, None, blob, (f"blobs/{blob}",),
            (algorithm, digest), orphan=True,
        )  # fmt: skip
        remedy = f"{self.remedies.fix()} --keep DIR saves it in DIR, then removes it"
        return what, remedy, action if self.keep else None


_LOOK = "look at it: --fix leaves it alone"
_ABOUT = {
    None: "look at it: nothing here needs it",
    NAMES: "while it is so, no blob counts as orphaned and nothing of this repo is removed",
    BLOBS: "while it is so, nothing of this repo is removed",
}


def _is_gone(chain: Chain) -> bool:
    """Whether a link surely leads to nothing, by what lies in this cache alone."""
    return chain.trouble in (DANGLING, LOOP) and not chain.outside


def digest_of(computed: Computed, chain: Chain, blob: str) -> str | None:
    """A blob's hash in the algorithm of its name; None where it was not hashed."""
    algorithm = algorithm_of(blob)
    if chain.file is None or algorithm is None:
        return None
    hashes = computed.get(chain.file.identity, {})
    return None if isinstance(hashes, Unknown) else hashes.get(algorithm)


def summary(findings: Sequence[Finding]) -> dict[str, int]:
    """How many of each problem there are."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.problem] = counts.get(finding.problem, 0) + 1
    return counts
