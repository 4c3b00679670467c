"""What stored shapes and a config say of a packed weight, checked against each other.

Nothing here believes a config: its values are used only where the shapes leave a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeGuard

from modelscope_cli.facts import Shape
from modelscope_cli.schemes.base import Member, ceil_div

# What GPTQModel 7.7 takes; every known library's sizes are among them.
_USUAL_GROUPS = (16, 32, 64, 128, 256, 512, 1024)
_USUAL_BLOCK = (128, 128)  # DeepSeek-V3's, and transformers' default
_MAX_NUMBER = 2**31  # of bits or of weights in a group: more is no setting but mischief
_MAX_CONFIG_GROUPS = 64


class Contradiction(Exception):
    """The tensors of a weight do not fit each other; the message says which, and why."""


def text(name: str, member: Member) -> str:
    """`.qweight I32 [1792, 4096]`, for messages."""
    return f"{name} {member.dtype} {list(member.shape)}"


def matrix(members: Mapping[str, Member], name: str) -> Member:
    """The tensor of that name, which must be there and have two dimensions."""
    member = members.get(name)
    if member is None:
        there = ", ".join(sorted(members)[:8]) or "nothing"
        raise Contradiction(f"no {name} is there, only {there}")
    if len(member.shape) != 2:
        raise Contradiction(f"{text(name, member)} is no matrix")
    return member


def numbers(declared: Mapping[str, Any], *keys: str) -> list[int]:
    """The sensible whole numbers that a config has under those keys."""
    values = (declared.get(key) for key in keys)
    return [value for value in values if is_size(value)]


def is_size(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number that can be a size."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_NUMBER


def method(declared: Mapping[str, Any]) -> str:
    """The config's `quant_method` in lower case; empty where it names none."""
    value = declared.get("quant_method")
    return value.lower() if isinstance(value, str) else ""


def weights_of_groups(declared: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """compressed-tensors' `config_groups.*.weights`: settings for one set of modules each."""
    groups = declared.get("config_groups")
    if not isinstance(groups, Mapping):
        return
    for group in islice(groups.values(), _MAX_CONFIG_GROUPS):
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            yield weights


def declared_blocks(declared: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Block sizes (rows, columns) that a config names: transformers' and compressed-tensors'."""
    found = [declared.get("weight_block_size")]
    found += [weights.get("block_structure") for weights in weights_of_groups(declared)]
    return [
        (pair[0], pair[1])
        for pair in found
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(is_size, pair))
    ]


def declared_groups(declared: Mapping[str, Any]) -> list[int]:
    """Group sizes that a config names, for the whole model or for sets of modules."""
    found = numbers(declared, "group_size")
    for weights in weights_of_groups(declared):
        found += numbers(weights, "group_size")
    return found


def group_size(length: int, groups: int, declared: Iterable[int] = ()) -> int | None:
    """How many of `length` weights share one of `groups` scales; None: they all do.

    A size fits where it divides the length, or leaves a shorter last group. Of several that fit,
    the declared one is meant, else the usual one, else the one that divides evenly.
    Raises Contradiction where no size fits, or it cannot be told.
    """
    declared = tuple(declared)
    if _is_whole(length, groups):
        return _declared_whole(length, declared)
    fitting = (size for size in (*declared, *_USUAL_GROUPS) if ceil_div(length, size) == groups)
    size = next(fitting, None)
    return even_group(length, groups) if size is None else size


def even_group(length: int, groups: int, declared: Iterable[int] = ()) -> int | None:
    """The same where the last group cannot be shorter. Raises Contradiction."""
    if _is_whole(length, groups):
        return _declared_whole(length, declared)
    if length % groups:
        raise Contradiction(f"{groups:,} scales for rows of {length:,} weights: no group size fits")
    return length // groups


def _declared_whole(length: int, declared: Iterable[int]) -> int | None:
    """A row that is just one group of the declared size has that, another is a whole row."""
    return length if length in declared else None


def _is_whole(length: int, groups: int) -> bool:
    if groups == 1 or length == groups == 0:
        return True
    if not 0 < groups <= length:
        raise Contradiction(f"{groups:,} scales for rows of {length:,} weights")
    return False


def scale_group(shape: Shape, scale: Shape, declared: Mapping[str, Any]) -> int | None:
    """How many weights along a row share a scale, of a weight kept as it is beside its scales.

    `shape` [..., out, in]; scales are one number, one for each expert, row or column, for each
    group of a row, or for each block. None: a whole row (or tensor). Raises Contradiction.
    """
    one_group = _one_group(shape, scale, declared)
    if one_group is not None or not scale or scale == (1,) or _covers_rows(shape, scale):
        return one_group
    lead, (rows, columns) = shape[:-2], shape[-2:]
    if len(scale) != len(shape) or scale[: len(lead)] != lead:
        if set(scale) == {1}:
            return None
        raise Contradiction(f"scales {list(scale)} do not fit a weight {list(shape)}")
    down, across = scale[-2:]
    for high, wide in (*declared_blocks(declared), _USUAL_BLOCK):
        fits_down = ceil_div(rows, high) in ((down, 1) if _gate_and_up(lead, down) else (down,))
        if fits_down and ceil_div(columns, wide) == across:
            return wide
    if down == across == 1:
        return None
    if down == rows:
        return even_group(columns, across)
    group_size(rows, down)
    return group_size(columns, across)


def _one_group(shape: Shape, scale: Shape, declared: Mapping[str, Any]) -> int | None:
    """The declared size, where a single block covers the matrix or a single group each row."""
    lead, (rows, columns) = shape[:-2], shape[-2:]
    if scale == (*lead, 1, 1):
        for high, wide in declared_blocks(declared):
            if 0 < rows <= high and 0 < columns <= wide:
                return wide
    if scale == (*lead, rows, 1) and columns in declared_groups(declared):
        return columns
    return None


def _covers_rows(shape: Shape, scale: Shape) -> bool:
    """Whether each scale is for a whole row, column or expert.

    Scales for columns, and for rows of the transpose, are how transformers keeps Llama 4's
    experts under FBGEMM: weight [E, in, out], scales [E, 1, out] or [E, out, 1].
    """
    lead, (rows, columns) = shape[:-2], shape[-2:]
    covering = [(*lead, rows), (*lead, rows, 1)]
    if lead:
        covering += [lead, (*lead, 1), (*lead, 1, 1), (*lead, 2, 1)]
        covering += [(*lead, 1, columns), (*lead, columns, 1)]
    return scale in covering


def _gate_and_up(lead: Shape, down: int) -> bool:
    """FP8Experts of transformers keeps a row of scales each for gate and up, however few rows."""
    return bool(lead) and down == 2
