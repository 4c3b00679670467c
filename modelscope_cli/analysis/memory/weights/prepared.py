"""A checkpoint made ready to be weighed: its class asked once, its parameters put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis import adapters
from modelscope_cli.analysis.load_dtype import load_dtype
from modelscope_cli.analysis.memory.weights import (
    contradictions,
    linear,
    missing,
    projections,
    tied,
    value_types,
)
from modelscope_cli.analysis.memory.weights import held as holding
from modelscope_cli.analysis.memory.weights.amounts import DtypePlan
from modelscope_cli.analysis.memory.weights.held import UNTOLD, Dropped, Held, Hidden
from modelscope_cli.analysis.memory.weights.linear import Judged
from modelscope_cli.analysis.memory.weights.made import Made
from modelscope_cli.analysis.memory.weights.made import made as buffers_made
from modelscope_cli.analysis.memory.weights.projections import ACTIVATIONS, Contradiction, Scope
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import TensorTable, Unknown
from modelscope_cli.knowledge import buffers, configs, modules

if TYPE_CHECKING:
    from modelscope_cli.analysis.left_alone import Judge

_LONGEST = 60  # characters of an untrusted name in a sentence


class Prepared(NamedTuple):
    """One model, or one component of a pipeline.

    `both_in_file` are tied pairs that the file has twice: its names for both, and the target's
    own name. `fresh` are those of `held` that the file lacks and loading makes anew.

    `anew` are parameters that the file lacks and transformers makes, `made` buffers that are in
    no file (Unknown where the class does not tell), `hidden` packed weights that cannot be seen
    through, `pairs` names of one parameter. `doubts` say why a sum over this is no certainty,
    `warnings` (most of them doubts) what is wrong with the checkpoint; `dtype` is what "auto"
    loads floats as.
    """

    held: list[Held]
    judged: list[Judged]
    dropped: list[Dropped]
    made: tuple[Made, ...] | Unknown
    dtype: str
    keep: tuple[str, ...]
    keep_strict: tuple[str, ...]
    class_name: str | None
    config: Mapping[str, Any]
    doubts: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    model_class: modules.ClassModules | None
    both_in_file: tuple[tuple[str, str, str], ...] = ()
    hidden: tuple[Hidden, ...] = ()
    fresh: tuple[str, ...] = ()
    anew: tuple[Held, ...] = ()
    warnings: tuple[Contradiction, ...] = ()

    @property
    def weighed(self) -> Sequence[Held]:
        """All that is in memory: what the file has, and what is made anew."""
        return [*self.held, *self.anew]

    def missing(self) -> Iterator[tuple[str, str]]:
        """The parts that are not known as a whole, and why."""
        if self.hidden:
            reason = f"{self.hidden[0].name}: {self.hidden[0].reason}"
            yield from ((part, reason) for part in ("weights", "quantization"))
        if isinstance(self.made, Unknown):
            yield "buffers", f"those that are not in the file: {self.made.reason}"

    def plan(self, dtype: str | None = None) -> DtypePlan:
        """Which dtype each parameter gets where floats are loaded as `dtype`."""
        return DtypePlan(dtype or self.dtype, self.keep, self.keep_strict)


def prepare(
    rows: Sequence[RowFact], table: TensorTable, config: Mapping[str, Any] | None
) -> Prepared:
    """`rows` of `table`, as the class that the configuration names would hold them."""
    raw = config or {}
    model_type, architecture = _text(raw.get("model_type")), _architecture(raw)
    known = modules.find(model_type, architecture)
    if known is None:
        return _without_class(rows, table, raw, _why_no_class(raw, model_type, architecture))
    known.look_at(table.names)
    effective = configs.effective(raw)
    counts = buffers.index_counts(model_type, known.name, effective, constants=False)
    found = holding.hold(rows, table, known, counts)
    untied = tied.once(found.held, known.ties, effective)
    active = tied.active(known.ties, effective)
    last = _last(known.last, untied.held)
    skip = linear.skips(active, known.output_embedding, last, known.keep_in_fp32)
    facts = buffers.non_persistent(model_type, known.name, effective)
    lacking = missing.made_anew(untied.held, counts, effective)
    made = buffers_made(facts, [*untied.held, *lacking.held])
    warnings = [*_warnings(raw, known, untied.held, lacking, counts, effective)]
    sure = not modules.differs_by(known.model_type)  # else its layers are not told right
    unused = missing.unused(found.dropped, counts, effective) if sure else None
    return Prepared(
        untied.held,
        [*linear.judge(untied.held, skip), *map(_unpacked, lacking.held)],
        found.dropped,
        made if isinstance(made, Unknown) else tuple(made),
        _dtype(raw, table),
        known.keep_in_fp32,
        known.keep_in_fp32_strict,
        known.name,
        effective,
        (
            *_doubts(known, found.dropped, untied, architecture),
            *(warning.text for warning in warnings),
        ),
        tuple((tie.source, tie.target) for tie in active if "*" not in tie.source + tie.target),
        known,
        tuple(
            (one.stored[0].first(), copy.stored[0].first(), copy.name) for one, copy in untied.pairs
        ),
        tuple(found.hidden),
        tuple(each.name for each in untied.fresh),
        tuple(lacking.held),
        (*warnings, *([] if unused is None else [Contradiction(unused)])),
    )


def _warnings(
    said: Mapping[str, Any],
    known: modules.ClassModules,
    held: Sequence[Held],
    lacking: missing.Missing,
    counts: Mapping[str, int],
    effective: Mapping[str, Any],
) -> Iterator[Contradiction]:
    """Where configuration and file contradict each other, and what follows from it."""
    defaults = configs.defaults(known.model_type)
    yield from map(Contradiction, value_types.refused(said, defaults))
    if lacking.warning is not None:
        yield Contradiction(lacking.warning)
    for text in contradictions.found([*held, *lacking.held], counts, effective):
        yield Contradiction(text, (ACTIVATIONS,))
    for scope in _scopes(said, known, held, effective):
        yield from projections.found(scope)


def _fresh(untied: tied.Untied) -> Iterator[str]:
    for each in untied.fresh:
        yield (
            f"the file has no {each.name}: transformers makes a new one, at random; counted as "
            "large as the embedding"
        )


def _scopes(
    said: Mapping[str, Any],
    known: modules.ClassModules,
    held: Sequence[Held],
    effective: Mapping[str, Any],
) -> Iterator[Scope]:
    """Each configuration with what is under its own path and no deeper one's.

    Where the text's configuration is nested and its modules are no model of their own, their
    names tell.
    """
    found = buffers.scopes(known.model_type, known.name, effective)
    paths = sorted(found, key=len, reverse=True)
    of: dict[str, list[Held]] = {path: [] for path in paths}
    nested = configs.text(effective) != effective
    for each in held:
        path = next(path for path in paths if each.template.startswith(path))
        if path or not nested or not _TEXT.isdisjoint(each.template.split(".")):
            of[path].append(each)
    return (Scope(found[path], of[path], said) for path in paths)


_TEXT = frozenset(("language_model", "text_model", "decoder"))


def _unpacked(held: Held) -> Judged:
    return Judged(held, "not in the file: made anew, and never packed", held.times, held.elements,
                  held.outputs)  # fmt: skip


def _without_class(
    rows: Sequence[RowFact], table: TensorTable, config: Mapping[str, Any], reason: str
) -> Prepared:
    """By names and dtypes alone."""
    from modelscope_cli.analysis import left_alone  # a dozen regexes; most models have a class

    found = holding.hold(rows, table, None, {})
    keeps = left_alone.judge("nf4", rows, config)
    judged = [_judged_by_name(each, keeps) for each in found.held]
    # An adapter is weights alone; of a class that nobody knows it cannot be told.
    made = () if adapters.kind_of(config) else Unknown(reason)
    return Prepared(
        found.held, judged, found.dropped, made, _dtype(config, table), (), (), None,
        config, (f"{reason}: {_BY_NAME}",), (), None, hidden=tuple(found.hidden),
    )  # fmt: skip


_BY_NAME = "linear layers are told by their names"


def _judged_by_name(held: Held, keeps: Judge) -> Judged:
    reason: str | None = "a bias, norm or other small tensor"
    if held.kind == UNTOLD and held.is_matrix:
        reason = keeps(held.stored[0].fact)
    elif len(held.stored[0].shape) > 2:
        reason = "not a two-dimensional weight"
    return Judged(held, reason, held.times, held.elements, held.outputs)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _architecture(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    return _text(named[0]) if isinstance(named, list) and named else None


def _why_no_class(
    config: Mapping[str, Any], model_type: str | None, architecture: str | None
) -> str:
    if (adapter := adapters.told(config)) is not None:
        return adapter.reason
    if not config:
        return "no configuration says which class loads it"
    if "auto_map" in config:
        return "its class is the model's own code, which is never run here"
    named = architecture or model_type
    if named is None:
        return "the configuration names no class"
    return f"no class of transformers is known as {named[:_LONGEST]}"


def _dtype(config: Mapping[str, Any], table: TensorTable) -> str:
    """What "auto" loads floats as; of weights alone, what most of their bytes are."""
    found = load_dtype(config, table) if config else None
    if found is not None:
        return found.name
    sizes: dict[str, int] = {}
    for dtype, size in zip(table.dtypes, table.bytes, strict=True):
        if dtype in _LOADABLE:
            sizes[dtype] = sizes.get(dtype, 0) + size
    return max(sizes, key=sizes.__getitem__) if sizes else "F32"


_LOADABLE = ("F64", "F32", "BF16", "F16")


def _last(last: str | None, held: Sequence[Held]) -> str | None:
    """The last parameter: a module's bias comes after its weight, where the file has one."""
    if last is None:
        return None
    module, _, end = last.rpartition(".")
    there = {each.template for each in held}
    if end == "weight" and f"{module}.bias" in there:
        return f"{module}.bias"
    if end == "bias" and last not in there and f"{module}.weight" in there:
        return f"{module}.weight"
    return last


def _doubts(
    known: modules.ClassModules,
    dropped: Sequence[Dropped],
    untied: tied.Untied,
    architecture: str | None,
) -> list[str]:
    doubts = []
    unsure = [each for each in dropped if not each.certain]
    if unsure:
        count = sum(each.times for each in unsure)
        doubts.append(
            f"{known.name} has no parameter for {unsure[0].name}"
            + (f" and {count - 1:,} more" if count > 1 else "")
            + ": left out"
        )
    for one, copy in untied.pairs:
        doubts.append(
            f"{copy.name} and {one.name} are both in the file: taken as tied, as the "
            "configuration says; transformers ties them only if their values are equal"
        )
    doubts += _fresh(untied)
    if off := modules.differs_by(known.model_type):
        doubts.append(
            f"for the default {known.model_type} this came out {abs(off):,} bytes "
            f"{'more' if off > 0 else 'less'} than what transformers holds"
        )
    if architecture is None:
        doubts.append(f"the configuration names no class: taken as {known.name}")
    return doubts
