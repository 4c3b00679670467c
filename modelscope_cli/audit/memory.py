"""The memory that a policy gives a model, and whether it does with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_cli.audit.finding import Flaw, Skip
from modelscope_cli.audit.policy import Memory
from modelscope_cli.errors import MscopeError, UsageError
from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.units import size_text

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.cards.devices import Cards
    from modelscope_cli.analysis.memory.request import Asked
    from modelscope_cli.footprint import Footprint

RUNTIME_BYTES = 512 * 1024**2  # what CUDA itself takes of a card, as `mscope memory` assumes


def asked(memory: Memory) -> tuple[Asked, Cards | None]:
    """The footprint's request and the cards. Raises UsageError for what contradicts itself."""
    from modelscope_cli.analysis.memory import request
    from modelscope_cli.analysis.memory.modes import BITS
    from modelscope_cli.footprint.cards import named

    if memory.bits not in (None, *BITS):
        raise UsageError(f"bits = {memory.bits!r} is not one of {', '.join(BITS)}")
    bits = memory.bits if memory.bits is not None or memory.quant is not None else "stored"
    found = request.asked(
        bits=bits, quant=memory.quant, double_quant=False, dtype=None, transformers="5",
        batch=memory.batch, context=memory.context, encoder_context=None,
        kv_dtype=memory.kv_dtype,
    )  # fmt: skip
    return found, None if memory.fits is None else named(memory.fits)


def flaws(facts: ModelFacts, memory: Memory) -> Iterator[Flaw]:
    """What does not fit. Raises Skip where that is not known, and what is known would fit."""
    from modelscope_cli import footprint

    wanted, cards = asked(memory)
    try:
        found = footprint.of(facts, wanted, RUNTIME_BYTES, cards)
    except MscopeError as error:
        raise Skip(f"its memory cannot be told: {error.message}") from error
    whole, needed = found.top.peak_bytes(), found.top.peak_at_least
    run_as = _run_as(found, memory)
    at_least = "at least " if isinstance(whole, Unknown) else ""
    is_wrong = False
    if memory.most is not None and needed > memory.most:
        is_wrong = True
        yield Flaw(
            f"takes {at_least}{needed:,} bytes ({size_text(needed)}) {run_as}, "
            f"{memory.most:,} ({size_text(memory.most)}) are allowed"
        )
    if found.on_cards and found.on_cards[0].fits is False:
        is_wrong = True
        runtime = size_text(RUNTIME_BYTES)
        yield Flaw(
            f"does not fit on {memory.fits}: {at_least}{size_text(needed)} {run_as}, "
            f"and {runtime} a card that CUDA takes"
        )
    if isinstance(whole, Unknown) and not is_wrong:
        raise Skip(f"its memory is unknown, at least {size_text(needed)}: {whole.reason}")


def _run_as(found: Footprint, memory: Memory) -> str:
    """With which weights, and how many tokens, that is."""
    held = memory.quant or (f"{memory.bits} bit" if memory.bits else "as stored")
    return f"{held} with {found.work.batch:,} x {found.work.context:,} tokens"
