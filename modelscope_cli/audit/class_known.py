"""A checkpoint's tensors against what is known of its class, without any library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from modelscope_cli.analysis.fold import templates
from modelscope_cli.analysis.memory.weights import contradictions, gaps, tied
from modelscope_cli.analysis.memory.weights.held import BEYOND, Dropped
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.audit.finding import WARNING, Flaw
from modelscope_cli.knowledge import buffers
from modelscope_cli.knowledge.trees import ANY_NUMBER


def flaws(prepared: Prepared) -> Iterator[Flaw]:
    """What the class does not load, what the configuration says is missing, and experts' gaps."""
    for each in prepared.dropped:
        if not is_harmless(each):
            yield Flaw(f"{each.name} (x{each.times:,}): {each.reason}", severity=WARNING)
    counts = index_counts(prepared, constants=False)
    found = contradictions.found(prepared.held, counts, prepared.config)
    yield from (Flaw(text) for text in found)
    yield from missing([*prepared.fresh, *gaps.found(prepared.held)], prepared)


def is_harmless(dropped: Dropped) -> bool:
    """Whether what nothing loads is a buffer that the class makes itself: older files have them."""
    return dropped.certain and dropped.reason != BEYOND


def missing(names: Sequence[str], prepared: Prepared) -> Iterator[Flaw]:
    """Tensors that the file lacks."""
    for first, *others in alike(names):
        more = f", and {len(others):,} like it" if others else ""
        yield Flaw(f"{first}{more}: {prepared.class_name} has it, the file does not", tensor=first)


def alike(names: Sequence[str]) -> Iterable[list[str]]:
    """Names that differ in their numbers alone are one finding."""
    by_template: dict[str, list[str]] = {}
    for name, template in zip(names, templates(names), strict=True):
        by_template.setdefault(template, []).append(name)
    return by_template.values()


def index_counts(prepared: Prepared, *, constants: bool = True) -> Mapping[str, int]:
    """How many entries the class builds under a module; `constants`: also those it always has."""
    model_type = prepared.config.get("model_type")
    return buffers.index_counts(
        model_type, prepared.class_name, prepared.config, constants=constants
    )


def is_complete(prepared: Prepared) -> bool:
    """Whether everything is there that the class has by default: then nothing can be missing.

    A class may have more or less by other configurations: only the class itself knows.
    """
    if prepared.model_class is None:
        return False
    left_out = _left_out(prepared)
    counts = index_counts(prepared)
    there: dict[str, int] = {}
    for each in prepared.held:
        if each.name not in prepared.fresh:
            there[each.template] = there.get(each.template, 0) + each.times
    return all(
        left_out(template) if template not in there else there[template] == _times(template, counts)
        for template in prepared.model_class.order()
    )


def _left_out(prepared: Prepared) -> Callable[[str], bool]:
    """Whether the configuration says that there is no such parameter, or no tensor of its own."""
    config = prepared.config
    biases = [value for key, value in config.items() if key.endswith("_bias")]
    no_biases = bool(biases) and not any(biases)
    no_cross = config.get("add_cross_attention") is False
    ties = prepared.model_class.ties if prepared.model_class is not None else ()
    targets = {tie.target for tie in tied.active(ties, config)}

    def is_left_out(template: str) -> bool:
        return (
            template in targets
            or (no_biases and template.endswith(".bias"))
            or (no_cross and ("crossattention" in template or "cross_attn" in template))
        )

    return is_left_out


def _times(template: str, counts: Mapping[str, int]) -> int | None:
    """How many parameters a template stands for; None where that is not known."""
    times = 1
    parts = template.split(".")
    for at, part in enumerate(parts):
        if part == ANY_NUMBER:
            number = counts.get(".".join(parts[:at]))
            if number is None:
                return None
            times *= number
        elif ANY_NUMBER in part:
            return None
    return times
