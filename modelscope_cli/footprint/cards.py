"""Rows on the cards that were named: who holds what, whether it fits, and how much would."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from modelscope_cli.analysis.memory import rows
from modelscope_cli.analysis.memory.cards import fit, on_cards
from modelscope_cli.analysis.memory.cards.devices import Cards, parse
from modelscope_cli.analysis.memory.cards.fit import Fit
from modelscope_cli.analysis.memory.cards.on_cards import Device
from modelscope_cli.analysis.memory.cards.placement import Placed
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.row import Row, Workload
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Note, Unknown

_ROOM = 1 << 60  # bytes; what is short is counted from here, so that no size is below 0
MOST_TOKENS = 1 << 24  # where a model has no limit
MOST_SEQUENCES = 1 << 20
AUTO = "auto"


class OnCards(NamedTuple):
    """One row on the cards. `fits` is None where a part is unknown and the others fit.

    `request` is the smallest one of SLURM's that fits, where the cards were named as SLURM does.
    `refused` says why transformers would not load a model so.
    """

    cards: Cards
    devices: list[Device] | Unknown
    fits: bool | None
    request: str | None = None
    refused: str | None = None


def named(text: str) -> Cards:
    """The cards of a text; those of this machine for `auto`. Raises UsageError."""
    if text.strip().lower() != AUTO:
        return parse(text)
    from modelscope_cli.live import cards

    return cards.here()


def laid_out(model: Model, row: Row, cards: Cards, runtime: int) -> OnCards:
    """A row on the cards."""
    placed = on_cards.placed_on(model, row, cards.each, runtime)
    found, short = _short(model, row, cards, runtime, placed)
    fits = None if isinstance(short, Unknown) else short <= 0
    if fits is None and row.peak_at_least + runtime * cards.number > sum(cards.each):
        fits = False
    request = None
    if cards.type is not None and fits is not None:
        number = fit.fewest(lambda count: _fits(model, row, cards.of(count), runtime))
        request = None if number is None else fit.slurm_request(cards, number)
    refused = None if isinstance(found, Unknown) else on_cards.refused(row, found)
    return OnCards(cards, found, fits, request, refused)


def _fits(model: Model, row: Row, cards: Cards, runtime: int) -> bool:
    placed = on_cards.placed_on(model, row, cards.each, runtime)
    _, short = _short(model, row, cards, runtime, placed)
    return isinstance(short, int) and short <= 0


def _short(
    model: Model, row: Row, cards: Cards, runtime: int, placed: list[Placed] | Unknown
) -> tuple[list[Device] | Unknown, int | Unknown]:
    """The devices, and the bytes that are missing: of the shortest card, or of all together."""
    if isinstance(placed, Unknown):
        peak = row.peak_bytes()
        if isinstance(peak, Unknown):
            return placed, peak
        return placed, peak + runtime * cards.number - sum(cards.each)
    found = on_cards.devices(model, row, placed, cards.each, runtime)
    return found, found if isinstance(found, Unknown) else on_cards.short_by(found)


class Asking(NamedTuple):
    """What is to fit: a model in a mode, on cards."""

    model: Model
    mode: Mode
    cards: Cards
    runtime: int


def largest_context(asking: Asking, work: Workload, limit: int | None) -> Fit:
    """The most tokens a sequence that fit, up to the model's limit. Raises UsageError."""
    most = limit or MOST_TOKENS
    return _largest("--context", asking, lambda count: work._replace(context=count), most)


def largest_batch(asking: Asking, work: Workload) -> Fit:
    """The most sequences that fit. Raises UsageError."""
    most = MOST_SEQUENCES
    return _largest("--batch", asking, lambda count: work._replace(batch=count), most)


def told(flag: str, what: str, found: Fit, cards: Cards) -> Note:
    """What `fit` came out as."""
    if not found.value:
        return Note(f"{flag} fit: not even one fits on {cards.name}", warning=True)
    limit = ", as many as are possible," if found.at_limit else ""
    return Note(f"{flag} fit: {found.value:,} {what}{limit} fit on {cards.name}")


def _largest(flag: str, asking: Asking, at: Callable[[int], Workload], most: int) -> Fit:
    model, mode, cards, runtime = asking
    first = rows.row(model, mode, at(1))
    placed = on_cards.placed_on(model, first, cards.each, runtime)

    def needed(count: int) -> int | Unknown:
        row = rows.row(model, mode, at(count))
        _, short = _short(model, row, cards, runtime, placed)
        return short if isinstance(short, Unknown) else short + _ROOM

    found = fit.largest(needed, _ROOM, most)
    if isinstance(found, Unknown):
        raise UsageError(f"{flag} fit: {found.reason}")
    return found
