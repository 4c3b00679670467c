"""What `cache doctor` finds, and which of it can be mended without losing anything. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.cache.facts import Chain, Entry, Repo, Stamp, algorithm_of
from modelscope_cli.analysis.cache.remedies import Remedies
from modelscope_cli.analysis.cache.verdicts import DAMAGE, Computed, Judge, Verdict
from modelscope_cli.facts import Unknown

RELINK = "relink"
REMOVE = "remove"
SAVE = "save and remove"
INFORMATION = frozenset({"detached", "odd"})


class Action(NamedTuple):
    """One thing to do. `stamp` is how the file or link was when it was found; else it is left.

    `target` is the text of the link that RELINK makes; `names` are the snapshots' names of the
    bytes that SAVE copies away first, `digest` their hash and its algorithm.
    """

    kind: str
    path: str
    stamp: Stamp | None
    bytes: int = 0
    target: str | None = None
    lock: str | None = None  # the blob whose lock a download would hold
    names: tuple[str, ...] = ()
    digest: tuple[str, str] | None = None

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
    """Findings of one repo. `keep`: changed bytes may be taken away, once they are saved."""

    def __init__(self, repo: Repo, judge: Judge, remedies: Remedies, *, keep: bool) -> None:
        self.repo = repo
        self.judge = judge
        self.remedies = remedies
        self.keep = keep
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
        for verdict in self.judge.leftovers():
            if verdict.blob not in wanted:
                yield self._leftover(verdict)
        yield from self._information()

    def _information(self) -> Iterator[Finding]:
        for snapshot in self.repo.snapshots:
            if not snapshot.refs:
                remedy = f"hf cache prune{self.remedies.place} removes all of these"
                text = "no branch or tag names this revision"
                yield self._finding("detached", snapshot.commit, snapshot.folder, text, remedy)
        for odd in self.repo.oddities:
            yield self._finding(
                "odd", None, odd.path, odd.what, "look at it: nothing here needs it"
            )

    def _finding(
        self, problem: str, revision: str | None, path: str, what: str, remedy: str,
        action: Action | None = None,
    ) -> Finding:  # fmt: skip
        if self.repo.foreign and action is not None:
            action, remedy = None, f"{self.repo.folder} is a link: mend what it leads to"
        return Finding(
            problem, self.repo.id, revision, path, what, remedy, self.repo.folder, action
        )

    def _damage(self, verdict: Verdict, entry: Entry | None) -> Finding:
        action = self._mended(verdict, entry)
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
        if entry is None:
            return None
        if verdict.status == "replaced" and entry.chain.link is None:
            copied = self.judge.copied_blob(entry)
            if copied is not None and self._is_right(copied):
                return self._relink(verdict.place, entry.chain.file, copied)
        return self._save(verdict, entry) if self.keep else None

    def _relinked(self, verdict: Verdict, entry: Entry | None) -> Action | None:
        """Point a link at its blob again; take it away where there is none."""
        link = entry.chain.link if entry else None
        if self.remedies.has_blob(verdict):
            return self._relink(verdict.place, link, verdict.blob or "")
        if link is None or verdict.blob is None:
            return None
        return Action(REMOVE, verdict.place, link, lock=verdict.blob)

    def _relink(self, place: str, found: Stamp | None, blob: str) -> Action:
        target = os.path.relpath(os.path.join(self.repo.blobs_folder, blob), os.path.dirname(place))
        return Action(RELINK, place, found, 0, target, blob)

    def _is_right(self, blob: str) -> bool:
        """Whether a blob was hashed, and holds what its name says."""
        chain = self.repo.blobs.get(blob)
        return chain is not None and digest_of(self.judge.computed, chain, blob) == blob

    def _save(self, verdict: Verdict, entry: Entry) -> Action | None:
        """Take changed bytes away once they are saved; what other repos share is left alone."""
        file = entry.chain.file
        actual = self._digest(verdict, entry)
        if file is None or actual is None or entry.chain.outside or len(entry.chain.hops) > 1:
            return None
        if entry.chain.end in self._saved:
            return self._saved[entry.chain.end]
        names = tuple(
            f"{snapshot.commit}/{each.path}"
            for snapshot, each in self.repo.entries()
            if each.chain.end == entry.chain.end
        )
        action = Action(SAVE, entry.chain.end, file, file.size, None, verdict.blob, names, actual)
        self._saved[entry.chain.end] = action
        return action

    def _digest(self, verdict: Verdict, entry: Entry) -> tuple[str, str] | None:
        if verdict.actual is not None and verdict.algorithm is not None:
            return verdict.algorithm, verdict.actual
        file = entry.chain.file
        hashes = {} if file is None else self.judge.computed.get(file.identity, {})
        return None if isinstance(hashes, Unknown) else next(iter(hashes.items()), None)

    def _leftover(self, verdict: Verdict) -> Finding:
        blob = verdict.blob or ""
        text, action = verdict.note or "", None
        if verdict.status == "incomplete":
            stamp = self.repo.incomplete[blob]
            action = Action(REMOVE, verdict.place, stamp, stamp.size, lock=blob.partition(".")[0])
        else:
            chain = self.repo.blobs[blob]
            digest = digest_of(self.judge.computed, chain, blob)
            own = chain.link or chain.file
            if digest is not None and digest != blob and chain.file is not None:
                text = f"{text}, and its bytes are not those of its name"
                action = self._save_orphan(blob, chain, digest) if self.keep else None
            elif chain.file is None or digest == blob:
                size = chain.file.size if chain.file and not chain.link else 0
                action = Action(REMOVE, chain.path, own, size, lock=blob)
        return self._finding(verdict.status, None, verdict.place, text, self.remedies.fix(), action)

    def _save_orphan(self, blob: str, chain: Chain, digest: str) -> Action | None:
        algorithm = algorithm_of(blob)
        if chain.link is not None or chain.file is None or algorithm is None:
            return None
        return Action(
            SAVE, chain.path, chain.file, chain.file.size, None, blob, (f"blobs/{blob}",),
            (algorithm, digest),
        )  # fmt: skip


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
