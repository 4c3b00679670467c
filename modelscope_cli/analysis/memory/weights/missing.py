"""Parameters that a class has and the file lacks: transformers makes them anew, so they count.

A class's tree says what it may have by some configuration, not what it has by this one. So only
layers are told by their neighbours: where all others are alike, one with less has lost something.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.weights.contradictions import are_layers
from modelscope_cli.analysis.memory.weights.held import BEYOND, Dropped, Held, number_after
from modelscope_cli.units import counted

_MOST_LAYERS = 100_000
_DEEPEST = 4  # configurations within configurations
# What makes layers of one stack differ: such keys' parts, beside any list with an entry a layer.
_PATTERNS = (
    "_period", "_offset", "_step", "_every", "_freq", "_interval", "_replace", "_shared_layers",
    "_pattern", "layer_types", "_types", "cross_attention_layers", "_indices", "mlp_only_layers",
    "per_layer_config", "_ids", "moe_layers", "num_dense_layers", "_layer_idx", "_dense_layers",
)  # fmt: skip


# Kinds of which no layer is the only one to have, or to lack, one by design: T5's first layer has
# an embedding of positions, Zaya's first router no scale of the one before it.
_IN_EVERY_LAYER = ("linear", "conv1d", "sublinear", "norm")


class Missing(NamedTuple):
    """`held` are parameters as large as their neighbours', `warning` says so."""

    held: list[Held]
    warning: str | None


class _Stack(NamedTuple):
    """The layers under a module's path: of each, what its parameters are like."""

    path: str
    place: int  # which of a name's numbers is the layer's
    layers: Mapping[int, Mapping[str, Held]]


def made_anew(
    held: Sequence[Held], counts: Mapping[str, int], config: Mapping[str, Any]
) -> Missing:
    """What is missing of layers; `counts` is how many entries the class builds under a module."""
    found: list[Held] = []
    for path, count in counts.items():
        if "*" not in path and 0 < count <= _MOST_LAYERS and are_layers(held, path):
            found += _of_stack(_stack(path, held), count, config)
    return Missing(found, _warning(found))


def unused(
    dropped: Sequence[Dropped], counts: Mapping[str, int], config: Mapping[str, Any]
) -> str | None:
    """Layers that the file has and the configuration has not.

    Files of DeepSeek and others end with layers that predict more tokens: no class loads those,
    and the configuration says so.
    """
    beyond = sum(each.times for each in dropped if each.reason == BEYOND)
    if not beyond or any(value and _predicts(key) for key, value in config.items()):
        return None
    lists = ", ".join(f"{count:,} of {path}" for path, count in counts.items() if "*" not in path)
    return (
        f"{counted(beyond, 'tensor')} of the file are of layers that the configuration has not "
        f"({lists}): transformers leaves them out"
    )


def _predicts(key: str) -> bool:
    return "nextn" in key or "mtp" in key


def _warning(found: Sequence[Held]) -> str | None:
    if not found:
        return None
    number = sum(each.times for each in found)
    more = f" and {number - 1:,} more" if number > 1 else ""
    what = "a tensor" if number == 1 else counted(number, "tensor")
    verb, them = ("is", "it") if number == 1 else ("are", "them")
    return (
        f"{what} of its class {verb} not in the file ({next(found[0].names())}{more}): "
        f"transformers makes {them} anew, at random; counted as large as in other layers"
    )


def _stack(path: str, held: Sequence[Held]) -> _Stack:
    place = sum(part.isdecimal() for part in path.split("."))
    layers: dict[int, dict[str, Held]] = defaultdict(dict)
    for each in held:
        if number_after(each.name, path) < 0:
            continue
        for number in _numbers(each, path, place):
            layers[number][each.template] = each
    return _Stack(path, place, layers)


def _numbers(held: Held, path: str, place: int) -> Sequence[int]:
    if place in held.places:
        return held.axes[held.places.index(place)]
    return (number_after(held.name, path),)


def _of_stack(stack: _Stack, count: int, config: Mapping[str, Any]) -> Iterator[Held]:
    """What layers lack that their neighbours have, if those are alike."""
    if not stack.layers:
        return
    usual = _usual(stack)
    uneven = any(_shape(layer) != usual for layer in stack.layers.values())
    if uneven and _may_differ(config, count):
        return
    like = next(layer for layer in stack.layers.values() if _shape(layer) == usual)
    if any(not _shape(layer) <= usual for layer in stack.layers.values()):
        return  # some have what the usual one does not: no two of a kind
    for template, one in like.items():
        lacking = [n for n in range(count) if template not in stack.layers.get(n, {})]
        if lacking and (not uneven or one.kind in _IN_EVERY_LAYER):
            yield _copied(one, stack.place, lacking)


_Shape = frozenset[tuple[str, str, int]]


def _shape(layer: Mapping[str, Held]) -> _Shape:
    """Names, kinds and sizes of a layer's parameters."""
    return frozenset(
        (template, each.kind, each.elements // each.times) for template, each in layer.items()
    )


def _usual(stack: _Stack) -> _Shape:
    """What most layers are like; of as many, those that have more."""
    shapes = Counter(_shape(layer) for layer in stack.layers.values())
    return max(shapes, key=lambda shape: (shapes[shape], len(shape)))


def _may_differ(config: Mapping[str, Any], count: int, depth: int = 0) -> bool:
    """Whether a configuration has anything that tells one layer from another."""
    return any(_tells_layers_apart(key, value, count, depth) for key, value in config.items())


def _tells_layers_apart(key: str, value: Any, count: int, depth: int) -> bool:
    if isinstance(value, Mapping):
        return depth < _DEEPEST and _may_differ(value, count, depth + 1)
    if isinstance(value, list) and len(value) == count and len(set(map(repr, value))) == 1:
        return False  # the same for each
    listed = isinstance(value, list) and len(value) == count
    return listed or (bool(value) and any(part in key for part in _PATTERNS))


def _copied(one: Held, place: int, layers: Sequence[int]) -> Held:
    """The same parameter in other layers."""
    at = one.places.index(place) if place in one.places else None
    own = len(one.axes[at]) if at is not None else 1
    axes, places = list(one.axes), list(one.places)
    if at is None:
        at = sum(other < place for other in places)
        axes.insert(at, ())
        places.insert(at, place)
    axes[at] = tuple(layers)
    share = one.elements // own, one.outputs // own
    made = one._replace(
        axes=tuple(axes),
        places=tuple(places),
        elements=share[0] * len(layers),
        outputs=share[1] * len(layers),
    )
    return made._replace(name=next(made.names()))
