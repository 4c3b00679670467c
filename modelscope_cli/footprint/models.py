"""A model made ready to be weighed: its tensors examined, its components told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis import params
from modelscope_cli.analysis.load_dtype import load_dtype
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.weights.prepared import Prepared, prepare
from modelscope_cli.analysis.opaque import method_of
from modelscope_cli.analysis.params import Choice, Params, Totals
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import ModelFacts, Note, TensorTable, Unknown
from modelscope_cli.schemes.base import Logical


def examined(facts: ModelFacts) -> Params:
    """All tensors, with their roles; none where the facts have none."""
    table = facts.tensors if isinstance(facts.tensors, TensorTable) else TensorTable()
    return params.examine(facts, table, Choice())


def totals_of(facts: ModelFacts, found: Params) -> Totals:
    """Sums over all tensors; of weights that are not there nothing is known."""
    if isinstance(facts.tensors, Unknown):
        unknown = facts.tensors
        return found.totals._replace(parameters=unknown, active_parameters=unknown)
    return found.totals


def model_of(facts: ModelFacts, found: Params | None = None) -> Model:
    """The components of a model, ready to be weighed."""
    found = found or examined(facts)
    config = facts.config or {}
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    return Model(
        tuple(_components(facts, found)),
        config,
        first if isinstance(first, str) else None,
        _packed_by(found.rows),
        facts.tensors if isinstance(facts.tensors, Unknown) else found.alternatives,
        _packings(facts, found.rows),
        facts.quantization or _declared(config),
        isinstance(facts.tensors, TensorTable) or load_dtype(config, TensorTable()) is not None,
    )


def _declared(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a configuration that lies alone says of the quantization of weights elsewhere."""
    found = config.get("quantization_config")
    return found if isinstance(found, Mapping) else {}


def _packings(facts: ModelFacts, found: Sequence[RowFact]) -> tuple[str, ...]:
    """How the checkpoint is packed, for people: each way once."""
    if isinstance(facts.tensors, Unknown):
        method = method_of(_declared(facts.config or {}))
        return () if method is None else (f"{method} by the configuration",)
    packed = [fact for fact in found if fact.logical is not None]
    if not packed:
        return ()
    from modelscope_cli.analysis.memory import quantizers  # few checkpoints are packed

    names = (
        quantizers.name(fact.logical)
        if isinstance(fact.logical, Logical)
        else f"packed by {fact.scheme or 'an unknown method'}"
        for fact in packed
    )
    return tuple(dict.fromkeys(names))


def declared_notes(model: Model, found: Sequence[RowFact]) -> Iterator[Note]:
    """Where what is declared of quantization is not what is there, or nothing loads it so."""
    if not model.declared:
        return
    from modelscope_cli.analysis import disagreement  # few models declare anything
    from modelscope_cli.analysis.memory import quantizers

    yield from disagreement.notes(found, model.declared)
    if (skipped := quantizers.skipped(method_of(model.declared))) is not None:
        yield Note(skipped, warning=True)


def _components(facts: ModelFacts, found: Params) -> list[Prepared]:
    """One for the model; of a pipeline one for each of its components."""
    table = found.table
    by_component: dict[str | None, list[RowFact]] = {}
    for fact in found.rows:
        by_component.setdefault(table.components[fact.row.indices[0]], []).append(fact)
    configs: dict[str | None, Mapping[str, Any] | None] = {
        component.name: component.config for component in facts.components
    }
    return [
        prepare(its_rows, table, configs.get(name) or (None if name else facts.config))
        for name, its_rows in by_component.items()
    ] or [prepare([], table, facts.config)]


def _packed_by(found: Sequence[RowFact]) -> str | None:
    """The scheme of the checkpoint's packed weights, else the method that hides them."""
    packed = [fact for fact in found if fact.logical is not None]
    seen = (fact.logical.scheme for fact in packed if isinstance(fact.logical, Logical))
    hidden = (fact.scheme or "a method that is not known here" for fact in packed)
    return next(seen, None) or next(hidden, None)
