"""Footprints of GGUF files: llama.cpp's memory, one row a way or one row a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from modelscope_cli.analysis import params
from modelscope_cli.analysis.memory.cards import fit
from modelscope_cli.analysis.memory.cards.devices import Cards
from modelscope_cli.analysis.memory.gguf import cache as gguf_cache
from modelscope_cli.analysis.memory.gguf import rows as gguf_rows
from modelscope_cli.analysis.memory.gguf.rows import GgufModel
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.request import FIT, Asked
from modelscope_cli.analysis.memory.row import Workload
from modelscope_cli.analysis.params import Choice, Params
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import FileFact, ModelFacts, Note, Unknown
from modelscope_cli.footprint import cards as on
from modelscope_cli.footprint.models import examined
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.footprint.workload import notes, require_cache_dtype, workload
from modelscope_cli.formats.gguf_file_type import file_type_name


def of_gguf(facts: ModelFacts, asked: Asked, runtime: int, cards: Cards | None) -> Footprint:
    """Of GGUF files: the rows of one, or of several one row each."""
    require_cache_dtype(asked, is_gguf=True)
    whole = examined(facts)
    files = gguf_models(facts, whole)
    first, several = files[0], len(files) > 1
    limits = (gguf_cache.context_limit(each.metadata) for each in files)
    limit = next(filter(None, limits), None)
    wanted = asked.modes[:1] if several else asked.modes
    work, remarks = workload(asked, limit), list[Note]()
    if cards is not None:
        asking = _Asking(first, wanted[0], cards, runtime)
        work, remarks = _fitted(asked, work, asking, limit or on.MOST_TOKENS)
    found = tuple(
        gguf_rows.row(file, mode, work, several=several) for file in files for mode in wanted
    )
    at_limit = None
    if limit is not None and limit != work.context:
        at_limit = gguf_rows.cache(first, wanted[0], work._replace(context=limit))
    model = Model((first.prepared,), {}, None)
    return Footprint(
        found, model, whole, whole.totals, work, limit, at_limit,
        asked.context is not None, runtime, (*notes(work, limit), *remarks),
    )  # fmt: skip


def gguf_models(facts: ModelFacts, whole: Params) -> list[GgufModel]:
    """The GGUF files of a model, the parts of a split set together."""
    sets = _sets(facts.files)
    if len(sets) == 1:
        return [_model(whole, sets[0][0])]
    at: dict[str | None, list[int]] = {}
    for index, path in enumerate(whole.table.files):
        at.setdefault(path, []).append(index)
    return [
        _model(_only(facts, whole, [i for part in parts for i in at.get(part.path, ())]), parts[0])
        for parts in sets
    ]


def _only(facts: ModelFacts, whole: Params, indices: list[int]) -> Params:
    return params.examine(facts, whole.table.take(indices), Choice())


def _sets(files: Iterable[FileFact]) -> list[list[FileFact]]:
    """The files as they belong together: parts follow each other, the first is number 0."""
    sets: list[list[FileFact]] = []
    for file in files:
        if sets and file.metadata.get("split.no") not in (None, 0):
            sets[-1].append(file)
        else:
            sets.append([file])
    return sets


def _model(found: Params, file: FileFact) -> GgufModel:
    name = file_type_name(file.metadata, file.path)
    return gguf_rows.model_of(file.path, name, file.metadata, found.rows, found.table)


class _Asking(NamedTuple):
    """What is to fit: the first file in a mode, on cards."""

    model: GgufModel
    mode: Mode
    cards: Cards
    runtime: int


def _fitted(
    asked: Asked, work: Workload, asking: _Asking, most: int
) -> tuple[Workload, list[Note]]:
    """As much context, or as many sequences, as fit, where that was asked for."""
    remarks = []
    if asked.context == FIT:
        found = _largest("--context", asking, lambda n: work._replace(context=n), most)
        work = work._replace(context=max(found.value, 1))
        remarks.append(on.told("--context", "tokens", found, asking.cards))
    if asked.batch is None:
        so_far = work
        found = _largest("--batch", asking, lambda n: so_far._replace(batch=n), on.MOST_SEQUENCES)
        work = work._replace(batch=max(found.value, 1))
        remarks.append(on.told("--batch", "sequences", found, asking.cards))
    return work, remarks


def _largest(flag: str, asking: _Asking, at: Callable[[int], Workload], most: int) -> fit.Fit:
    """All cards together are one room: llama.cpp splits layers by the memory that is free."""

    def needed(count: int) -> int | Unknown:
        return gguf_rows.row(asking.model, asking.mode, at(count)).peak_bytes()

    room = sum(max(0, size - asking.runtime) for size in asking.cards.each)
    found = fit.largest(needed, room, most)
    if isinstance(found, Unknown):
        raise UsageError(f"{flag} fit: {found.reason}")
    return found
