"""What to do about what is wrong, as commands that never lose a user's bytes. Pure text."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from modelscope_cli.analysis.cache.facts import Repo
from modelscope_cli.analysis.cache.verdicts import Verdict

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
        return f"hf download {self.repo.id}{kind} --revision {revision}{forced}{self.place}"

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
            yield f"what no snapshot needs: {self.fix()} lists it, asks, and removes it"

    def _bring_back(self, revision: str, found: list[Verdict]) -> str:
        replaced = [each.place for each in found if each.status == "replaced"]
        remove = f"rm {' '.join(map(shlex.quote, replaced))}; " if replaced else ""
        again = f"{remove}{self.download(revision, force=True)}"
        changed = [each for each in found if each.status in ("modified", "replaced", "truncated")]
        if all(each.size == 0 for each in changed):
            return f"empty files: {again}"
        return (
            f"these may be your only copy: {self.save(revision)}; once they are safe there: {again}"
        )

    def _complete(self, revision: str, found: list[Verdict]) -> Iterable[str]:
        absent = [each for each in found if each.status in ("missing", "dangling")]
        kept = [each for each in absent if self.has_blob(each)]
        if kept:
            yield f"the bytes are here, only links are wrong: {self.fix()}"
        if len(kept) < len(absent):
            yield f"not in the cache any more: {self.download(revision)}"

    def has_blob(self, verdict: Verdict) -> bool:
        """Whether the blob that a missing or dangling file should lead to is there."""
        chain = self.repo.blobs.get(verdict.blob or "")
        return chain is not None and chain.file is not None
