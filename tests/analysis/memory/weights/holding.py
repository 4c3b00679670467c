"""Checkpoints as the memory modules see them, and a model class of a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelscope_cli.analysis import params
from modelscope_cli.analysis.memory.weights import held as holding
from modelscope_cli.analysis.memory.weights.held import Held, Holding
from modelscope_cli.analysis.params import Choice
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import ModelFacts, ModelRef, Shape, TensorTable
from modelscope_cli.knowledge.modules import Parameter, Renamed
from tests.analysis.tables import table

Rows = Iterable[tuple[str, str, Shape]]
LINEAR, RAW, NORM = Parameter("linear", None), Parameter("raw", None), Parameter("norm", None)


class Class:
    """A class that has the parameters of `kinds`, by template; `renames` gives targets."""

    def __init__(
        self,
        kinds: Mapping[str, Parameter],
        renames: Callable[[str], tuple[str, ...]] = lambda name: (name,),
    ) -> None:
        self._kinds = kinds
        self._renames = renames

    def parameter(self, name: str) -> Parameter | None:
        return self._kinds.get(holding.template_of(name))

    def rename(self, file_name: str) -> Renamed:
        targets = self._renames(file_name)
        return Renamed(targets[0], targets, False)


def examined(
    rows: Rows, config: Mapping[str, Any] | None = None
) -> tuple[list[RowFact], TensorTable]:
    """The rows of a checkpoint, folded and seen through, and its table."""
    made = table(rows)
    facts = ModelFacts(ModelRef("m", "directory"), made, config=config)
    return list(params.examine(facts, made, Choice()).rows), made


def hold(
    rows: Rows, model_class: Class | None = None, counts: Mapping[str, int] | None = None
) -> Holding:
    """What a class holds of those tensors."""
    facts, made = examined(rows)
    return holding.hold(facts, made, model_class, counts or {})


def one(rows: Rows, model_class: Class | None = None) -> Held:
    """The only parameter they become."""
    (found,) = hold(rows, model_class).held
    return found
