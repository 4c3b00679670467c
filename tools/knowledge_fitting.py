"""Find the expression behind a value from examples: (configuration, value) pairs.

Candidates are tried from short to long; what fits all examples is taken. Whoever asks checks the
answer on examples that were not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

from modelscope_cli.knowledge.expressions import MISSING, value

Expression = Any
_FEW_CONSTANTS = (2, 4, 8, 16, 3, 1, 32, 64, 128)
_FACTORS = (0.5, 0.25, 0.75, 1.5, 2.5, 2 / 3, 4 / 3, 8 / 3, 4.0, 2.0, 3.0)


_deadline = [float("inf")]


def until(moment: float) -> None:
    """Stop searching at this time of the process's own clock."""
    _deadline[0] = moment


def late() -> bool:
    """Whether that time has come."""
    return time.process_time() > _deadline[0]


class Example(NamedTuple):
    """What the configuration said, and the value that came of it (MISSING: none)."""

    scope: Mapping[str, Any]
    value: Any


def fit(examples: Sequence[Example], paths: Sequence[str], depth: int = 2) -> Expression | None:
    """An expression over `paths` that gives every example's value; None where none is found."""
    found = _direct(examples, paths)
    if found is not None or not depth:
        return found
    return _split(examples, paths, depth)


def same(a: Any, b: Any) -> bool:
    """Equal, with true and 1 apart and 2 and 2.0 together."""
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def fits(expression: Expression, examples: Iterable[Example]) -> bool:
    """Whether the expression gives each example's value."""
    return all(same(value(expression, each.scope), each.value) for each in examples)


def quoted(constant: Any) -> Expression:
    """A value as an expression that gives it."""
    plain = isinstance(constant, (bool, int, float))
    return constant if plain else ["=", constant]


def _direct(examples: Sequence[Example], paths: Sequence[str]) -> Expression | None:
    usual = examples[0].value
    if all(same(each.value, usual) for each in examples):
        return quoted(usual)
    targets = [each.value for each in examples]
    for candidate in paths:
        if fits(candidate, examples):
            return candidate
    for one, other in permutations(paths, 2):
        if fits(["??", one, other], examples):
            return ["??", one, other]
    if all(is_number(target) for target in targets):
        return first(numeric(examples, paths), examples)
    if all(isinstance(target, bool) for target in targets):
        return first(_boolean(examples, paths), examples)
    if all(isinstance(target, list) for target in targets):
        from tools.knowledge_lists import listed

        return listed(examples, paths)
    return None


def first(candidates: Iterable[Expression], examples: Sequence[Example]) -> Expression | None:
    """The first candidate that fits."""
    for number, each in enumerate(candidates):
        if fits(each, examples):
            return each
        if number % 100 == 99 and late():
            break
    return None


def is_number(found: Any) -> bool:
    """A number, and not true or false."""
    return isinstance(found, (int, float)) and not isinstance(found, bool)


def _atoms(examples: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    """Numbers at hand: paths that hold one, sums and lengths of lists."""
    scope = examples[0].scope
    for path in paths:
        found = value(path, scope)
        if is_number(found):
            yield path
        elif any(is_number(value(path, each.scope)) for each in examples):
            yield ["??", path, 1]
        elif isinstance(found, (list, tuple)):
            yield ["len", path]
            if found and is_number(found[0]):
                yield from (["at", path, -1], ["at", path, 0], ["prod", path], ["sum", path])
                yield ["largest", path]
        elif isinstance(found, Mapping):
            yield from (f"{path}.{key}" for key, item in found.items() if is_number(item))


def numeric(examples: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    """Candidates for numbers, short ones first."""
    atoms = list(_atoms(examples, paths))
    yield from atoms
    yield from _scaled(atoms, examples)
    yield from _turned(atoms, paths, examples)
    pairs = list(_pairs(atoms))
    yield from pairs
    yield from _scaled(pairs, examples)
    for atom in atoms:
        yield from (["**", atom, power] for power in (2, 3, 4))
        yield ["**", ["-", ["*", 2, atom], 1], 2]
    yield from _scaled([["*", each, each] for each in (*atoms, *pairs)], examples)
    for pair, atom in product(pairs, atoms[:6]):
        yield from (["//", pair, atom], ["*", pair, atom], ["+", pair, atom], ["-", pair, atom])
        yield from (["+", atom, pair], ["//", atom, pair], ["int", ["/", pair, atom]])
    for atom, exponent in permutations(atoms, 2):
        for less in (0, 1):
            yield ["int", ["*", atom, ["**", 2, ["-", exponent, less]]]]
            yield ["int", ["*", ["max", 1, ["**", 2, ["-", exponent, less]]], atom]]
    if len(pairs) < 200:
        for left, right in combinations(pairs, 2):
            yield from (["+", left, right], ["*", left, right], ["-", left, right])


def _turned(
    atoms: Sequence[Expression], paths: Sequence[str], examples: Sequence[Example]
) -> Iterator[Expression]:
    """Half of the part of a head that turns, as rotary embeddings have it."""
    parts = [f"{path}.partial_rotary_factor" for path in _dictionaries(paths, examples)]
    parts += [path for path in paths if path.endswith("partial_rotary_factor")]
    heads = [*atoms, *(["//", *pair] for pair in permutations(atoms, 2))]
    for part, head in product(parts, heads):
        turned = ["int", ["*", head, ["??", part, 1]]]
        yield from (["ceil", ["/", turned, divisor]] for divisor in (2, 4))
        yield turned
    for head in heads:
        yield from (["ceil", ["/", head, divisor]] for divisor in (2, 4))


def _dictionaries(paths: Sequence[str], examples: Sequence[Example]) -> Iterator[str]:
    """Paths of dictionaries, and of those in them."""
    for path in paths:
        found = value(path, examples[0].scope)
        if isinstance(found, Mapping):
            yield path
            yield from (f"{path}.{key}" for key, item in found.items() if isinstance(item, Mapping))


def _pairs(atoms: Sequence[Expression]) -> Iterator[Expression]:
    for left, right in combinations(atoms, 2):
        yield from ([operator, left, right] for operator in ("*", "+", "min", "max"))
        yield ["int", ["*", left, right]]
    for left, right in permutations(atoms, 2):
        yield from (["//", left, right], ["-", left, right], ["/", left, right])
        yield ["ceil", ["/", left, right]]
        yield ["int", ["/", left, right]]


def _scaled(atoms: Sequence[Expression], examples: Sequence[Example]) -> Iterator[Expression]:
    """Each with one constant, which the first example tells."""
    target = examples[0].value
    for atom in atoms:
        found = value(atom, examples[0].scope)
        if not is_number(found):
            continue
        yield from (["int", atom], ["ceil", ["log2", atom]])
        yield from (["+", atom, target - found], ["-", target + found, atom])
        yield from (["max", atom, target], ["min", atom, target])
        if found and target % found == 0:
            yield ["*", atom, target // found]
        if target and found % target == 0:
            yield from (["//", atom, found // target], ["ceil", ["/", atom, found // target]])
        if found and not (isinstance(found, int) and isinstance(target, int)):
            yield ["*", atom, target / found]
        for constant in _FEW_CONSTANTS:
            rest = value(["-", target, ["*", atom, constant]], {})
            yield ["+", ["*", atom, constant], rest]
            yield ["+", ["//", atom, constant], value(["-", target, found // constant], {})]
            yield ["//", atom, constant]
            yield ["ceil", ["/", atom, constant]]
            yield ["max", constant, atom]
        yield from (["int", ["*", atom, factor]] for factor in _FACTORS)


def _boolean(examples: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    conditions = list(_conditions(examples, paths))
    for each in conditions:
        yield ["not", each]
        yield ["not", ["not", each]]
    for left, right in combinations(conditions[:30], 2):
        for a, b in product((left, ["not", left]), (right, ["not", right])):
            yield from (["and", a, b], ["not", ["and", a, b]])


def _conditions(examples: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    """What tells examples apart: a path that is true, that is given, that equals a constant."""
    for path in paths:
        seen: list[Any] = []
        for each in examples:
            found = value(path, each.scope)
            if not any(same(found, other) for other in seen):
                seen.append(found)
        if len({bool(found) and found is not MISSING for found in seen}) > 1:
            yield path
        lists = [found for found in seen if isinstance(found, (list, tuple))]
        words = dict.fromkeys(each for found in lists for each in found if isinstance(each, str))
        yield from (["in", quoted(word), path] for word in words)
        if any(found in (None, MISSING) for found in seen):
            yield ["given", path]
        if any(isinstance(found, (str, bool)) for found in seen):
            yield from (["==", path, quoted(found)] for found in seen if isinstance(found, str))
        elif any(is_number(found) for found in seen):
            small = (0, 1, -1)
            yield from (["==", path, found] for found in small)
            yield ["<", path, 2]
    numbers = list(_atoms(examples, paths))[:8]
    for left, right in permutations(numbers, 2):
        yield ["<", left, right]
        yield ["==", ["%", left, right], 0]
    for left, right in combinations(numbers, 2):
        yield ["==", left, right]


def _split(examples: Sequence[Example], paths: Sequence[str], depth: int) -> Expression | None:
    """`["if", condition, one expression, another]`."""
    for condition in _conditions(examples, paths):
        if late():
            return None
        yes = [each for each in examples if holds(condition, each.scope)]
        no = [each for each in examples if not holds(condition, each.scope)]
        if not yes or not no:
            continue
        then = _direct(yes, paths)
        other = _direct(no, paths)
        if depth > 1 and then is None and other is not None:
            then = _split(yes, paths, depth - 1)
        elif depth > 1 and other is None and then is not None:
            other = _split(no, paths, depth - 1)
        if then is not None and other is not None:
            return ["if", condition, then, other]
    return None


def holds(condition: Expression, scope: Mapping[str, Any]) -> bool:
    """Whether a condition is true of a configuration."""
    found = value(condition, scope)
    return found is not MISSING and bool(found)
