"""The parameters of a model: chosen, ordered, counted, grouped. Pure functions over facts."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis import experts, order, packed, roles, ties
from modelscope_cli.analysis.fold import fold, regrouped, templates
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.analysis.stored import stored_bytes
from modelscope_cli.facts import ModelFacts, TensorFact, TensorTable, Unknown
from modelscope_cli.schemes.base import Logical

_WILDCARDS = re.compile(r"[*?\[]")


class Row(NamedTuple):
    """One tensor with what analysis adds to it; `logical` as in `roles.RowFact`."""

    fact: TensorFact
    role: str
    scheme: str | None
    logical: Logical | Unknown | None


class Totals(NamedTuple):
    """Sums over tensors. `parameters` are logical weights, `elements` all that is stored."""

    tensors: int
    parameters: int | Unknown
    active_parameters: int | Unknown
    stored_elements: int
    bytes: int


class Choice(NamedTuple):
    """Which tensors are listed, and in which order. `top` limits what is shown, not the totals."""

    match: Sequence[str] = ()
    exclude: Sequence[str] = ()
    sort: str = "order"
    descending: bool = False
    top: int | None = None


class Params:
    """The tensors that were chosen, in file order, and what they add up to."""

    def __init__(
        self,
        facts: ModelFacts,
        table: TensorTable,
        rows: list[RowFact],
        choice: Choice,
        unseen_experts: Unknown | None = None,
    ) -> None:
        self.table = table
        self.rows = rows
        self.choice = choice
        self.alternatives = alternatives(facts)
        parameters = self.alternatives or roles.parameters(rows)
        self.totals = Totals(
            sum(len(row.row.indices) for row in rows),
            parameters,
            unseen_experts or self._active(facts, parameters),
            sum(row.elements for row in rows),
            stored_bytes(rows, table, facts.files),
        )
        self.loaded = self._loaded(facts, parameters)

    def _active(self, facts: ModelFacts, parameters: int | Unknown) -> int | Unknown:
        if isinstance(parameters, Unknown):
            return parameters
        config = facts.config or gguf_experts(facts)
        return experts.active_parameters(self.rows, self.table, config, parameters)

    def _loaded(self, facts: ModelFacts, parameters: int | Unknown) -> ties.Loaded:
        """What transformers would hold of it, or why that cannot be said."""
        reason = None
        if self.alternatives is not None:
            reason = self.alternatives.reason
        elif facts.ref.format == "gguf":
            reason = "llama.cpp holds a GGUF as stored; transformers dequantizes it first"
        elif any(self.table.components):
            reason = "a pipeline's components are loaded one by one"
        elif self.choice.match or self.choice.exclude:
            reason = "only some of the tensors are listed"
        if reason is not None:
            return ties.Loaded(Unknown(reason), Unknown(reason), ())
        files = [file for file in facts.files if file.format == "torch"]
        same = [names for file in files for names in file.metadata.get("same_tensors", ())]
        return ties.loaded(self.table, self.rows, parameters, facts.config, same)

    def listed(self) -> list[Row]:
        """One row a tensor, sorted and cut as asked for."""
        of_tensor = {index: fact for fact in self.rows for index in fact.row.indices}
        indices = sorted(of_tensor)
        if self.choice.sort in _SUMS:
            column = _SUMS[self.choice.sort](self.table)
            keys: Sequence[Any] = [column[index] for index in indices]
        else:
            keys = self._order(indices)
        places = sorted(range(len(keys)), key=keys.__getitem__, reverse=self.choice.descending)
        chosen = (indices[place] for place in places[: self.choice.top])
        return [Row(self.table[index], *of_tensor[index][1:4]) for index in chosen]

    def folded(self) -> list[RowFact]:
        """Rows of repeated layers, sorted (by what each adds up to) and cut as asked for."""
        if self.choice.sort in _SUMS:
            keys: Sequence[Any] = [getattr(row, self.choice.sort) for row in self.rows]
        else:
            keys = self._order([row.row.indices[0] for row in self.rows])
        places = sorted(range(len(keys)), key=keys.__getitem__, reverse=self.choice.descending)
        return [self.rows[place] for place in places[: self.choice.top]]

    def _order(self, indices: Sequence[int]) -> Sequence[Any]:
        """Keys of the natural order; one component of a pipeline after the other."""
        keys = order.natural_keys([self.table.names[index] for index in indices])
        components = self.table.components
        if self.choice.sort == "name" or not any(components):
            return keys
        places = {component: place for place, component in enumerate(dict.fromkeys(components))}
        return [(places[components[i]], key) for i, key in zip(indices, keys, strict=True)]


def alternatives(facts: ModelFacts) -> Unknown | None:
    """Why several sets of the same names (one model in several quantizations) have no sum."""
    if not facts.alternatives:
        return None
    count = len(facts.alternatives)
    return Unknown(f"{count} weight sets hold the same names; --weights GLOB chooses one")


def gguf_experts(facts: ModelFacts) -> Mapping[str, Any] | None:
    """What a GGUF's metadata says of its experts, under the key that configs use."""
    metadata = facts.files[0].metadata if facts.files else {}
    architecture = metadata.get("general.architecture")
    used = metadata.get(f"{architecture}.expert_used_count")
    return None if used is None else {"expert_used_count": used}


_SUMS: Mapping[str, Callable[[TensorTable], Sequence[int]]] = {
    "bytes": lambda table: table.bytes,
    "elements": lambda table: table.elements,
}
SORTS = ("name", "bytes", "elements", "order")


class Group(NamedTuple):
    """One row of `--by`: tensors that share a module, dtype, kind or file."""

    name: str
    tensors: int
    parameters: int | Unknown
    elements: int
    bytes: int


def examine(facts: ModelFacts, table: TensorTable, choice: Choice) -> Params:
    """What `choice` takes of `table`, the tensors of `facts`.

    Packing is recognised before anything is left out: a weight needs its scales to be seen.
    """
    alike = list(zip(table.dtypes, table.shapes, table.components, strict=True))
    rows = fold(table.names, templates(table.names), alike)
    found = roles.of(packed.see(rows, table, facts.values, facts.quantization), table)
    unseen = experts.unseen(found, table, facts.config)
    if choice.match or choice.exclude:
        found = _narrowed(found, set(_chosen(table.names, choice)), table)
    return Params(facts, table, found, choice, unseen)


def _narrowed(rows: list[RowFact], chosen: set[int], table: TensorTable) -> list[RowFact]:
    """The rows without the tensors that were not chosen, folded anew where some were."""
    kept: list[RowFact] = []
    for fact in rows:
        indices = [index for index in fact.row.indices if index in chosen]
        if len(indices) == len(fact.row.indices):
            kept.append(fact)
        elif indices:
            for part in regrouped(fact.row.template, indices, table.names):
                share = len(part.indices), len(fact.row.indices)
                elements, size = (total * share[0] // share[1] for total in fact[4:6])
                kept.append(fact._replace(row=part, elements=elements, bytes=size))
    return kept


def _chosen(names: Sequence[str], choice: Choice) -> list[int]:
    wanted = _matcher(choice.match) if choice.match else None
    unwanted = _matcher(choice.exclude) if choice.exclude else None
    return [
        index
        for index, name in enumerate(names)
        if (wanted is None or wanted(name)) and not (unwanted is not None and unwanted(name))
    ]


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name fits any pattern: a glob, or (without a wildcard) a part of the name."""
    expression = "|".join(
        rf"\A{fnmatch.translate(pattern)}" if _WILDCARDS.search(pattern) else re.escape(pattern)
        for pattern in patterns
    )
    fits = re.compile(expression, re.DOTALL).search
    return lambda name: fits(name) is not None


def grouped(params: Params, by: str, depth: int) -> list[Group]:
    """The listing summed up by module (to `depth` name parts), dtype, kind or file.

    Sorted and cut as asked for, else in natural order (dtypes and kinds as they appear).
    """
    table = params.table
    keys = _GROUP_KEYS[by](table, depth)
    groups: dict[str, Group] = {}
    of_tensor = {index: fact for fact in params.rows for index in fact.row.indices}
    for index in sorted(of_tensor):
        before = groups.get(keys[index], Group(keys[index], 0, 0, 0, 0))
        weights = (by != "file" and params.alternatives) or _weights(of_tensor[index])
        groups[keys[index]] = Group(
            keys[index],
            before.tensors + 1,
            _sum(before.parameters, weights),
            before.elements + table.elements[index],
            before.bytes + table.bytes[index],
        )
    return _arranged(list(groups.values()), by, params.choice)


def _arranged(groups: Sequence[Group], by: str, choice: Choice) -> list[Group]:
    keys: Sequence[Any] = range(len(groups))
    if choice.sort in _SUMS:
        keys = [getattr(group, choice.sort) for group in groups]
    elif choice.sort == "name" or by in ("module", "file"):
        keys = order.natural_keys([group.name for group in groups])
    places = sorted(range(len(groups)), key=keys.__getitem__, reverse=choice.descending)
    return [groups[place] for place in places[: choice.top]]


def _weights(fact: RowFact) -> int | Unknown:
    """Logical weights of one tensor of a row."""
    all_of_them = fact.parameters
    if isinstance(all_of_them, Unknown):
        return all_of_them
    return all_of_them // len(fact.row.indices)


def _sum(a: int | Unknown, b: int | Unknown) -> int | Unknown:
    if isinstance(a, Unknown):
        return a
    return b if isinstance(b, Unknown) else a + b


def _modules(table: TensorTable, depth: int) -> list[str]:
    """The module of each tensor, cut to `depth` parts: numbers do not count as a part."""
    names = (
        name if component is None else f"{component}.{name}"
        for name, component in zip(table.names, table.components, strict=True)
    )
    return [_module(name.split(".")[:-1], depth) for name in names]


def _kinds(table: TensorTable) -> list[str]:
    from modelscope_cli.analysis import kinds  # a dozen regexes, only for --by kind

    return kinds.of(table)


def _module(parts: list[str], depth: int) -> str:
    taken = []
    for part in parts:
        if not part.isdigit():
            if depth == 0:
                break
            depth -= 1
        taken.append(part)
    return ".".join(taken) or "(top)"


_GROUP_KEYS: Mapping[str, Callable[[TensorTable, int], Sequence[str]]] = {
    "module": _modules,
    "dtype": lambda table, depth: table.dtypes,
    "kind": lambda table, depth: _kinds(table),
    "file": lambda table, depth: [file or "(built in)" for file in table.files],
}
GROUPINGS = tuple(_GROUP_KEYS)
