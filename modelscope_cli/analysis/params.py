"""The parameters of a model: chosen, ordered, counted, grouped. Pure functions over facts."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis import experts, order, roles, ties
from modelscope_cli.analysis.fold import Folded, fold, templates
from modelscope_cli.facts import ModelFacts, TensorFact, TensorTable, Unknown

_WILDCARDS = re.compile(r"[*?\[]")


class Row(NamedTuple):
    """One tensor with what analysis adds to it."""

    fact: TensorFact
    role: str
    scheme: str | None


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

    totals: Totals
    loaded: ties.Loaded

    def __init__(self, facts: ModelFacts, table: TensorTable, choice: Choice) -> None:
        self.table = table
        self.choice = choice
        self.templates = templates(table.names)
        self.roles = roles.of(table, self.templates)
        self._rows: list[Folded] | None = None
        parameters = self.roles.parameters(table)
        self.totals = Totals(
            len(table),
            parameters,
            self._active(facts, parameters),
            sum(table.elements),
            sum(table.bytes),
        )
        self.loaded = self._loaded(facts, parameters)

    def _active(self, facts: ModelFacts, parameters: int | Unknown) -> int | Unknown:
        if isinstance(parameters, Unknown) or not any(map(experts.is_routed, set(self.templates))):
            return parameters
        return experts.active_parameters(
            self._folded(), self.table, self.roles, facts.config, parameters
        )

    def _loaded(self, facts: ModelFacts, parameters: int | Unknown) -> ties.Loaded:
        """What transformers would hold of it, or why that cannot be said."""
        reason = None
        if facts.ref.format == "gguf":
            reason = "llama.cpp holds a GGUF as stored; transformers dequantizes it first"
        elif any(self.table.components):
            reason = "a pipeline's components are loaded one by one"
        elif self.choice.match or self.choice.exclude:
            reason = "only some of the tensors are listed"
        if reason is not None:
            return ties.Loaded(Unknown(reason), Unknown(reason), ())
        shared = [n for file in facts.files for n in file.metadata.get("shared_storages", ())]
        return ties.loaded(self.table, self.templates, parameters, facts.config, shared)

    def listed(self) -> list[Row]:
        """One row a tensor, sorted and cut as asked for."""
        names = self.table.names
        if self.choice.sort in _SUMS:
            keys: Sequence[Any] = _SUMS[self.choice.sort](self.table)
        else:
            keys = order.natural_keys(names)
        indices = sorted(range(len(names)), key=keys.__getitem__, reverse=self.choice.descending)
        if self.choice.top is not None:
            indices = indices[: self.choice.top]
        return [Row(self.table[i], self.roles.roles[i], self.roles.packed[i]) for i in indices]

    def folded(self) -> list[Folded]:
        """Rows of repeated layers, sorted (by what each adds up to) and cut as asked for."""
        rows = self._folded()
        if self.choice.sort in _SUMS:
            column = _SUMS[self.choice.sort](self.table)
            keys: Sequence[Any] = [sum(column[i] for i in row.indices) for row in rows]
        else:
            keys = order.natural_keys([self.table.names[row.indices[0]] for row in rows])
        places = sorted(range(len(rows)), key=keys.__getitem__, reverse=self.choice.descending)
        return [rows[place] for place in places[: self.choice.top]]

    def _folded(self) -> list[Folded]:
        if self._rows is None:
            table = self.table
            alike = zip(table.dtypes, table.shapes, table.components, self.roles.roles, strict=True)
            self._rows = fold(table.names, self.templates, list(alike))
        return self._rows


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
    """What `choice` takes of `table`, the tensors of `facts`."""
    if choice.match or choice.exclude:
        table = table.take(_chosen(table.names, choice))
    return Params(facts, table, choice)


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
        fnmatch.translate(pattern) if _WILDCARDS.search(pattern) else f".*{re.escape(pattern)}"
        for pattern in patterns
    )
    fits = re.compile(expression, re.DOTALL).match
    return lambda name: fits(name) is not None


def grouped(params: Params, by: str, depth: int) -> list[Group]:
    """The listing summed up by module (to `depth` name parts), dtype, kind or file."""
    keys = _GROUP_KEYS[by](params.table, depth)
    members: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    return [_group(params, name, indices) for name, indices in members.items()]


def _group(params: Params, name: str, indices: list[int]) -> Group:
    table = params.table
    rows = [(table.elements[i], params.roles.roles[i], params.roles.packed[i]) for i in indices]
    packed = next((scheme for _, _, scheme in rows if scheme is not None), None)
    return Group(
        name,
        len(indices),
        Unknown(f"packed as {packed}")
        if packed
        else sum(elements for elements, role, _ in rows if role == roles.PARAMETER),
        sum(elements for elements, _, _ in rows),
        sum(table.bytes[i] for i in indices),
    )


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
