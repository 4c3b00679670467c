"""Buffers that a class makes when it is built: they are in no file, and take memory all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from modelscope_cli.analysis.memory.held import Held, numbers
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.buffers import BufferFact


class Made(NamedTuple):
    """One buffer, by its full name."""

    name: str
    bytes: int


def made(facts: Sequence[BufferFact] | None, held: Sequence[Held]) -> list[Made] | Unknown:
    """All of them; where a template repeats, one for each layer that `held` has there."""
    if facts is None:
        return Unknown("which buffers its class makes is not known")
    found: list[Made] = []
    for fact in facts:
        if isinstance(fact.shape, Unknown):
            return Unknown(f"{fact.name}: {fact.shape.reason}")
        size = prod(fact.shape) * DTYPES[fact.dtype].block_bytes
        found += [Made(name, size) for name in _names(fact, held)]
    return found


def _names(fact: BufferFact, held: Sequence[Held]) -> Iterator[str]:
    if "*" not in fact.name:
        yield fact.name
        return
    for point in sorted(_numbers_under(held, fact.count_path)):
        name = fact.name
        for number in point:
            name = name.replace("*", str(number), 1)
        yield name


def _numbers_under(held: Sequence[Held], path: str) -> set[tuple[int, ...]]:
    """The numbers up to the one that follows a module's path (a template) in parameter names."""
    places = path.count("*") + 1
    found: set[tuple[int, ...]] = set()
    for each in held:
        if each.template.startswith(f"{path}.*."):
            found.update(_first_numbers(each, places))
    return found


def _first_numbers(held: Held, places: int) -> set[tuple[int, ...]]:
    if all(place >= places for place in held.places):
        return {numbers(held.name)[:places]}
    return {numbers(name)[:places] for name in held.names()}
