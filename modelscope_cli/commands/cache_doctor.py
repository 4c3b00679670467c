"""`mscope cache doctor`: what is wrong in the whole cache, and mending it."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from modelscope_cli import verifying
from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.facts import CacheFacts, Repo
from modelscope_cli.analysis.cache.findings import Action, Doctor, Finding
from modelscope_cli.analysis.cache.remedies import Remedies
from modelscope_cli.errors import UsageError
from modelscope_cli.escape import one_line
from modelscope_cli.facts import Unknown
from modelscope_cli.options import CachePlace, Jobs, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports.cache_doctor import Examined
from modelscope_cli.sources.hfcache import layout as cache_layout
from modelscope_cli.sources.hfcache import source as hfcache
from modelscope_cli.sources.hfcache.mending import Mender, check_keep
from modelscope_cli.units import counted, size_text


@command_
def command(
    full: Annotated[
        bool, typer.Option("--full", help="Hash every file, not only those that look suspect.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Mend what is safe to mend, after listing it and asking."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what --fix would do.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Take changed files away too, once they are saved in DIR."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    jobs: Jobs = None,
    *,
    place: CachePlace,
    output: Output,
) -> Report:
    """Look through the whole cache: links, sizes and times first, then hash what looks wrong."""
    planning = fix or dry_run
    if not planning and (keep is not None or yes):
        raise UsageError(f"{'--yes' if yes else '--keep'} needs --fix")
    folder, note = hfcache.cache_dir(place.cache_dir)
    kept = None if keep is None else check_keep(keep, folder)
    cache = cache_layout.read_cache(folder)
    examination = _Examination(cache, verifying.Hasher(jobs), full=full, planning=planning)
    findings = examination.findings(keep=kept is not None)
    examined = examination.examined(findings, planned=planning)
    if fix and not dry_run:
        agreed = _listed_and_agreed(findings, output.units, yes=yes)
        results = _mend(findings, Mender(kept)) if agreed else {}
        examined = examined._replace(results=results)
    return examined.report([note] if note else [])


class _Examination:
    """One look through a cache: what is hashed, and what comes of it."""

    def __init__(
        self, cache: CacheFacts, hasher: verifying.Hasher, *, full: bool, planning: bool
    ) -> None:
        self.cache = cache
        self.hasher = hasher
        self.full = full
        wanted = [each for repo in cache.repos for each in self._wanted(repo, planning)]
        self.computed = self._remembered()
        self.computed.update(hasher.hash(wanted))
        if planning:
            copies = [each for repo in cache.repos for each in self._copied(repo)]
            self.computed.update(hasher.hash(copies))

    def _wanted(self, repo: Repo, planning: bool) -> list[expected.Wanted]:
        found = list(
            expected.of_snapshots(repo, repo.snapshots) if self.full else expected.suspects(repo)
        )
        if self.full or planning:  # no blob is thrown away whose bytes may be a user's
            orphans = expected.orphans(repo)
            for name in () if isinstance(orphans, Unknown) else orphans:
                wanted = expected.wanted_of_blob(name, repo.blobs[name])
                found += [wanted] if wanted else []
        return found

    def _remembered(self) -> verifying.Hashed:
        """What earlier runs found costs nothing."""
        found: verifying.Hashed = {}
        for repo in self.cache.repos:
            for wanted in expected.of_snapshots(repo, repo.snapshots):
                if known := self.hasher.remembered(wanted):
                    found[wanted.stamp.identity] = known
        return found

    def _copied(self, repo: Repo) -> list[expected.Wanted]:
        """Blobs that a file beside its link is a copy of: they must be right themselves."""
        judge = verifying.judge(repo, self.computed)
        names = {
            judge.copied_blob(entry)
            for _, entry in repo.entries()
            if entry.chain.link is None and entry.chain.file is not None
        }
        found = [expected.wanted_of_blob(name, repo.blobs[name]) for name in names if name]
        return [each for each in found if each is not None]

    def findings(self, *, keep: bool) -> list[Finding]:
        """Everything wrong, repo by repo; then what is wrong around them."""
        default = os.path.realpath(hfcache.cache_dir()[0])
        found: list[Finding] = []
        for repo in self.cache.repos:
            judge = verifying.judge(repo, self.computed)
            remedies = Remedies(repo, default=os.path.realpath(repo.cache) == default)
            found += Doctor(repo, judge, remedies, keep=keep, full=self.full).findings()
        for odd in self.cache.oddities:
            found.append(Finding("odd", "", None, odd.path, odd.what, "look at it"))
        return found

    def examined(self, findings: Sequence[Finding], *, planned: bool) -> Examined:
        """The findings with how much was looked at."""
        files = {
            entry.chain.file.identity
            for repo in self.cache.repos
            for _, entry in repo.entries()
            if entry.chain.file is not None
        }
        hashed = sum(bool(self._hashes(each)) for each in files)
        return Examined(
            self.cache.folder, findings, hashed, len(files),
            self.hasher.bytes_read, planned,
        )  # fmt: skip

    def _hashes(self, file: tuple[int, int]) -> Mapping[str, str]:
        """What came out for a file; nothing where it could not be read."""
        found = self.computed.get(file, {})
        return {} if isinstance(found, Unknown) else found


def _listed_and_agreed(findings: Sequence[Finding], units: str, *, yes: bool) -> bool:
    """Nothing goes without having been listed; then the user is asked."""
    actions = list(dict.fromkeys(each.action for each in findings if each.action is not None))
    if not actions:
        if findings:
            sys.stderr.write("mscope: nothing of this is safe to mend without you\n")
        return False
    for action in actions:
        size = f"  ({size_text(action.bytes, units)})" if action.bytes else ""
        sys.stderr.write(f"mscope: {one_line(action.text)}{size}\n")
    if yes:
        return True
    sys.stderr.write(f"mscope: do {counted(len(actions), 'thing')} listed above? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    if answer.strip().lower() in ("y", "yes"):
        return True
    hint = "" if answer else " (nobody answered: --yes does not ask)"
    sys.stderr.write(f"mscope: nothing was changed{hint}\n")
    return False


def _mend(findings: Sequence[Finding], mender: Mender) -> dict[int, str | None]:
    """Do it all, each thing once; the results by the findings' numbers."""
    done: dict[Action, str | None] = {}
    results: dict[int, str | None] = {}
    for number, finding in enumerate(findings):
        if (action := finding.action) is not None:
            if action not in done:
                done[action] = mender.apply(action, finding.folder)
            results[number] = done[action]
    return results
