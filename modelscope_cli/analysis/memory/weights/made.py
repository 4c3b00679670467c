"""Buffers that a class makes when it is built: in no file, and in memory all the same."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from modelscope_cli.analysis.memory.weights.held import Held, numbers
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.buffers import BufferFact

_MOST = 100_000  # buffers under one template


class Made(NamedTuple):
    """One buffer, by its full name; without a dtype of its own it has that of the load."""

    name: str
    elements: int
    dtype: str | None

    @property
    def is_weight(self) -> bool:
        """Whether it is a parameter that is computed instead of saved: a table of positions."""
        return self.name.endswith(".weight")

    def bytes(self, dtype: str) -> int:
        """Its bytes where floats are loaded as `dtype`."""
        return self.elements * DTYPES[self.dtype or dtype].block_bytes


def made(facts: Sequence[BufferFact] | None, held: Sequence[Held]) -> list[Made] | Unknown:
    """All of them; where a template repeats, one for each layer that `held` has there."""
    if facts is None:
        return Unknown("which buffers its class makes is not known")
    found: list[Made] = []
    for fact in facts:
        if isinstance(fact.shape, Unknown):
            return Unknown(f"{fact.name}: {fact.shape.reason}")
        names = _names(fact, held)
        if isinstance(names, Unknown):
            return names
        found += [Made(name, prod(fact.shape), fact.dtype) for name in names]
    return found


def _names(fact: BufferFact, held: Sequence[Held]) -> Sequence[str] | Unknown:
    """One for each layer that the file has; where those are not told, so many of the template."""
    if "*" not in fact.name:
        return [] if fact.times == 0 else [fact.name]
    if fact.count_path:
        return [
            _numbered(fact.name, point) for point in sorted(_numbers_under(held, fact.count_path))
        ]
    if isinstance(fact.times, Unknown):
        return Unknown(f"{fact.name}: {fact.times.reason}")
    return [_numbered(fact.name, (number,)) for number in range(min(fact.times, _MOST))]


def _numbered(name: str, numbers: Sequence[int]) -> str:
    for number in numbers:
        name = name.replace("*", str(number), 1)
    return name


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
