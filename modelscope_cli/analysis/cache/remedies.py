"""What to do about what is wrong, as commands that never lose a user's bytes. Pure text."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from modelscope_cli.analysis.cache.facts import Repo
from modelscope_cli.analysis.cache.verdicts import UNTRIED, Verdict

_MENDED = "mscope cache doctor --fix"


class Remedies:
    """Commands for one repo; `default` says whether its cache is where hf looks by itself."""

    def __init__(self, repo: Repo, *, default: bool) -> None:
        self.repo = repo
        self.place = "" if default else f" --cache-dir {shlex.quote(repo.cache)}"

    def download(self, revision: str, *, force: bool = False) -> str:
        """The command that brings a commit into the cache."""
        kind = "" if self.repo.kind == "model" else f" --repo-type {self.repo.kind}"
        forced = " --force-download" if force else ""
        at = shlex.quote(revision)
        return f"hf download {self.repo.id}{kind} --revision {at}{forced}{self.place}"

    def ref(self, path: str) -> str:
        """What to do about a ref that names no snapshot; until then nobody is called detached."""
        name = os.path.relpath(path, os.path.join(self.repo.folder, "refs"))
        if name == os.curdir:
            return (
                "while it is so, no revision counts as detached and nothing of this repo is removed"
            )
        return f"move it away; {self.download(name.replace(os.sep, '/'))} writes it anew"

    def unchecked(self, verdict: Verdict) -> str:
        """What to do about a file that nothing here can vouch for."""
        if verdict.note not in UNTRIED:
            return "look at it: nothing vouches for what it holds"
        if self.repo.kind != "model":
            return "nothing on this disk says what it should hold"
        where = shlex.quote(self.repo.folder if self.place else self.repo.id)
        return f"mscope cache verify {where} --all --remote asks the Hub"

    def save(self, revision: str) -> str:
        """The command that copies a snapshot with its bytes out of the cache."""
        snapshot = os.path.join(self.repo.folder, "snapshots", revision)
        name = f"{self.repo.id.replace('/', '--')}-{revision[:7]}"
        return f"cp -rL {shlex.quote(snapshot)} ./{name}"

    def fix(self) -> str:
        """The command that mends what is safe to mend."""
        return f"{_MENDED}{self.place}"

    def of(self, verdicts: Iterable[Verdict]) -> list[str]:
        """Lines for all that was found, a revision at a time, each said once."""
        lines: dict[str, None] = {}
        by_revision: dict[str | None, list[Verdict]] = {}
        for verdict in verdicts:
            by_revision.setdefault(verdict.revision, []).append(verdict)
        for revision, found in by_revision.items():
            for line in self._of_revision(revision, found):
                lines.setdefault(line)
        return list(lines)

    def _of_revision(self, revision: str | None, found: list[Verdict]) -> Iterable[str]:
        statuses = {verdict.status for verdict in found}
        if revision is not None:
            if statuses & {"modified", "replaced", "truncated"}:
                yield self._bring_back(revision, found)
            if statuses & {"missing", "dangling"}:
                yield from self._complete(revision, found)
        if statuses & {"incomplete", "orphan"}:
            yield (
                f"what no snapshot needs: {self.fix()} lists it, asks, and removes what a download "
                "left; what it did not bring only with --keep DIR"
            )

    def _bring_back(self, revision: str, found: list[Verdict]) -> str:
        replaced = [each.place for each in found if each.status == "replaced"]
        remove = f"rm {' '.join(map(shlex.quote, replaced))}; " if replaced else ""
        again = f"{remove}{self.download(revision, force=True)}"
        changed = [each for each in found if each.status in ("modified", "replaced", "truncated")]
        if all(each.size == 0 for each in changed):
            return f"empty files: {again}"
        saved = [*dict.fromkeys(self._saves(revision, changed))]
        return f"these may be your only copy: {'; '.join(saved)}; once they are safe there: {again}"

    def _saves(self, revision: str, changed: list[Verdict]) -> Iterable[str]:
        """The commands that copy changed bytes away, from blobs too that no link leads to."""
        for each in changed:
            blob = self.repo.blobs.get(each.blob or "")
            if blob is None or blob.path in each.hops or each.status == "replaced":
                yield self.save(revision)
            else:
                name = f"{self.repo.id.replace('/', '--')}-{each.blob}"
                yield f"cp -L {shlex.quote(blob.path)} ./{name}"

    def _complete(self, revision: str, found: list[Verdict]) -> Iterable[str]:
        absent = [each for each in found if each.status in ("missing", "dangling")]
        kept = [each for each in absent if each.blob and each.actual == each.blob]
        if kept:
            yield f"the bytes are here, only links are wrong: {self.fix()}"
        if len(kept) < len(absent):
            yield f"not in the cache any more: {self.download(revision)}"
