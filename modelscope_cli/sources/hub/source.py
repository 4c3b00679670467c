"""A model on the Hub as a source: a commit's files, read by range requests made ahead of need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from modelscope_cli.errors import MscopeError, NetworkTrouble, NotFound
from modelscope_cli.facts import ModelRef
from modelscope_cli.hub_names import is_commit
from modelscope_cli.sources.base import Extent, OpenFile
from modelscope_cli.sources.hub import all_headers
from modelscope_cli.sources.hub import errors as hub_errors
from modelscope_cli.sources.hub import listing as hub_listing
from modelscope_cli.sources.hub.file import HubFile, Pieces
from modelscope_cli.sources.hub.listing import Entry
from modelscope_cli.sources.hub.progress import Progress
from modelscope_cli.sources.hub.queue import Queue
from modelscope_cli.sources.hub.session import Answer, Session, Span
from modelscope_cli.sources.hub.store import Pack, Store
from modelscope_cli.sources.listed import ListedSource
from modelscope_cli.sources.local import LocalSource

MAIN = "main"
INDEX = "model.safetensors.index.json"
_EXPIRED = (400, 401, 403, 404, 410)  # of an address that a redirect gave earlier
_SUCCESS = (200, 206)
# How long one answer for all shards is waited for: after that, asking each is sooner done.
SHORT_CUT_SECONDS = 1.0
_SECONDS_PER_SHARD = 0.025
_MOST_SECONDS = 5.0


class Guesses(NamedTuple):
    """What is read beside the question which commit it is: most models have it."""

    extents: Sequence[Extent] = ()
    all_headers: bool = False  # every shard's header in one request


class HubRepo:
    """One model at one commit. Requests are made by threads, everything else by one."""

    def __init__(
        self, session: Session, repo_id: str, revision: str, *, jobs: int | None = None
    ) -> None:
        self.id = repo_id
        self.revision = revision
        self.session = session
        self.store = Store(session.endpoint)
        self.commit = ""
        self.files: Mapping[str, Entry] = {}
        self.local: LocalSource | None = None  # a snapshot of this commit in the HF cache
        self._progress = Progress()
        self._queue = Queue(jobs, self._progress)
        self._kept: Mapping[str, Mapping[int, bytes]] = {}
        self._pieces: dict[str, Pieces] = {}
        self._coming: dict[str, list[tuple[Extent, Future[Answer | None]]]] = {}
        self._places: dict[str, str] = {}  # where a redirect led, by path
        self._headers: Future[Answer] | None = None
        self._told: Future[Answer] | None = None
        self._here: dict[str, Mapping[str, int]] = {}  # files of `local`, by folder

    def recall(self, commit: str) -> bool:
        """Take what is kept on disk of a commit; False where that is nothing."""
        pack = self.store.load(self.id, commit)
        if pack is None:
            return False
        self.commit, self.files, self._kept = commit, pack.files, pack.pieces
        return True

    def ask(self, guesses: Guesses) -> None:
        """Ask the Hub for the commit and its files, and for the guesses at the same time."""
        session, revision = self.session, self.revision
        url = hub_listing.info_url(session.endpoint, self.id, revision)
        self._told = self._queue.submit(
            lambda: session.get(url, limit=hub_listing.MAX_LISTING_BYTES)
        )
        if guesses.all_headers:
            one = all_headers.headers_url(session.endpoint, self.id, INDEX)
            self._headers = self._queue.submit(lambda: session.get(one))
        for guess in guesses.extents:
            self._submit(guess, revision)

    def settle(self) -> bool:
        """Hear the commit; whether it is the one that was taken for granted.

        Raises NotFound and NetworkTrouble.
        """
        if self._told is None:
            return True
        answer, self._told = self._told.result(), None
        listing = hub_listing.parse(answer, self.session, self.id, self.revision)
        if not is_commit(self.revision):
            self.store.set_ref(self.id, self.revision, listing.commit)
        if listing.commit == self.commit:
            return True
        self._pieces.clear()
        self._places.clear()
        self._here.clear()
        self.local = None
        if not self.recall(listing.commit):
            self.commit, self.files, self._kept = listing.commit, listing.files, {}
        return False

    def expect(self, wanted: Sequence[Extent]) -> None:
        """Ask for all of these now: they will be read."""
        shards = [each for each in wanted if each.path.endswith(_SHARD)]
        self._submit_missing([each for each in wanted if not each.path.endswith(_SHARD)])
        lacking = sum(not self._has(each) for each in shards)
        if self._headers is not None and lacking > 1:  # one alone is as soon asked for itself
            wait = SHORT_CUT_SECONDS + _SECONDS_PER_SHARD * lacking
            self._take_all_headers(self._headers, min(wait, _MOST_SECONDS))
        self._submit_missing(shards)

    def open(self, path: str) -> OpenFile:
        """Open a file by its path in the repo. Raises NotFound."""
        if path not in self.files:
            raise NotFound(f"{self.id} has no file {path} at {self.commit[:7]}")
        if self.local is not None and self._is_here(path):
            return self.local.open(path)
        pieces = self._piece(path)
        for extent, future in self._coming.pop(path, ()):
            answer = future.result()
            if answer is not None and answer.commit in (None, self.commit):
                self._take(pieces, extent, answer)
        return HubFile(pieces, lambda start, length: self._fetch(path, start, length))

    def close(self, *, keep: bool) -> None:
        """End the threads and the progress line; `keep` what was read on disk."""
        self._queue.stop()
        self._progress.clear()
        self.session.close()
        read = {path: kept for path, each in self._pieces.items() if (kept := each.kept())}
        if keep and any(self._is_news(path, kept) for path, kept in read.items()):
            self.store.save(self.id, self.commit, Pack(self.files, read))

    def _is_news(self, path: str, kept: Mapping[int, bytes]) -> bool:
        old = self._kept.get(path, {})
        return any(len(data) > len(old.get(start, b"")) for start, data in kept.items())

    def _piece(self, path: str) -> Pieces:
        if path not in self._pieces:
            self._pieces[path] = Pieces(path, self.files[path].size, self._kept.get(path))
        return self._pieces[path]

    def _is_here(self, path: str) -> bool:
        """Whether the HF cache's snapshot of this commit has the file, whole."""
        if self.local is None:
            return False
        folder, _, name = path.rpartition("/")
        if folder not in self._here:
            try:
                self._here[folder] = self.local.files(folder)
            except MscopeError:
                self._here[folder] = {}
        return self._here[folder].get(name) == self.files[path].size

    def _has(self, extent: Extent) -> bool:
        if self._is_here(extent.path):
            return True
        if any(each.offset == extent.offset for each, _ in self._coming.get(extent.path, ())):
            return True
        # What is kept on disk ends where a reader stopped: enough for a reader like it.
        _, end = self._piece(extent.path).end_of(extent.offset)
        return end > extent.offset

    def _submit_missing(self, wanted: Sequence[Extent]) -> None:
        for extent in wanted:
            if extent.path in self.files and not self._has(extent):
                self._submit(extent, self.commit)

    def _submit(self, extent: Extent, revision: str) -> None:
        future = self._queue.submit(lambda: self._ask_for(extent, revision))
        self._coming.setdefault(extent.path, []).append((extent, future))

    def _ask_for(self, extent: Extent, revision: str) -> Answer | None:
        """Bytes ahead of need; None where none came: who needs them asks again, and is told.

        Raises NetworkTrouble, for which it was tried often enough.
        """
        entry = self.files.get(extent.path)
        length = extent.length if entry is None else min(extent.length, entry.size - extent.offset)
        if length < 1 or self._queue.stopped:
            return None
        try:
            answer = self._get(extent.path, extent.offset, length, revision)
        except NotFound:
            return None
        return answer if answer.status in _SUCCESS and not answer.is_page else None

    def _get(self, path: str, offset: int, length: int, revision: str) -> Answer:
        url = hub_listing.file_url(self.session.endpoint, self.id, revision, path)
        span: Span | None = Span(offset, length)
        entry = self.files.get(path)
        if entry is not None and path.endswith(".json") and (offset, length) == (0, entry.size):
            span = None  # whole, so that it may come compressed
        place = self._places.get(path)
        if place is not None:
            answer = self.session.get(place, span, length)
            if answer.status not in _EXPIRED:
                return answer
        return self.session.get(url, span, length)

    def _fetch(self, path: str, offset: int, length: int) -> bytes:
        """Bytes that are needed now. Raises NotFound and NetworkTrouble."""
        answer = self._get(path, offset, length, self.commit)
        if answer.status not in _SUCCESS:
            raise hub_errors.refusal(answer, self.session, self.id, self.revision, path)
        if answer.is_page:
            raise hub_errors.portal(self.session)
        if len(answer.body) < length:
            what = f"the Hub sent {len(answer.body):,} of {length:,} bytes"
            raise NetworkTrouble(f"{self.id}: {path}: {what}", "try again")
        self._remember(path, answer)
        return answer.body[:length]

    def _take(self, pieces: Pieces, extent: Extent, answer: Answer) -> None:
        pieces.add(extent.offset, answer.body[: pieces.size - extent.offset])
        self._remember(extent.path, answer)

    def _remember(self, path: str, answer: Answer) -> None:
        if answer.status == 206:
            self._places[path] = answer.url

    def _take_all_headers(self, coming: Future[Answer], seconds: float) -> None:
        """Where one answer holds every shard's header, no shard need be asked."""
        self._headers = None
        try:
            answer = coming.result(seconds)
        except (MscopeError, TimeoutError):
            return
        for path, head in all_headers.heads(answer, self.files).items():
            self._piece(path).add(0, head)


_SHARD = ".safetensors"


class HubSource(ListedSource):
    """A repo at a commit, or one folder of it. Paths and sizes are the Hub's word."""

    def __init__(self, repo: HubRepo, ref: ModelRef, folder: str = "") -> None:
        super().__init__({path: each.size for path, each in repo.files.items()}, ref, folder)
        self.repo = repo

    def open(self, path: str) -> OpenFile:
        """Open one file; its bytes come as they are asked for, or have come already."""
        opened = self.repo.open(self._before + path)
        opened.path = path
        return opened

    def expect(self, wanted: Sequence[Extent]) -> None:
        """Ask for all of this at once."""
        self.repo.expect([each._replace(path=self._before + each.path) for each in wanted])
