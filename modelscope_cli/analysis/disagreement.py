"""Where a model's tensors are not what its configuration declares: the tensors are believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis.opaque import method_of
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import ModelFacts, Note
from modelscope_cli.schemes import FAMILIES
from modelscope_cli.schemes.base import Logical

_METHODS = frozenset(method for family in FAMILIES for method in family.methods)
# Of these no other method has the tensors, so that another declaration is wrong.
_OWNERS = {"nf4": "bitsandbytes", "fp4": "bitsandbytes", "int8": "bitsandbytes", "gptq": "gptq"}
_SIZED = ("gptq", "awq")  # methods whose configuration has one size for the whole model


def told(facts: ModelFacts, rows: Sequence[RowFact]) -> ModelFacts:
    """The facts with a note where the rows of their tensors are not what is declared."""
    return facts._replace(notes=(*facts.notes, *notes(rows, facts.quantization)))


def notes(rows: Sequence[RowFact], declared: Mapping[str, Any]) -> tuple[Note, ...]:
    """At most one warning: the first of method, bits and group size that is not so."""
    method = method_of(declared)
    if method is None:
        return ()
    understood = [fact.logical for fact in rows if isinstance(fact.logical, Logical)]
    found = next(_found(method, understood, declared), None)
    return () if found is None else (Note(found, warning=True),)


def _found(method: str, seen: Sequence[Logical], declared: Mapping[str, Any]) -> Iterator[str]:
    if method not in _METHODS and "round" not in method:  # AutoRound packs as others do
        yield f"quant_method {method!r} is not known here: tensor names and shapes decide"
    owners = {_owner(logical.scheme) for logical in seen} - {None}
    if owners and method in _METHODS and method not in owners:
        there = " and ".join(sorted(filter(None, owners)))
        yield f"quant_method {method} is declared, but the tensors are {there}'s: they decide"
    if method not in _SIZED or not seen:
        return
    for key, sizes in (
        ("bits", {logical.bits for logical in seen}),
        ("group_size", {logical.group for logical in seen} - {None}),
    ):
        said = declared.get(key)
        if isinstance(said, int) and said > 0 and sizes and said not in sizes:
            there = " and ".join(f"{size:g}" for size in sorted(filter(None, sizes)))
            yield f"{key} {said} is declared, but the tensors have {there}: they decide"


def _owner(scheme: str) -> str | None:
    return "awq" if scheme.startswith("awq") else _OWNERS.get(scheme)
