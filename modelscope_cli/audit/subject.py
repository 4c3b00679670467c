"""What a rule is given of one model: what was read, its files, and what can still be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis import params
from modelscope_cli.analysis.cache.verdicts import Verdict
from modelscope_cli.audit import defects
from modelscope_cli.audit.finding import Skip
from modelscope_cli.errors import MscopeError, NotFound
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable, Unknown
from modelscope_cli.locking.facts import Lock
from modelscope_cli.sources.tree import Entry, Listing

if TYPE_CHECKING:
    from modelscope_cli.formats.containers.search import Searched
    from modelscope_cli.sources.base import OpenFile, Source

_DOCUMENT_BYTES = 1_000_000  # of a model card, a licence, a configuration


class Subject:
    """One model under audit.

    `opened` is what was read of it, or the error that reading met. `listing` has its files, or
    why there are none to look at; `pinned` whether it was named by a commit (None: it has no
    revisions). `verify` judges it against the HF cache, `own_settings` are files in it that
    would be settings elsewhere.
    """

    def __init__(
        self,
        ref: ModelRef,
        opened: ModelFacts | MscopeError,
        listing: Listing | Unknown,
        source: Source | None = None,
        *,
        pinned: bool | None = None,
        verify: Callable[[], Sequence[Verdict]] | Unknown = Unknown("it is in no HF cache"),  # noqa: B008
        own_settings: Sequence[str] = (),
    ) -> None:
        self.ref = ref
        self.opened = opened
        self.pinned = pinned
        self.own_settings = own_settings
        self.lock: Lock | None = None  # what `--locked` holds it against
        self._listing = listing
        self._source = source
        self._verify = verify

    @property
    def name(self) -> str:
        """The model as it was typed."""
        return self.ref.target

    @property
    def is_remote(self) -> bool:
        """Whether every byte comes over the network: read what is small, and nothing twice."""
        return self.ref.kind == "hub"

    @property
    def error(self) -> MscopeError | None:
        """What reading the model met, if it could not be read."""
        return self.opened if isinstance(self.opened, MscopeError) else None

    @property
    def facts(self) -> ModelFacts:
        """What was read. Raises Skip where it could not be."""
        if isinstance(self.opened, MscopeError):
            raise Skip("the model could not be read")
        return self.opened

    @property
    def tensors(self) -> TensorTable:
        """The tensors. Raises Skip where there are none or they could not be read."""
        if isinstance(found := self.facts.tensors, Unknown):
            raise Skip(found.reason)
        return found

    @cached_property
    def params(self) -> params.Params:
        """The tensors examined: roles, packing, totals. Raises Skip as `tensors` does."""
        return params.examine(self.facts, self.tensors, params.Choice())

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration. Raises Skip where there is none."""
        if (found := self.facts.config) is None:
            raise Skip("it has no configuration")
        return found

    @property
    def files(self) -> Sequence[Entry]:
        """Every file of the model, by path. Raises Skip where they cannot be listed."""
        if isinstance(self._listing, Unknown):
            raise Skip(self._listing.reason)
        return self._listing.entries

    @property
    def cut(self) -> str | None:
        """Why there are more files than are listed; None where there are not."""
        return None if isinstance(self._listing, Unknown) else self._listing.cut

    @property
    def passed_over(self) -> Sequence[str]:
        """Folders whose files are left out on purpose."""
        return () if isinstance(self._listing, Unknown) else self._listing.passed_over

    @cached_property
    def by_path(self) -> Mapping[str, Entry]:
        """The same by their paths."""
        return {each.path: each for each in self.files}

    @cached_property
    def defects(self) -> Sequence[MscopeError]:
        """What readers say of its files; of one on the Hub only what was read anyway."""
        if self.is_remote or isinstance(self._listing, Unknown):
            return [self.opened] if isinstance(self.opened, MscopeError) else []
        return defects.found(self.opened, self._listing.entries, self.open)

    @cached_property
    def pickles(self) -> Mapping[str, Searched]:
        """Files that are pickles or hold some. Raises Skip where files cannot be listed."""
        from modelscope_cli.audit import pickle_files

        return pickle_files.find(self.files, self.open, by_name=self.is_remote)

    @cached_property
    def verdicts(self) -> Sequence[Verdict]:
        """Its files against what was downloaded. Raises Skip where it lies in no HF cache."""
        if isinstance(self._verify, Unknown):
            raise Skip(self._verify.reason)
        return self._verify()

    def open(self, path: str) -> OpenFile:
        """Open one of its files. Raises NotFound, NotARegularFile."""
        if self._source is None:
            raise NotFound(f"{path}: {self.name} has no files that can be opened")
        return self._source.open(path)

    def start(self, path: str, most: int = _DOCUMENT_BYTES) -> bytes:
        """The first bytes of a file, `most` at the most."""
        with self.open(path) as file:
            return file.read_at(0, min(file.size, most))
