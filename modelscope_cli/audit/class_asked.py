"""A checkpoint's tensors against its class, as transformers' own loader would take them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import prod
from typing import TYPE_CHECKING

from modelscope_cli.analysis.memory.weights import gaps
from modelscope_cli.analysis.memory.weights.held import (
    BEYOND,
    NO_SUCH,
    ModelClass,
    Stored,
    is_beyond,
    stored,
)
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.analysis.roles import BUFFER
from modelscope_cli.audit import class_known
from modelscope_cli.audit.finding import WARNING, Flaw
from modelscope_cli.audit.subject import Subject
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes.base import Logical

if TYPE_CHECKING:
    from modelscope_cli.live.expected import Loaded

_MOST_TENSORS = 200_000  # given to the library


def answer(prepared: Prepared, subject: Subject) -> Loaded | Unknown:
    """What the library says of the file's names and shapes; packed weights as what they are of."""
    from modelscope_cli.live import expected

    if len(subject.tensors) > _MOST_TENSORS:
        return Unknown("more tensors than a class is asked about")
    shapes: dict[str, Shape] = {}
    for row in stored(subject.params.rows, subject.tensors):
        if not _is_spare(row, prepared.model_class) and not _is_opaque(row):
            shapes |= dict.fromkeys(row.names(), row.shape)
    return expected.loaded(subject.config, prepared.class_name, shapes)


def get_ready() -> None:
    """Import the library."""
    from modelscope_cli.live import expected

    expected.import_libraries()


def _is_spare(row: Stored, model_class: ModelClass | None) -> bool:
    """Whether it is a buffer that the class makes itself: older files have them."""
    if row.fact.role != BUFFER or model_class is None:
        return False
    _, targets, _ = model_class.rename(row.first())
    return not any(map(model_class.parameter, targets))


def _is_opaque(row: Stored) -> bool:
    """Whether it is packed in a way that nobody here sees through."""
    return isinstance(row.fact.logical, Unknown)


def flaws(loaded: Loaded, prepared: Prepared) -> Iterator[Flaw]:
    """What is missing, loaded by nobody, or refused; of merged experts those that lack a part."""
    wrong = {*loaded.missing, *(each.name for each in loaded.mismatched), *dict(loaded.failed)}
    lacking = {
        name: targets
        for name in gaps.found(prepared.held)
        if (targets := _targets(name, prepared)) & wrong
    }
    told = {target for targets in lacking.values() for target in targets} | _names(
        prepared, _is_opaque
    )
    yield from class_known.missing(
        [*lacking, *(n for n in loaded.missing if n not in told)], prepared
    )
    yield from _unexpected(loaded, prepared)
    yield from _refused(loaded, prepared, told)


def _targets(name: str, prepared: Prepared) -> set[str]:
    """What a tensor of the file goes into."""
    return set() if prepared.model_class is None else set(prepared.model_class.rename(name).targets)


def _names(prepared: Prepared, test: Callable[[Stored], bool]) -> set[str]:
    """Parameters of which some tensor passes a test."""
    return {name for each in prepared.held if any(map(test, each.stored)) for name in each.names()}


def _unexpected(loaded: Loaded, prepared: Prepared) -> Iterator[Flaw]:
    counts = class_known.index_counts(prepared)
    for first, *others in class_known.alike(loaded.unexpected):
        more = f", and {len(others):,} like it" if others else ""
        reason = BEYOND if is_beyond(first, counts) else NO_SUCH
        yield Flaw(f"{first}{more}: {reason}", severity=WARNING)


def _refused(loaded: Loaded, prepared: Prepared, told: Collection[str]) -> Iterator[Flaw]:
    """Shapes that are not the class's; a packed weight may be stored the other way round."""
    packed = _names(prepared, lambda row: isinstance(row.fact.logical, Logical))
    wrong = {
        each.name: each
        for each in loaded.mismatched
        if each.name not in told
        and not (each.name in packed and prod(each.found) == prod(each.wanted))
    }
    for first, *others in class_known.alike(tuple(wrong)):
        more = f", and {len(others):,} like it" if others else ""
        found, wanted = list(wrong[first].found), list(wrong[first].wanted)
        yield Flaw(
            f"{first}{more}: is {found}, {loaded.class_name} has {wanted}: transformers refuses it",
            tensor=first,
        )
    for name, error in loaded.failed:
        if name not in told:
            yield Flaw(
                f"{name}: cannot be put together of what the file has ({error})", tensor=name
            )
