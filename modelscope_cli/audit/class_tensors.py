"""A checkpoint's tensors against those of the class that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from modelscope_cli import footprint
from modelscope_cli.analysis.fold import templates
from modelscope_cli.analysis.memory.weights import contradictions, tied
from modelscope_cli.analysis.memory.weights.held import Dropped
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.audit.finding import WARNING, Flaw, Skip
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MissingExtra
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge import buffers
from modelscope_cli.knowledge.trees import ANY_NUMBER

_MOST_PARAMETERS = 200_000  # names of which missing ones are looked for


def flaws(subject: Subject) -> Iterator[Flaw]:
    """What the class does not load, and what it needs and the file lacks.

    Raises Skip where the class is not known, MissingExtra where it must be asked and is not there.
    """
    prepared = _prepared(subject)
    counts = buffers.index_counts(
        prepared.config.get("model_type"), prepared.class_name, prepared.config
    )
    for each in prepared.dropped:
        if not _is_harmless(each):
            yield Flaw(f"{each.name} (x{each.times:,}): {each.reason}", severity=WARNING)
    found = contradictions.found(prepared.held, counts, prepared.config)
    yield from (Flaw(text) for text in found)
    if not _is_complete(prepared, counts):
        yield from _missing(prepared, subject)


def _is_harmless(dropped: Dropped) -> bool:
    """Whether what nothing loads is a buffer that the class makes itself: older files have them."""
    return dropped.certain and not dropped.reason.startswith("beyond")


def _prepared(subject: Subject) -> Prepared:
    if subject.facts.ref.format not in ("safetensors", "torch"):
        raise Skip(f"a {subject.facts.ref.format} file is of no class of transformers")
    names = subject.by_path if subject.ref.path else {}
    if "adapter_config.json" in names or subject.facts.components:
        raise Skip("an adapter or pipeline is of no single class")
    if subject.facts.alternatives:
        raise Skip("several weight sets hold the same names")
    if not isinstance(subject.config.get("model_type"), str):
        raise Skip("its configuration has no model_type: no class is known")
    subject.tensors  # noqa: B018 - skips where there are none
    (prepared,) = footprint.model_of(subject.facts, subject.params).components
    if prepared.model_class is None:
        raise Skip(f"no class of the type {subject.config['model_type']} is known here")
    if prepared.model_class.unknown_parts:
        raise Skip("a model within it is of a type that is not known here")
    return prepared


def _is_complete(prepared: Prepared, counts: Mapping[str, int]) -> bool:
    """Whether everything is there that the class has by default: then nothing can be missing.

    A class may have more or less by other configurations: only the class itself knows.
    """
    if prepared.model_class is None:
        return False
    left_out = _left_out(prepared)
    there: dict[str, int] = {}
    for each in prepared.held:
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


def _missing(prepared: Prepared, subject: Subject) -> Iterator[Flaw]:
    if sum(each.times for each in prepared.held) > _MOST_PARAMETERS:
        raise Skip("more parameters than missing ones are looked for among")
    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingExtra("missing tensors are told by building the class", "live")
    from modelscope_cli.live import expected

    there = {name for each in prepared.held for name in each.names()}
    gone = expected.missing(subject.config, prepared.class_name, there)
    if isinstance(gone, Unknown):
        raise Skip(gone.reason)
    for template, names in _by_template(gone).items():
        more = f", and {len(names) - 1:,} like it" if len(names) > 1 else ""
        text = f"{names[0]}{more}: {prepared.class_name} has it, the file does not"
        yield Flaw(text, tensor=names[0]) if template else Flaw(text)


def _by_template(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, template in zip(names, templates(names), strict=True):
        found.setdefault(template, []).append(name)
    return found
