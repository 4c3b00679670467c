"""Hash what the cache holds and judge it: what `cache verify` and `cache doctor` share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from modelscope_cli.analysis.cache import expected
from modelscope_cli.analysis.cache.expected import Wanted
from modelscope_cli.analysis.cache.facts import Known, Repo
from modelscope_cli.analysis.cache.verdicts import Judge
from modelscope_cli.errors import MscopeError, TruncatedFile
from modelscope_cli.facts import Unknown
from modelscope_cli.sources.hfcache import hashing
from modelscope_cli.sources.hfcache.hash_memory import Memory
from modelscope_cli.sources.local import LocalFile
from modelscope_cli.units import size_text

_MAX_JSON = 64_000_000
_LEAST_WEIGHTS = 8  # bytes; no format has a shorter beginning

Hashed = dict[tuple[int, int], dict[str, str] | Unknown]


class Hasher:
    """Hashes files, and remembers between runs; `rehash` ignores what was remembered."""

    def __init__(self, jobs: int | None = None, *, rehash: bool = False) -> None:
        self._jobs = jobs
        self._rehash = rehash
        self._memory = Memory()
        self.bytes_read = 0
        self.bytes_remembered = 0

    def remembered(self, wanted: Wanted) -> dict[str, str]:
        """Hashes of an unchanged file that an earlier run computed."""
        if self._rehash:
            return {}
        found = {each: self._memory.get(wanted.stamp, each) for each in wanted.algorithms}
        return {algorithm: digest for algorithm, digest in found.items() if digest is not None}

    def hash(self, wanted: Iterable[Wanted]) -> Hashed:
        """Every file's hashes, or why there are none, by the file's identity."""
        computed: Hashed = {}
        left: list[hashing.Job] = []
        for each in expected.distinct(wanted):
            known = self.remembered(each)
            computed[each.stamp.identity] = known
            rest = tuple(name for name in each.algorithms if name not in known)
            if rest:
                left.append(hashing.Job(each.path, each.stamp, rest))
            else:
                self.bytes_remembered += each.stamp.size
        for job, hashes in self._run(left):
            there = computed[job.stamp.identity]
            if hashes.unknown is not None:
                computed[job.stamp.identity] = hashes.unknown
            elif isinstance(there, dict):
                there.update(hashes.by_algorithm)
                for algorithm, digest in hashes.by_algorithm.items():
                    self._memory.keep(job.stamp, algorithm, digest)
        return computed

    def _run(self, jobs: Sequence[hashing.Job]) -> Iterator[tuple[hashing.Job, hashing.Hashes]]:
        if not jobs:
            return
        progress = Progress(sum(job.stamp.size for job in jobs))
        try:
            yield from hashing.run(jobs, self._jobs, progress.add)
        finally:
            progress.clear()
            self.bytes_read += progress.done


class Progress:
    """One line on a terminal: how many bytes of how many. Threads may share it."""

    def __init__(self, total: int) -> None:
        import threading
        import time

        self.done = 0
        self._total = total
        self._clock = time.monotonic
        self._start = self._next = time.monotonic() + _QUIET
        self._lock = threading.Lock()
        self._drawn = 0
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def add(self, count: int) -> None:
        """So many bytes more were read."""
        with self._lock:
            self.done += count
            if self._shown and (now := self._clock()) >= self._next:
                self._next = now + _EVERY
                self._draw(now)

    def clear(self) -> None:
        """Take the line away: what follows is the answer."""
        with self._lock:
            if self._drawn:
                sys.stderr.write(f"\r{' ' * self._drawn}\r")
                sys.stderr.flush()
            self._drawn, self._shown = 0, False

    def _draw(self, now: float) -> None:
        per_second = self.done / max(now - self._start + _QUIET, _EVERY)
        left = (self._total - self.done) / max(per_second, 1)
        text = (
            f"hashing: {size_text(self.done)} of {size_text(self._total)}, "
            f"{size_text(int(per_second))}/s, {left:,.0f} s left"
        )
        sys.stderr.write(f"\r{text.ljust(self._drawn)}")
        sys.stderr.flush()
        self._drawn = max(self._drawn, len(text))


_QUIET = 0.4  # seconds before anything is drawn
_EVERY = 0.1


def judge(repo: Repo, computed: Hashed) -> Judge:
    """The judge of a repo's files, with our own readers to tell cut from changed."""
    return Judge(repo, computed, cut_short)


def cut_short(place: str, name: str, known: Known) -> bool:
    """Whether a file with a wrong hash ends before its own contents say it should.

    What our readers know no format of is cut short if it is smaller than what was downloaded.
    """
    try:
        with LocalFile(place, place) as file:
            size = file.size
    except MscopeError:
        return False
    ends = _json_ends(place) if name.lower().endswith(".json") else _weights_end(place, name)
    if ends is not None:
        return not ends
    return known.size is not None and size < known.size


def _json_ends(place: str) -> bool | None:
    """Whether a JSON document is whole; None where it is broken in another way."""
    try:
        with LocalFile(place, place) as file:
            if file.size > _MAX_JSON:
                return None
            json.loads(file.read_at(0, file.size))
    except json.JSONDecodeError as error:
        # An open string or half a word is reported where it starts.
        rest = error.doc[error.pos :].rstrip()
        open_word = any(word.startswith(rest) for word in ("null", "true", "false", "-"))
        return False if open_word or "Unterminated" in error.msg else None
    except (MscopeError, ValueError, RecursionError):
        return None
    return True


def _weights_end(place: str, name: str) -> bool | None:
    """Whether all is there that a weight file's header promises; None where no reader can tell."""
    from modelscope_cli.formats.base import by_ending

    if (format_ := by_ending(name)) is None:
        return None
    try:
        with LocalFile(place, name) as file:
            if file.size < _LEAST_WEIGHTS:
                return False
            format_.reader().read(file)
    except TruncatedFile:
        return False
    except MscopeError:
        return None
    return True
