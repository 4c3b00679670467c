"""A row's parameters laid over cards: names, bytes and order as `device_map="auto"` sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.memory.cards.placement import Placed, place
from modelscope_cli.analysis.memory.cards.tree import Leaf
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.analysis.memory.weights.amounts import DtypePlan
from modelscope_cli.analysis.memory.weights.linear import Judged
from modelscope_cli.analysis.memory.weights.made import Made
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.facts import Unknown

_PLANNED = {"int8": 1.0, "nf4": 0.5, "fp4": 0.5}  # bytes the planner counts a converted weight
OLDEST = 5  # release of transformers
_MOST = 200_000  # parameters; more is no model that anyone places


class _Sized(NamedTuple):
    """A parameter as a leaf, and what the planner takes it for where that differs."""

    leaf: Leaf
    planned: float | None


def over_cards(
    prepared: Prepared, mode: Mode, gpu_bytes: Sequence[int], cpu_bytes: int | None = None
) -> list[Placed] | Unknown:
    """What each card holds of the loaded model, what spills to the CPU and to the disk."""
    if mode.scheme is not None and mode.scheme not in amounts.BITSANDBYTES:
        return Unknown(f"{mode.scheme} is no quantization that transformers places")
    if mode.transformers < OLDEST:
        return Unknown("only what transformers 5 places is known")
    count = sum(part.times for part in prepared.judged)
    if count > _MOST:
        return Unknown(f"{count:,} parameters are more than a placement is made for")
    plan = prepared.plan(mode.float_dtype(prepared.dtype))
    sized = _ordered(prepared, list(_sized(prepared, mode, plan)))
    planned = {each.leaf.name: each.planned for each in sized if each.planned is not None}
    return place(
        [each.leaf for each in sized],
        _whole(prepared, [each.leaf.name for each in sized]),
        [list(pair) for pair in prepared.pairs],
        gpu_bytes,
        cpu_bytes=cpu_bytes,
        planner_bytes=planned if mode.scheme is not None else None,
        limits_given=True,
    )


def _sized(prepared: Prepared, mode: Mode, plan: DtypePlan) -> Iterator[_Sized]:
    for part in prepared.judged:
        yield from _of_part(part, mode, plan)
    for made in _made(prepared):
        yield _Sized(Leaf(made.name, made.bytes(plan.dtype), is_buffer=not made.is_weight), None)


def _made(prepared: Prepared) -> Sequence[Made]:
    """The buffers that its class makes; of a class that is not known, none."""
    return () if isinstance(prepared.made, Unknown) else prepared.made


def _of_part(part: Judged, mode: Mode, plan: DtypePlan) -> Iterator[_Sized]:
    """The parameters of one row, all of the same size."""
    planned = None
    each = part.elements // part.times
    if mode.scheme is not None and part.reason is None:
        size = sum(amounts.packed_bytes(part, mode.scheme, double_quant=mode.double_quant))
        planned = each * _PLANNED[mode.scheme]
    else:
        size = amounts.plain_bytes(part.held, part.elements, plan)
    for name in part.names():
        yield _Sized(Leaf(name, size // part.times, part.held.is_buffer), planned)


def _ordered(prepared: Prepared, sized: list[_Sized]) -> list[_Sized]:
    """In registration order, where the class is known; what it computes itself comes last."""
    known = prepared.model_class
    if known is None:
        return sized
    made = {each.name for each in _made(prepared)}

    def place(each: _Sized) -> tuple[bool, tuple[int, ...]]:
        return each.leaf.name in made, known.position(each.leaf.name)

    return sorted(sized, key=place)


def whole_modules(prepared: Prepared) -> list[str]:
    """The modules that are never split, in order: the layers, as a rule."""
    names = [name for part in prepared.judged for name in part.names()]
    return sorted(_whole(prepared, names), key=_numbered_order)


def _numbered_order(name: str) -> list[tuple[int, str]]:
    """A key that puts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def _whole(prepared: Prepared, names: Iterable[str]) -> set[str]:
    """The modules that are never split; of an unknown class, those that a number names."""
    known = prepared.model_class
    if known is None:
        return {found for name in names if (found := _numbered(name))}
    patterns = "|".join(re.escape(each).replace(r"\*", r"\d+") for each in known.no_split)
    if not patterns:
        return set()
    fits = re.compile(rf"(?:{patterns})(?=\.)").match
    return {match.group() for name in names if (match := fits(name))}


_NUMBERED = re.compile(r".*?\.\d+(?=\.)")


def _numbered(name: str) -> str | None:
    found = _NUMBERED.match(name)
    return found.group() if found else None
