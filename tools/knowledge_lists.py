"""Lists of a configuration: as many items as there are layers, in a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

from modelscope_cli.knowledge.expressions import COUNT, INDEX, value
from tools.knowledge_fitting import (
    Example,
    Expression,
    first,
    fit,
    fits,
    holds,
    is_number,
    late,
    numeric,
    quoted,
    same,
)


def listed(examples: Sequence[Example], paths: Sequence[str]) -> Expression | None:
    """An expression for lists, however long each is."""
    lists = [path for path in paths if isinstance(value(path, examples[0].scope), (list, tuple))]
    for path in lists:
        if fits(["reversed", path], examples):
            return ["reversed", path]
    lengths = [Example(each.scope, len(each.value)) for each in examples]
    length = fit(lengths, paths, 1)
    if length is None:
        return None
    named = _numbered(examples, length)
    if named is not None:
        return named
    counted = _counted(examples, paths, length)
    if counted is not None:
        return counted
    chosen = _short(examples)
    for _ in range(_REFINEMENTS):
        points = list(_points(chosen))
        item = _item(points, paths) if points else None
        if item is None:
            return None
        found = _shortened(length, item)
        failing = [each for each in examples if not fits(found, [each])]
        if not failing:
            return found
        chosen += sorted(failing, key=lambda each: len(each.value))[:8]
    return None


def _numbered(examples: Sequence[Example], length: Expression) -> Expression | None:
    """`["stem", "stage1", "stage2"]`."""
    seen = examples[0].value
    if not seen or not isinstance(seen[-1], str) or not seen[-1].endswith(str(len(seen) - 1)):
        return None
    text = seen[-1].removesuffix(str(len(seen) - 1))
    found = [
        "cat",
        ["list", quoted(seen[0])],
        ["each", ["-", length, 1], ["name", quoted(text), ["+", INDEX, 1]]],
    ]
    return found if fits(found, examples) else None


def _counted(
    examples: Sequence[Example], paths: Sequence[str], length: Expression
) -> Expression | None:
    """Numbers with one distance: where they start, and the distance."""
    long = [each for each in examples if len(each.value) > 1]
    if not long or not all(is_number(item) for each in long for item in each.value[:2]):
        return None
    distances = [Example(each.scope, each.value[1] - each.value[0]) for each in long]
    distance = fit(distances, paths, 0)
    start = fit([Example(each.scope, each.value[0]) for each in long], paths, 0)
    if distance is None or start is None:
        return None
    found = ["each", length, ["+", start, ["*", INDEX, distance]]]
    return found if fits(found, examples) else None


_MOST_ITEMS = 500  # looked at; examples that prove an answer wrong come in too
_REFINEMENTS = 6


def _short(examples: Sequence[Example]) -> list[Example]:
    """Those with the shortest lists."""
    chosen: list[Example] = []
    items = 0
    for each in sorted(examples, key=lambda each: len(each.value)):
        items += len(each.value)
        if chosen and items > _MOST_ITEMS:
            break
        chosen.append(each)
    return chosen


def _points(examples: Iterable[Example]) -> Iterator[Example]:
    """The items of lists as examples of their own, that know their position."""
    for each in examples:
        for index, item in enumerate(each.value):
            yield Example({**each.scope, INDEX: index, COUNT: len(each.value)}, item)


def _shortened(length: Expression, item: Expression) -> Expression:
    constant = not isinstance(item, (str, list)) or (isinstance(item, list) and item[0] == "=")
    return ["rep", item, length] if constant else ["each", length, item]


def _item(points: Sequence[Example], paths: Sequence[str]) -> Expression | None:
    """The item at position `#`: a constant, one of two, or a value of the configuration."""
    kinds: list[Any] = []
    for each in points:
        if not any(same(each.value, kind) for kind in kinds):
            kinds.append(each.value)
    if len(kinds) == 1:
        return quoted(kinds[0])
    if len(kinds) == 2:
        return _of_two(points, paths, kinds)
    if len(kinds) == 3 and not is_number(kinds[0]):
        return _of_three(points, paths, kinds)
    found = first(_indexed(points, paths), points[:400])
    if found is not None and fits(found, points):
        return found
    return _of_one_and_path(points, paths, kinds)


def _of_one_and_path(
    points: Sequence[Example], paths: Sequence[str], kinds: list[Any]
) -> Expression | None:
    """A constant at some positions, a value of the configuration at others."""
    for one in kinds:
        rest = [each for each in points if not same(each.value, one)]
        other = next((path for path in paths if fits(path, rest)), None)
        if other is not None:
            chosen = [each._replace(value=same(each.value, one)) for each in points]
            condition = _position(chosen, paths)
            if condition is not None:
                return ["if", condition, quoted(one), other]
    return None


def _indexed(points: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    yield INDEX
    yield from paths
    yield from (["at", path, INDEX] for path in paths)
    if is_number(points[0].value):
        yield from numeric(points, [*paths, INDEX])


def _of_two(points: Sequence[Example], paths: Sequence[str], kinds: list[Any]) -> Expression | None:
    for one, other in (kinds, kinds[::-1]):
        chosen = [each._replace(value=same(each.value, one)) for each in points]
        condition = _position(chosen, paths)
        if condition is not None:
            return ["if", condition, quoted(one), quoted(other)]
    return None


def _of_three(
    points: Sequence[Example], paths: Sequence[str], kinds: list[Any]
) -> Expression | None:
    for one, *others in permutations(kinds):
        chosen = [each._replace(value=same(each.value, one)) for each in points]
        condition = _position(chosen, paths)
        if condition is None:
            continue
        rest = [each for each, point in zip(points, chosen, strict=True) if not point.value]
        inner = _of_two(rest, paths, others)
        if inner is not None:
            return ["if", condition, quoted(one), inner]
    return None


def _position(points: Sequence[Example], paths: Sequence[str]) -> Expression | None:
    """A condition on the position that holds for exactly the points that are true."""
    conditions = list(_position_conditions(points, paths))
    if late():
        return None
    outcomes = [[holds(each, point.scope) for point in points] for each in conditions]
    wanted = [point.value for point in points]
    for condition, outcome in zip(conditions, outcomes, strict=True):
        if outcome == wanted:
            return condition
    known = list(zip(conditions, outcomes, strict=True))
    covering = [(c, o) for c, o in known if all(b for a, b in zip(wanted, o, strict=True) if a)]
    inside = [(c, o) for c, o in known if all(a for a, b in zip(wanted, o, strict=True) if b)]
    for (a, left), (b, right) in combinations(covering, 2):
        if [x and y for x, y in zip(left, right, strict=True)] == wanted:
            return ["and", a, b]
    for (a, left), (b, right) in combinations([each for each in inside if any(each[1])], 2):
        if [x or y for x, y in zip(left, right, strict=True)] == wanted:
            return ["or", a, b]
    return None


def _position_conditions(points: Sequence[Example], paths: Sequence[str]) -> Iterator[Expression]:
    """Positions as models choose them: every n-th, the first k, those of a list, the last."""
    scope = points[0].scope
    numbers = [path for path in paths if is_number(value(path, scope))]
    lists = [
        path
        for path in paths
        if any(isinstance(value(path, each.scope), (list, tuple)) for each in points)
    ]
    steps: list[Any] = [*numbers, *range(2, 13)]
    shifts: list[Any] = [*numbers, 0, 1, 2, 3]
    for bound in [*numbers, 1, 2, 3, 4]:
        yield ["<", INDEX, bound]
        yield ["not", ["<", INDEX, bound]]
        yield ["==", INDEX, bound]
        yield ["<", INDEX, ["-", COUNT, bound]]
        yield ["not", ["<", INDEX, ["-", COUNT, bound]]]
    for path in lists:
        yield from (["in", INDEX, path], ["not", ["in", INDEX, path]], ["at", path, INDEX])
    for path in paths:
        if path not in numbers:
            yield from (["not", ["not", path]], ["not", path])
            yield from (["given", path], ["not", ["given", path]])
    for step in steps:
        yield ["==", ["%", ["+", INDEX, 1], step], 0]
        yield ["==", ["%", ["-", ["-", COUNT, 1], INDEX], step], 0]
        for shift in shifts:
            yield ["==", ["%", INDEX, step], shift]
            yield ["==", ["%", ["-", INDEX, shift], step], 0]
            if shift in numbers:
                yield ["==", ["%", ["max", ["-", INDEX, ["-", shift, 1]], 0], step], 0]
