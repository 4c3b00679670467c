"""The footprint itself: one row for each way to hold the weights, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis import adapters
from modelscope_cli.analysis.memory import modes, quantizers
from modelscope_cli.analysis.memory.activations import estimate as estimate_activations
from modelscope_cli.analysis.memory.kv.cache import KVCache, kv_cache
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.weights import amounts, what_if
from modelscope_cli.analysis.memory.weights.amounts import Amounts, Left
from modelscope_cli.analysis.memory.weights.held import Held
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.analysis.memory.weights.projections import Contradiction
from modelscope_cli.analysis.opaque import method_of
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.training.step import Training

DEFAULT_RUNTIME = 512 * 1024**2  # bytes; an assumption, see `runtime_bytes`
_TELL = 0.01  # alternatives that differ by more are told
_DEQUANTIZED = "its packed weights taken as unpacked to this dtype"


class Workload(NamedTuple):
    """What is run: sequences, tokens in the cache of each, its dtype; or what is trained."""

    batch: int
    context: int
    encoder_context: int | None = None
    kv_dtype: str | None = None
    training: Training | None = None


class Row(NamedTuple):
    """One way to hold the model, and what running it then takes."""

    mode: Mode
    dtype: str
    method: str
    parts: tuple[Part, ...]
    modules: int | Unknown
    parameters: int | Unknown
    left: tuple[Left, ...]
    cache: KVCache | Unknown
    alternatives: tuple[tuple[str, int], ...] = ()
    doubts: tuple[str, ...] = ()  # why what is loaded is no certainty, one by one
    kv_dtype: str | None = None  # of the cache, where it is not what the request says
    file: str | None = None  # of a GGUF

    def bytes_of(self, part: str) -> int | Unknown:
        """Bytes of a part; 0 where there is none of it."""
        return next((each.bytes for each in self.parts if each.part == part), 0)

    @property
    def load_bytes(self) -> int | Unknown:
        """Weights, quantization state and buffers."""
        return _sum(part for part in self.parts if part.part in LOADED)

    @property
    def load_at_least(self) -> int:
        """What is known of these."""
        return sum(part.least for part in self.parts if part.part in LOADED)

    @property
    def total_bytes(self) -> int | Unknown:
        """All parts."""
        return _sum(self.parts)

    @property
    def at_least_bytes(self) -> int:
        """What is known of all parts."""
        return sum(part.least for part in self.parts)

    def peak_bytes(self) -> int | Unknown:
        """All parts with the cache at its peak."""
        total = self.total_bytes
        return total if isinstance(total, Unknown) else self.peak_at_least

    @property
    def peak_at_least(self) -> int:
        """What is known of that."""
        if isinstance(self.cache, Unknown):
            return self.at_least_bytes
        return self.at_least_bytes + self.cache.peak_bytes - self.cache.bytes

    def bounds(self) -> dict[str, int]:
        """What is known of `load_bytes` and `total_bytes`, where that is not all."""
        sums = {
            "load_at_least_bytes": (self.load_bytes, self.load_at_least),
            "at_least_bytes": (self.total_bytes, self.at_least_bytes),
        }
        return {key: least for key, (whole, least) in sums.items() if isinstance(whole, Unknown)}

    @property
    def load_basis(self) -> str:
        """Of `load_bytes`: exact where every loaded part is."""
        return weakest(part.basis for part in self.parts if part.part in LOADED)

    @property
    def total_basis(self) -> str:
        """Of `total_bytes`: that of its weakest part."""
        return weakest(part.basis for part in self.parts)


NO_CACHE = KVCache((), 0, 0, 0, 0, "exact", "training keeps no cache")
LOADED = ("weights", "quantization", "buffers")
BASES = ("exact", "estimate", "assumption")


def weakest(bases: Iterable[str]) -> str:
    """What a sum rests on whose parts rest on `bases`."""
    return max(bases, key=BASES.index, default=BASES[0])


def _sum(parts: Any) -> int | Unknown:
    total = 0
    for part in parts:
        if isinstance(part.bytes, Unknown):
            return Unknown(f"{part.part}: {part.bytes.reason}")
        total += part.bytes
    return total


class Model(NamedTuple):
    """What every row is made of: the components, and whether they are packed already.

    `packed_by` is the scheme of packed weights in the checkpoint, or the method that it declares
    where they cannot be seen through; `packed` are their names for people. `declared` is what the
    model's files say of its quantization. `dtype_told`: whether they tell a dtype at all.
    """

    components: tuple[Prepared, ...]
    config: Mapping[str, Any]
    architecture: str | None
    packed_by: str | None = None
    untold: Unknown | None = None  # why the tensors are not known
    packed: tuple[str, ...] = ()
    declared: Mapping[str, Any] = MappingProxyType({})
    dtype_told: bool = True

    @property
    def dtype(self) -> str:
        """What "auto" loads floats as."""
        return self.components[0].dtype

    @property
    def warnings(self) -> tuple[Contradiction, ...]:
        """What is wrong with the checkpoint."""
        found = (each for component in self.components for each in component.warnings)
        return tuple(dict.fromkeys(found))

    def spoiled(self, part: str) -> Unknown | None:
        """Why a part cannot be told: an adapter's alone, or the tensors contradict its numbers."""
        found = (each.text for each in self.warnings if part in each.spoils)
        return adapters.told(self.config) or next(map(Unknown, found), None)


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
        _doubts(model, mode),
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


def weigh(model: Model, mode: Mode) -> Amounts | Unknown:
    """The weights of all components, buffers that are not in the file included."""
    if model.untold is not None:
        return model.untold
    total = Amounts()
    for component in model.components:
        found = _weigh(component, model, mode)
        if isinstance(found, Unknown):
            return found
        total = total.plus(found).plus(_unheld(component, mode))
    return total


def _unheld(component: Prepared, mode: Mode) -> Amounts:
    """Buffers that are not in the file, and what is packed so that nobody here sees through it.

    Of that no row holds less than the file does: a weight is never unpacked into fewer bits.
    """
    hidden = sum(each.bytes for each in component.hidden)
    missing = tuple(component.missing())
    if isinstance(component.made, Unknown):
        return Amounts(hidden, missing=missing)
    dtype = mode.float_dtype(component.dtype)
    weights = sum(each.bytes(dtype) for each in component.made if each.is_weight)
    buffers = sum(each.bytes(dtype) for each in component.made if not each.is_weight)
    return Amounts(hidden + weights, 0, buffers, missing=missing)


def _weigh(component: Prepared, model: Model, mode: Mode) -> Amounts | Unknown:
    plan = component.plan(mode.float_dtype(component.dtype))
    if mode.scheme is not None and (adapter := adapters.kind_of(component.config)):
        return Unknown(f"a {adapter} adapter stays in floats: what is packed is its model")
    if mode.scheme is not None and component.hidden:
        return Unknown(f"the checkpoint is packed by {model.packed_by}: quantize the original")
    if mode.scheme is not None and mode.scheme not in amounts.BITSANDBYTES:
        return what_if.ideal(component, plan, mode.scheme)
    if model.packed_by is not None:
        return _of_packed(component, model, mode, plan)
    if mode.scheme is None:
        return amounts.plain(component.weighed, plan)
    judged = component.judged if mode.transformers >= 5 else what_if.before_fusing(component)
    return amounts.quantized(judged, plan, mode.scheme, double_quant=mode.double_quant)


def _of_packed(
    component: Prepared, model: Model, mode: Mode, plan: amounts.DtypePlan
) -> Amounts | Unknown:
    """Of a checkpoint that is quantized already."""
    packed_by = model.packed_by or ""
    if mode.scheme is None and mode.bits != modes.STORED:
        return amounts.plain(component.weighed, plan)
    if mode.scheme is not None and modes.bits_of(packed_by) != mode.bits:
        return Unknown(f"the checkpoint is packed by {packed_by}: quantize the original")
    by_bitsandbytes = packed_by in amounts.BITSANDBYTES
    leaves = quantizers.Leaves(model.declared)
    defaults = {id(part.held): part.reason for part in component.judged if by_bitsandbytes}

    def why_left(held: Held) -> str:
        reason = leaves.reason(held)
        default = defaults.get(id(held))
        return default if reason == quantizers.STORED_SO and default else reason

    return amounts.as_stored(
        component.weighed, plan, keeps_weight_dtype=by_bitsandbytes, why_left=why_left
    )


def _loaded_parts(model: Model, mode: Mode, found: Amounts) -> Iterator[Part]:
    reason = "; ".join(_doubts(model, mode)) or None
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
    plain = weigh(model, mode._replace(bits=str(8 * DTYPES[dtype].block_bytes), dtype=dtype))
    if isinstance(plain, Unknown) or plain.missing:
        return None
    return quantizers.otherwise(method_of(model.declared), dtype, sum(plain[:3]))


def _quantized(found: Amounts) -> tuple[int | Unknown, int | Unknown]:
    """Modules and parameters that are quantized; of weights that are not known, Unknown."""
    why = dict(found.missing).get("weights")
    return (found.modules, found.parameters) if why is None else (Unknown(why), Unknown(why))


def why_estimate(model: Model, mode: Mode) -> str | None:
    """Why what is loaded is no certainty; None where it is exact."""
    missing = (why for component in model.components for _, why in component.missing())
    return "; ".join(dict.fromkeys((*_doubts(model, mode), *missing))) or None


def _doubts(model: Model, mode: Mode) -> tuple[str, ...]:
    """The same of what is known of it."""
    if mode.scheme is not None and mode.scheme not in amounts.BITSANDBYTES:
        return (f"{mode.scheme} as ideal packing of every linear layer",)
    if mode.transformers < 5 and mode.scheme is not None:
        return ("transformers 4 by the names in the file, not by its own classes",)
    if model.packed_by is not None and mode.scheme is None and mode.bits != modes.STORED:
        return (_DEQUANTIZED,)
    doubts = (doubt for component in model.components for doubt in component.doubts)
    return tuple(dict.fromkeys(doubts))


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
