"""A checkpoint's tensors against those of the class that its configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from modelscope_cli import footprint
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.audit import class_asked, class_known
from modelscope_cli.audit.finding import Flaw, Skip
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MissingExtra
from modelscope_cli.facts import Unknown


def flaws(subject: Subject) -> Iterator[Flaw]:
    """What the class does not load, what it needs and the file lacks, and what it refuses.

    transformers itself answers where it is installed, else what is known of its classes. Raises
    Skip where the class is not known, MissingExtra where it must be asked and is not there.
    """
    prepared = _prepared(subject)
    if not _can_be_asked():
        yield from class_known.flaws(prepared)
        if not class_known.is_complete(prepared):
            raise MissingExtra("missing tensors are told by building the class", "live")
        return
    answer = class_asked.answer(prepared, subject)
    if not isinstance(answer, Unknown):
        yield from class_asked.flaws(answer, prepared)
        return
    yield from class_known.flaws(prepared)
    if not class_known.is_complete(prepared):
        raise Skip(answer.reason)


def get_ready() -> None:
    """Import the library that is asked: processes that are made afterwards share it."""
    if _can_be_asked():
        class_asked.get_ready()


def _can_be_asked() -> bool:
    return find_spec("transformers") is not None and find_spec("torch") is not None


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
