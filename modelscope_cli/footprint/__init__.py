"""From facts and a request to a footprint: the rows, what fits, what the library says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.memory import rows
from modelscope_cli.analysis.memory.kv.cache import context_limit
from modelscope_cli.analysis.memory.request import FIT, Asked
from modelscope_cli.analysis.memory.row import Workload
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import ModelFacts, Note
from modelscope_cli.footprint.models import declared_notes, examined, model_of, totals_of
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.footprint.workload import notes, require_cache_dtype, unused, workload

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.cards.devices import Cards
    from modelscope_cli.footprint.cards import Asking

__all__ = ["Deeper", "Footprint", "model_of", "of"]


class Deeper(NamedTuple):
    """What is asked beyond headers, of the top row."""

    exact: bool = False
    measure: bool = False
    code: bool = False


def of(
    facts: ModelFacts,
    asked: Asked,
    runtime: int,
    cards: Cards | None = None,
    deeper: Deeper = Deeper(),  # noqa: B008 - immutable
) -> Footprint:
    """The footprint of a model, from its headers and configuration.

    `runtime` is what CUDA itself takes of each card, in bytes. Raises UsageError for what the
    model has no limit or no cache for.
    """
    is_gguf = facts.ref.format == "gguf" and bool(facts.files)  # not where none was opened
    flags = {"--exact": deeper.exact, "--measure": deeper.measure, "--train": asked.training}
    flag = next((flag for flag, given in flags.items() if given), None)
    if is_gguf and flag is not None:
        raise UsageError(f"{flag} asks transformers, a GGUF's figures are llama.cpp's")
    of_kind = _of_gguf if is_gguf else _of_checkpoint
    found = of_kind(facts, asked, runtime, cards)
    if cards is not None:
        from modelscope_cli.footprint.cards import laid_out

        on_cards = (laid_out(found.model, row, cards, runtime) for row in found.rows)
        found = found._replace(on_cards=tuple(on_cards))
    return _looked_deeper(facts, found, deeper)


def _of_gguf(facts: ModelFacts, asked: Asked, runtime: int, cards: Cards | None) -> Footprint:
    from modelscope_cli.footprint.ggufs import of_gguf  # a few files alone need it

    return of_gguf(facts, asked, runtime, cards)


def _of_checkpoint(facts: ModelFacts, asked: Asked, runtime: int, cards: Cards | None) -> Footprint:
    require_cache_dtype(asked, is_gguf=False)
    tensors = examined(facts)
    model = model_of(facts, tensors)
    limit = context_limit(model.config)
    work, remarks = workload(asked, limit), list[Note]()
    if cards is not None:
        from modelscope_cli.footprint.cards import Asking

        work, remarks = _fitted(asked, work, Asking(model, asked.modes[0], cards, runtime), limit)
    found = rows.each(model, asked.modes, work)
    at_limit = None
    if limit is not None and limit != work.context:
        at_limit = rows.cache_of(model, found[0].dtype, work._replace(context=limit))
    said = asked.context is not None
    warnings = (Note(each.text, warning=True) for each in model.warnings)
    declared = declared_notes(model, tensors.rows)
    told = (*notes(work, limit), *unused(work, model.config), *remarks, *declared, *warnings)
    return Footprint(
        found, model, tensors, totals_of(facts, tensors), work, limit, at_limit, said, runtime,
        told,
    )  # fmt: skip


def _fitted(
    asked: Asked, work: Workload, asking: Asking, limit: int | None
) -> tuple[Workload, list[Note]]:
    """As much context, or as many sequences, as fit, where that was asked for."""
    from modelscope_cli.footprint import cards as on

    remarks = []
    if asked.context == FIT:
        most = on.largest_context(asking, work, limit)
        work = work._replace(context=max(most.value, 1))
        remarks.append(on.told("--context", "tokens", most, asking.cards))
    if asked.batch is None:
        most = on.largest_batch(asking, work)
        work = work._replace(batch=max(most.value, 1))
        remarks.append(on.told("--batch", "sequences", most, asking.cards))
    return work, remarks


def _looked_deeper(facts: ModelFacts, found: Footprint, deeper: Deeper) -> Footprint:
    if deeper.code:
        from modelscope_cli.analysis.memory import code

        asked = code.Asked(facts.ref, found.model, found.top, bool(found.on_cards))
        found = found._replace(code=code.call(asked))
    if deeper.exact:
        from modelscope_cli import comparing

        found = found._replace(exact=comparing.exact(facts, found.model, found.top, found.work))
    if deeper.measure:
        from modelscope_cli import comparing

        found = found._replace(measured=comparing.measured(facts, found.model, found.top))
    return found
