"""Tied parameters by what the class itself ties: held once, whichever of them the file has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.weights.held import Held
from modelscope_cli.knowledge.modules import Tie

_DEEPEST = 8  # parts of a config path


class Untied(NamedTuple):
    """Parameters without those that are another one again.

    `pairs` are (kept, copy) names whose two tensors are both in the file: one if their values
    are equal. `fresh` are heads that the file lacks and no tie fills: made anew when loaded.
    """

    held: list[Held]
    pairs: list[tuple[Held, Held]]
    fresh: list[Held]


def active(ties: Iterable[Tie], config: Mapping[str, Any]) -> list[Tie]:
    """Those that hold under an effective configuration."""
    return [tie for tie in ties if not tie.when or _value(config, tie.when) is True]


def once(held: Sequence[Held], ties: Sequence[Tie], config: Mapping[str, Any]) -> Untied:
    """Each tied parameter once; a head that nothing fills is added."""
    ties_now = active(ties, config)
    by_template: dict[str, Held] = {each.template: each for each in held}
    pairs, copies = [], set()
    for tie in ties_now:
        source, target = by_template.get(tie.source), by_template.get(tie.target)
        if source is not None and target is not None and tie.target not in copies:
            pairs.append((source, target))
            copies.add(tie.target)
    fresh = [
        by_template[tie.source]._replace(name=tie.target, template=tie.target, axes=(), places=())
        for tie in ties
        if tie not in ties_now and _is_missing(tie, by_template)
    ]
    left = [each for each in held if each.template not in copies]
    return Untied([*left, *fresh], pairs, fresh)


def _is_missing(tie: Tie, by_template: Mapping[str, Held]) -> bool:
    """A single head that the class has and the file lacks, though its embedding is there."""
    source = by_template.get(tie.source)
    if source is None or tie.target in by_template or "*" in tie.target + tie.source:
        return False
    return source.times == 1 and source.is_matrix


def _value(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for part in path.split(".")[:_DEEPEST]:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
