"""A tiny arithmetic over a configuration: `["//", "hidden_size", "num_attention_heads"]`.

The expressions are package data; the values they meet come from untrusted files. Nothing here
raises, grows a number without bound or builds a long list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INDEX = "#"  # the position inside an `each`
COUNT = "#n"  # and how many there are
LONGEST = 10_000  # items of a list that is made; no model has as many layers
_LARGEST = 2**63
_DEEPEST = 64


class Missing:
    """What cannot be computed: a key that is not there, or a value that is no number."""


MISSING = Missing()


def evaluate(expression: Any, config: Mapping[str, Any]) -> int | float | None:
    """The number an expression gives; None where a key is missing or holds no number.

    A string is a dotted path into the configuration, a number itself, a list an operator and
    its operands.
    """
    found = value(expression, config)
    return int(found) if isinstance(found, bool) else found if _is_number(found) else None


def value(
    expression: Any,
    config: Mapping[str, Any],
    place: tuple[int, int] | None = None,
    depth: int = 0,
) -> Any:
    """Whatever an expression gives: a number, a string, a list; MISSING where it gives nothing."""
    if isinstance(expression, str):
        if place is not None and expression in (INDEX, COUNT):
            return place[expression == COUNT]
        return look_up(config, expression)
    if not isinstance(expression, (list, tuple)):
        return expression
    if depth > _DEEPEST or not expression:
        return MISSING
    operator, *operands = expression
    form = _FORMS.get(operator)
    if form is not None:
        return form(operands, config, place, depth + 1)
    function = _FUNCTIONS.get(operator)
    if function is None:
        return MISSING
    values = [value(operand, config, place, depth + 1) for operand in operands]
    try:
        found = function(*values)
    except (TypeError, ValueError, ArithmeticError, IndexError, AttributeError):
        return MISSING
    return _bounded(found)


def look_up(config: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; MISSING where nothing is there."""
    found: Any = config
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def _is_number(found: Any) -> bool:
    return isinstance(found, (int, float)) and _bounded(found) is not MISSING


def _bounded(found: Any) -> Any:
    if isinstance(found, int):
        return found if -_LARGEST <= found <= _LARGEST else MISSING
    if isinstance(found, float):
        return found if math.isfinite(found) else MISSING
    return found


# Forms decide themselves which operands they evaluate.
_Place = tuple[int, int] | None
_Form = Callable[[Sequence[Any], Mapping[str, Any], _Place, int], Any]


def _quote(operands: Sequence[Any], *_: Any) -> Any:
    return operands[0]


def _condition(operands: Sequence[Any], *scope: Any) -> Any:
    """`["if", condition, then, else]`, true as Python has it."""
    found = value(operands[0], *scope)
    return value(operands[1 if _truth(found) else 2], *scope)


def _first_given(operands: Sequence[Any], *scope: Any) -> Any:
    """`["??", a, b]`: the first that is there and not null."""
    found: Any = MISSING
    for operand in operands:
        found = value(operand, *scope)
        if found is not MISSING and found is not None:
            break
    return found


def _first_true(operands: Sequence[Any], *scope: Any) -> Any:
    found: Any = MISSING
    for operand in operands:
        found = value(operand, *scope)
        if _truth(found):
            break
    return found


def _all_true(operands: Sequence[Any], *scope: Any) -> Any:
    return all(_truth(value(operand, *scope)) for operand in operands)


def _each(operands: Sequence[Any], config: Mapping[str, Any], _: Any, depth: int) -> Any:
    """`["each", count, item]`: a list, the item computed at every position `#`."""
    count = value(operands[0], config, None, depth)
    if not isinstance(count, int) or not 0 <= count <= LONGEST:
        return MISSING
    items = [value(operands[1], config, (index, count), depth) for index in range(count)]
    return MISSING if MISSING in items else items


def _given(operands: Sequence[Any], *scope: Any) -> Any:
    return value(operands[0], *scope) not in (MISSING, None)


def _unchanged(operands: Sequence[Any], *scope: Any) -> Any:
    """`["same", {path: value…}, then]`: known only for these very values, else MISSING."""
    for path, usual in operands[0].items():
        found = value(path, *scope)
        if (None if found is MISSING else found) != usual:
            return MISSING
    return value(operands[1], *scope)


def _truth(found: Any) -> bool:
    return found is not MISSING and bool(found)


_FORMS: dict[Any, _Form] = {
    "=": _quote,
    "if": _condition,
    "??": _first_given,
    "or": _first_true,
    "and": _all_true,
    "each": _each,
    "given": _given,
    "same": _unchanged,
}


def _number(found: Any) -> Any:
    """A number of bounded size, or TypeError."""
    if not isinstance(found, (int, float)) or _bounded(found) is MISSING:
        raise TypeError
    return found


def _list(found: Any) -> Any:
    if not isinstance(found, (list, tuple)) or len(found) > LONGEST:
        raise TypeError
    return found


def _power(base: Any, exponent: Any) -> Any:
    if not 0 <= _number(exponent) <= 63 or abs(_number(base)) > 2**32:
        raise ValueError
    return base**exponent


def _product(items: Any) -> Any:
    total = 1
    for item in _list(items):
        total = _number(total * _number(item))
    return total


def _equal(a: Any, b: Any) -> Any:
    return a == b and isinstance(a, bool) is isinstance(b, bool)


def _repeated(item: Any, count: Any) -> Any:
    if not isinstance(count, int) or not 0 <= count <= LONGEST:
        raise TypeError
    return [item] * count


def _joined(*lists: Any) -> Any:
    joined = [item for each in lists for item in _list(each)]
    return _list(joined)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    "+": lambda a, b: _number(a) + _number(b),
    "-": lambda a, b: _number(a) - _number(b),
    "*": lambda a, b: _number(a) * _number(b),
    "/": lambda a, b: _number(a) / _number(b),
    "//": lambda a, b: _number(a) // _number(b),
    "%": lambda a, b: _number(a) % _number(b),
    "**": _power,
    "min": lambda a, b: min(_number(a), _number(b)),
    "max": lambda a, b: max(_number(a), _number(b)),
    "int": lambda a: int(_number(a)),
    "ceil": lambda a: math.ceil(_number(a)),
    "log2": lambda a: math.log2(_number(a)),
    "name": lambda text, number: str.__add__(text, str(_number(number))),
    "<": lambda a, b: _number(a) < _number(b),
    "==": _equal,
    "not": lambda a: not _truth(a),
    "in": lambda a, items: a in _list(items),
    "len": lambda items: len(_list(items)),
    "sum": lambda items: sum(map(_number, _list(items))),
    "prod": _product,
    "largest": lambda items: max(map(_number, _list(items))),
    "at": lambda items, index: _list(items)[index],
    "rep": _repeated,
    "cat": _joined,
    "list": lambda *items: list(items),
    "ending": lambda items, last: [*_list(items)[:-1], last] if items else items,
    "reversed": lambda items: list(_list(items))[::-1],
}
