"""`--exact` and `--measure`: what the library itself says, set beside what was predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import STORED
from modelscope_cli.analysis.memory.row import Row, Workload
from modelscope_cli.analysis.memory.weights.amounts import BITSANDBYTES
from modelscope_cli.facts import ModelFacts, Unknown

_LOADED = ("weights", "quantization", "buffers")


class Difference(NamedTuple):
    """A part that came out otherwise than predicted."""

    part: str
    predicted: int | Unknown
    found: int


class Compared(NamedTuple):
    """Bytes by part as the library has them (Unknown where it does not say), and what differs."""

    class_name: str | None
    parts: Mapping[str, int | Unknown]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    more: Mapping[str, Any] = MappingProxyType({})  # further figures, by name


def exact(facts: ModelFacts, model: Model, row: Row, work: Workload) -> Compared:
    """The class of `model` built on meta, quantized by transformers, and run there.

    Pairs that the configuration ties and the file has twice are compared, value by value.
    """
    from modelscope_cli.live.exact_run import exact_run
    from modelscope_cli.live.exact_weights import ExactParts, exact_weights

    scheme = row.mode.scheme
    parts: dict[str, int | Unknown] = {}
    untied, notes = _pairs_that_differ(facts, model)
    if scheme is not None and scheme not in BITSANDBYTES:
        ideal = Unknown(f"{scheme} as ideal packing is nothing that transformers loads")
        parts.update(dict.fromkeys(_LOADED, ideal))
        loaded: ExactParts | Unknown = ideal
    else:
        config = dict(model.config)
        if row.mode.bits != STORED and scheme is None:
            config.pop("quantization_config", None)
        loaded = exact_weights(
            config,
            model.architecture,
            scheme=scheme,
            dtype=row.dtype,
            double_quant=row.mode.double_quant,
            untied=untied,
        )
        for part in _LOADED:
            parts[part] = loaded if isinstance(loaded, Unknown) else getattr(loaded, part)
    run = exact_run(
        dict(model.config),
        model.architecture,
        batch=work.batch,
        context=work.context,
        dtype=row.dtype,
        encoder_context=work.encoder_context,
    )
    notes += [] if isinstance(loaded, Unknown) or not loaded.note else [loaded.note]
    if isinstance(run, Unknown):
        parts |= {"kv_cache": run, "activations": run}
    else:
        parts["kv_cache"] = run.cache.bytes if run.cache else 0
        parts["activations"] = run.activations.prefill_bytes
        notes += [f"run with {run.given}", *([run.note] if run.note else [])]
        if work.kv_dtype is not None:
            notes.append(f"the cache in {row.dtype}, not in {work.kv_dtype}")
    name = None if isinstance(loaded, Unknown) else loaded.class_name
    return Compared(name, parts, tuple(_differences(row, parts)), tuple(notes))


def _pairs_that_differ(facts: ModelFacts, model: Model) -> tuple[list[str], list[str]]:
    """Targets of tied pairs whose two tensors are in the file and not equal, and what was found."""
    from modelscope_cli.live.same_values import same_values

    differ, notes = [], []
    for source, target, own_name in model.components[0].both_in_file:
        same = same_values(facts, source, target)
        if isinstance(same, Unknown):
            notes.append(f"{target} is taken as tied to {source}: {same.reason}")
        elif same:
            notes.append(f"{target} and {source} hold the same values: one tensor")
        else:
            notes.append(f"{target} and {source} hold other values: they are not tied")
            differ.append(own_name)
    return differ, notes


def _differences(row: Row, parts: Mapping[str, int | Unknown]) -> Iterator[Difference]:
    for part, found in parts.items():
        predicted: Any = row.bytes_of(part)
        if isinstance(found, int) and found != predicted:
            yield Difference(part, predicted, found)


def measured(facts: ModelFacts, model: Model, row: Row) -> Compared:
    """The model loaded for real, here and now."""
    from modelscope_cli.live.measure import measure

    scheme = row.mode.scheme
    asked = row.mode.dtype is not None or row.mode.bits not in (STORED, "8", "4")
    found = measure(
        facts,
        model.architecture,
        scheme=scheme,
        dtype=row.dtype if asked else None,
        double_quant=row.mode.double_quant,
    )
    if isinstance(found, Unknown):
        return Compared(None, dict.fromkeys(_LOADED, found), (), (found.reason,))
    parts: dict[str, int | Unknown] = {part: getattr(found, part) for part in _LOADED}
    notes = []
    if found.missing:
        notes.append(f"not in the file, made anew: {_some(found.missing)}")
    if found.unexpected:
        notes.append(f"in the file, not loaded: {_some(found.unexpected)}")
    more = {
        "resident_bytes": found.resident_bytes,
        "seconds": round(found.seconds, 3),
        "devices": [device._asdict() for device in found.devices],
    }
    return Compared(found.class_name, parts, tuple(_differences(row, parts)), tuple(notes), more)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


_FEW = 3
