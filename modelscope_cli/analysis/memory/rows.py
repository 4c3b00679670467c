"""The footprint itself: one row for each way to hold the weights, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelscope_cli.analysis.memory import modes
from modelscope_cli.analysis.memory.activations import estimate as estimate_activations
from modelscope_cli.analysis.memory.kv.cache import KVCache, kv_cache
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.row import LOADED, NO_CACHE, Row, Workload
from modelscope_cli.analysis.memory.weighing import doubts, weigh
from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.analysis.memory.weights.amounts import Amounts
from modelscope_cli.analysis.opaque import method_of
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.training.step import Training

_TELL = 0.01  # alternatives that differ by more are told


_Running = tuple[KVCache | Unknown, Part]  # the cache, and activations


def row(model: Model, mode: Mode, work: Workload) -> Row:
    """One row of the footprint."""
    return _row(model, mode, work, _running(model, mode.float_dtype(model.dtype), work))


def each(model: Model, asked: Sequence[Mode], work: Workload) -> tuple[Row, ...]:
    """A row a mode; what running takes is told once for each dtype."""
    dtypes = dict.fromkeys(mode.float_dtype(model.dtype) for mode in asked)
    running = {dtype: _running(model, dtype, work) for dtype in dtypes}
    return tuple(_row(model, mode, work, running[mode.float_dtype(model.dtype)]) for mode in asked)


def _running(model: Model, dtype: str, work: Workload) -> _Running:
    return cache_of(model, dtype, work), _activations(model, dtype, work)


def _row(model: Model, mode: Mode, work: Workload, run: _Running) -> Row:
    dtype = mode.float_dtype(model.dtype)
    found = weigh(model, mode)
    modules: int | Unknown
    parameters: int | Unknown
    if isinstance(found, Unknown):
        loaded = [Part(part, found, "estimate", found.reason) for part in LOADED]
        modules = parameters = found
        found = Amounts()
    else:
        loaded = list(_loaded_parts(model, mode, found))
        loaded[0] = loaded[0]._replace(note=_otherwise(model, mode, dtype))
        modules, parameters = _quantized(found)
    cache, activations = run
    running = [_of_dtype(part, model, mode) for part in (_cache_part(cache), activations)]
    if work.training is not None:
        cache = NO_CACHE
        running = list(_training_parts(model, mode, dtype, work, work.training))
    return Row(
        mode,
        dtype,
        modes.describe(mode, dtype, modes.Checkpoint(model.dtype, model.packed, model.dtype_told)),
        (*loaded, *running),
        modules,
        parameters,
        found.left,
        cache,
        tuple(_alternatives(model, mode, found)),
        doubts(model, mode),
    )


def _training_parts(
    model: Model, mode: Mode, dtype: str, work: Workload, asked: Training
) -> Iterator[Part]:
    """Of a step of training, where one model is trained."""
    from modelscope_cli.analysis.memory.training import step
    from modelscope_cli.analysis.memory.training.activations import kept as kept_activations

    yield step.no_cache()
    kept = model.spoiled("activations") or kept_activations(
        model.config,
        model.architecture,
        batch=work.batch,
        context=work.context,
        dtype_bytes=DTYPES[dtype].block_bytes,
        checkpointing=asked.checkpointing,
    )
    if isinstance(kept, Unknown):
        yield Part("activations", kept, "estimate", kept.reason)
    else:
        yield Part("activations", kept.bytes, "estimate", None, kept.note)
    if len(model.components) == 1 and model.untold is None:
        yield from step.parts(model.components[0], mode, asked)
        return
    why = model.untold or Unknown("a pipeline's components are trained one by one")
    yield Part("gradients", why, "estimate", why.reason)
    yield Part("optimizer", why, "estimate", why.reason)


def _loaded_parts(model: Model, mode: Mode, found: Amounts) -> Iterator[Part]:
    reason = "; ".join(doubts(model, mode)) or None
    basis = "exact" if reason is None else "estimate"
    missing = dict(found.missing)
    for part in LOADED:
        size = getattr(found, part)
        if part in missing:
            why = missing[part]
            yield Part(part, Unknown(why), "estimate", why, None, size)
        else:
            yield Part(part, size, basis, reason)


def _otherwise(model: Model, mode: Mode, dtype: str) -> str | None:
    """Of packed weights: what is held instead where they cannot stay packed."""
    if mode.bits != modes.STORED or not model.packed:
        return None
    from modelscope_cli.analysis.memory import quantizers  # few checkpoints are packed

    plain = weigh(model, mode._replace(bits=str(8 * DTYPES[dtype].block_bytes), dtype=dtype))
    if isinstance(plain, Unknown) or plain.missing:
        return None
    return quantizers.otherwise(method_of(model.declared), dtype, sum(plain[:3]))


def _quantized(found: Amounts) -> tuple[int | Unknown, int | Unknown]:
    """Modules and parameters that are quantized; of weights that are not known, Unknown."""
    why = dict(found.missing).get("weights")
    return (found.modules, found.parameters) if why is None else (Unknown(why), Unknown(why))


def cache_of(model: Model, dtype: str, work: Workload) -> KVCache | Unknown:
    """The KV cache where floats are `dtype`."""
    if (why := model.spoiled("kv_cache")) is not None:
        return why
    bits = DTYPES[work.kv_dtype or dtype].bits
    return kv_cache(
        model.config,
        model.architecture,
        batch=work.batch,
        context=work.context,
        dtype_bytes=bits / 8 if bits % 8 else int(bits) // 8,
        encoder_context=work.encoder_context,
        state_bytes=DTYPES[dtype].block_bytes,
    )


def _cache_part(cache: KVCache | Unknown) -> Part:
    if isinstance(cache, Unknown):
        return Part("kv_cache", cache, "estimate", cache.reason)
    return Part("kv_cache", cache.bytes, cache.basis, None, cache.note)


def _of_dtype(part: Part, model: Model, mode: Mode) -> Part:
    """A part whose dtype nothing tells: what it is taken as is torch's default."""
    is_told = model.dtype_told or mode.dtype is not None or mode.bits in ("32", "16")
    if is_told or isinstance(part.bytes, Unknown) or not part.bytes:
        return part
    reason = f"no dtype is told: taken as {model.dtype.lower()}, torch's default"
    return part._replace(basis="assumption", reason=reason)


def _activations(model: Model, dtype: str, work: Workload) -> Part:
    if (why := model.spoiled("activations")) is not None:
        return Part("activations", why, "estimate", why.reason)
    found = estimate_activations(
        model.config,
        model.architecture,
        batch=work.batch,
        context=work.context,
        dtype_bytes=DTYPES[dtype].block_bytes,
    )
    if isinstance(found, Unknown):
        return Part("activations", found, "estimate", found.reason)
    return Part("activations", found.prefill_bytes, "estimate", found.note)


def _alternatives(model: Model, mode: Mode, found: Amounts) -> Iterator[tuple[str, int]]:
    """What the other generation of transformers holds, where it differs by more than 1 %."""
    if mode.scheme not in amounts.BITSANDBYTES or model.packed_by is not None:
        return
    other = mode._replace(transformers=4 if mode.transformers >= 5 else 5)
    beside = weigh(model, other)
    if isinstance(beside, Unknown) or beside.missing or found.missing:
        return
    here, there = (sum(each[:3]) for each in (found, beside))
    if abs(here - there) > _TELL * max(here, there):
        yield f"{other.transformers}.x", there


def equal(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows, those with the same bytes in every part together.

    Weights that are not known are equal to no others; buffers that are not known are the same for
    the same scheme and dtype.
    """
    groups: dict[object, list[Row]] = {}
    for at, each in enumerate(rows):
        held = (each.mode.scheme, each.dtype) if isinstance(each.load_bytes, Unknown) else None
        weights = at if isinstance(each.bytes_of("weights"), Unknown) else None
        key = (each.file, held, weights, *((part.bytes, part.least) for part in each.parts))
        groups.setdefault(key, []).append(each)
    return list(groups.values())
