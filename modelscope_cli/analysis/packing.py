"""Packing a whole model: what packed tensors take, what packing would give, and backwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import lcm, prod
from typing import Any, NamedTuple

from modelscope_cli.analysis import left_alone
from modelscope_cli.analysis.fold import HOLE, Folded
from modelscope_cli.analysis.roles import PARAMETER, QUANTIZATION, RowFact
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import FormatError, UsageError, did_you_mean
from modelscope_cli.facts import Shape, TensorTable, Unknown
from modelscope_cli.schemes import FAMILIES, GGML_MODULE, READ_ONLY, family_of, ggml_scheme
from modelscope_cli.schemes.base import Held, Logical, Options, Packing, Part, Scheme

DEFAULT_SCHEME = "nf4"


class PackedRow(NamedTuple):
    """Packed weights alike: as a checkpoint stores them, or as a scheme would.

    `logical_shape` is Unknown where the stored tensors contradict each other. `parts` are those
    of one weight, the packed one first.
    """

    row: Folded
    scheme: str
    logical_shape: Shape | Unknown
    group: int | None
    parts: tuple[Part, ...]
    steps: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of one weight with all that belongs to it."""
        return sum(part.bytes for part in self.parts)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of all parts over logical weights; None where there are none, or unknown."""
        if isinstance(self.logical_shape, Unknown) or not prod(self.logical_shape):
            return None
        return self.total_bytes * 8 / prod(self.logical_shape)


class Kept(NamedTuple):
    """Weights that stay as they are, and why (None: the checkpoint just has them so)."""

    fact: RowFact
    reason: str | None


class ModelPacking(NamedTuple):
    """A model's packed weights and the rest. `stored_bytes` is all of it, `weights` logical."""

    packed: list[PackedRow]
    kept: list[Kept]
    weights: int | Unknown
    stored_bytes: int


class NothingSeenThrough(FormatError):
    """None of the packed weights that were asked about can be told the shape of."""


class Reading(NamedTuple):
    """One way to read a stored shape backwards, and the model's tensors that it fits."""

    held: Held
    fits: list[RowFact]


def load(scheme: str) -> Scheme:
    """The module that packs by that name. Raises UsageError with near names."""
    family = family_of(scheme)
    if family is not None:
        return family.load()
    if scheme in GGML_NAMES:
        return ggml_scheme()
    raise UsageError(f"--scheme: {scheme!r} is no packing scheme", _near(scheme))


def named(typed: str) -> str:
    """The scheme that a user means, in small letters. Raises UsageError with near names."""
    scheme = typed.strip().lower()
    if scheme not in SCHEME_NAMES:
        raise UsageError(f"--scheme: {typed!r} is no packing scheme", _near(scheme))
    return scheme


def _near(scheme: str) -> str | None:
    """Near names; `q4_k_m` is a recipe of files, most of whose tensors are q4_k."""
    if scheme in READ_ONLY:
        return f"{scheme} can be read out of a model, but not written"
    main = scheme.rpartition("_")[0]
    if main in GGML_NAMES:
        return f"a tensor has no such type: did you mean {main}?"
    return did_you_mean(scheme, SCHEME_NAMES)


GGML_NAMES = tuple(name.lower() for name, dtype in DTYPES.items() if dtype.kind == "packed")
_OWN = tuple(dict.fromkeys(name for family in FAMILIES for name in family.schemes))
SCHEME_NAMES = (*_OWN, *(name for name in GGML_NAMES if name not in _OWN))


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """One weight packed. Raises UsageError for a shape or options the scheme cannot have."""
    module = load(scheme)
    takes = ", ".join(map(flag, module.OPTIONS[scheme]))
    for field in given(options):
        if field not in module.OPTIONS[scheme]:
            raise UsageError(
                f"{flag(field)} means nothing to {scheme}", f"it takes {takes or 'no option'}"
            )
    return module.pack(scheme, shape, options)


def given(options: Options) -> list[str]:
    """The fields that the user chose."""
    return [field for field, value in options._asdict().items() if value is not None]


def flag(field: str) -> str:
    """How a field of `Options` is typed."""
    return f"--{field.replace('_', '-')}"


def check(scheme: str, options: Options) -> None:
    """Try the options on a shape that nothing else is wrong with. Raises UsageError."""
    sizes = [size for size in (options.group, options.block) if size is not None and size > 0]
    side = lcm(_EASY, *sizes)
    pack(scheme, (side, side), options)


_EASY = 1024  # a multiple of every scheme's blocks, groups and words


def is_packed(rows: Sequence[RowFact]) -> bool:
    """Whether a checkpoint holds packed weights at all."""
    return any(fact.logical is not None for fact in rows)


def as_stored(rows: Sequence[RowFact], weights: int | Unknown) -> ModelPacking:
    """The packed weights of a quantized checkpoint, and what it left alone."""
    packed = [_stored(fact) for fact in rows if fact.logical is not None]
    kept = [Kept(f, None) for f in rows if f.role == PARAMETER and f.logical is None]
    return ModelPacking(packed, kept, weights, sum(fact.bytes for fact in rows))


def declared(quantization: Mapping[str, Any]) -> str | None:
    """What the files of a model declare, where they declare any quantization."""
    if not quantization:
        return None
    method = str(quantization.get("quant_method") or "an unnamed method")[:_MAX_QUOTED]
    return f"the model declares quantization by {method}"


_MAX_QUOTED = 40  # characters of an untrusted value in a note


def require_seen(found: ModelPacking, table: TensorTable, target: str) -> None:
    """Raise NothingSeenThrough, with the first reason, where no packed weight was understood."""
    reasons = [row.logical_shape for row in found.packed]
    first = next(iter(reasons), None)
    if not isinstance(first, Unknown) or not all(isinstance(each, Unknown) for each in reasons):
        return
    index = found.packed[0].row.indices[0]
    name = table.names[index]
    raise NothingSeenThrough(table.files[index] or target, first.reason, tensor=name)


def only(
    found: ModelPacking, rows: Sequence[RowFact], table: TensorTable, name: str
) -> ModelPacking:
    """One packed weight alone, by its name or that of its module.

    Raises UsageError with near names, and for a tensor that stays as it is with the reason.
    """
    base = name.removesuffix(".weight")
    wanted = {name, *(base + ending for ending in _NAMES_OF_PACKED)}
    for row in found.packed:
        for index in row.row.indices:
            if table.names[index] in wanted:
                one = row.row._replace(name=table.names[index], indices=[index])
                return _alone(row._replace(row=one))
    for fact in rows:
        for index in fact.row.indices:
            if table.names[index] in (name, f"{name}.weight"):
                raise UsageError(_why_not(found, fact, table, index))
    names = [table.names[index] for row in found.packed for index in row.row.indices]
    raise UsageError(f"no packed tensor is called {name!r}", did_you_mean(name, names))


_NAMES_OF_PACKED = (".weight", ".qweight", ".weight_packed", "_blocks", ".blocks")


def _alone(row: PackedRow) -> ModelPacking:
    shape = row.logical_shape
    weights = shape if isinstance(shape, Unknown) else prod(shape)
    return ModelPacking([row], [], weights, row.total_bytes)


def _why_not(found: ModelPacking, fact: RowFact, table: TensorTable, index: int) -> str:
    """Why a tensor of the model is no packed one."""
    name, dtype = table.names[index], table.dtypes[index]
    if fact.role == QUANTIZATION:
        return f"{name} ({dtype}) belongs to a packed weight: ask for that one"
    reason = next((kept.reason for kept in found.kept if kept.fact.row == fact.row), None)
    return f"{name} is not packed: it stays as {dtype}" + (f" ({reason})" if reason else "")


def _stored(fact: RowFact) -> PackedRow:
    whole = not fact.members[0][0]  # the packed tensor has the weight's own name
    parts = tuple(
        Part(_part_name(suffix, whole), m.shape, m.dtype, DTYPES[m.dtype].size(m.elements) or 0)
        for suffix, m in fact.members
    )
    scheme, logical = fact.scheme or "", fact.logical
    if isinstance(logical, Logical):
        if DTYPES[parts[0].dtype].kind == "packed":
            logical = logical._replace(group=_ggml_group(parts[0].dtype))
        steps = _read_back(scheme, logical, parts)
        return PackedRow(fact.row, scheme, logical.shape, logical.group, parts, steps)
    return PackedRow(fact.row, scheme, logical or Unknown("not recognised"), None, parts)


def _part_name(suffix: str, whole: bool) -> str:
    """A part as packing names it, `weight.absmax`, of a weight that may be called otherwise."""
    if suffix.startswith(("_weight", "_input", "_activation")):
        return suffix[1:]
    if suffix.startswith("_") or whole:
        return f"weight{suffix}"
    return suffix.lstrip(".")


def _ggml_group(dtype: str) -> int:
    from modelscope_cli.schemes import ggml

    return ggml.group(dtype)


def _read_back(scheme: str, logical: Logical, parts: Sequence[Part]) -> tuple[str, ...]:
    """Stored -> logical, a line each."""
    packed, *others = parts
    weights = prod(logical.shape)
    total = sum(part.bytes for part in parts)
    block = DTYPES[packed.dtype].block_elements
    blocks = f", in blocks of {block:,}" if block > 1 else ""
    sharing = f"{blocks}, {logical.group:,} of them share a scale" if logical.group else blocks
    beside = " + ".join(f"{part.name} {part.bytes:,}" for part in others)
    return (
        f"{packed.name}: {packed.dtype} {list(packed.shape)} -> {packed.bytes:,} bytes as stored",
        f"read as {scheme}: {' x '.join(f'{n:,}' for n in logical.shape)} = {weights:,} weights"
        f" of {logical.bits:g} bits{sharing}",
        *([f"beside it: {beside} = {total - packed.bytes:,} bytes"] if others else []),
        f"total {total:,} bytes"
        + (f", {total * 8 / weights:.4f} bits a weight" if weights else ""),
    )


def what_if(
    rows: Sequence[RowFact],
    table: TensorTable,
    scheme: str,
    options: Options,
    config: Mapping[str, Any] | None = None,
) -> ModelPacking:
    """What packing an unquantized model would give, as bitsandbytes under transformers 4 does it.

    Every two-dimensional weight is packed but embeddings and the output head; other tensors stay.
    Names alone tell which these are, and for a few model types the config.
    """
    packed: list[PackedRow] = []
    kept: list[Kept] = []
    group = _ggml_group(scheme.upper()) if family_of(scheme) is None else None
    module_kept = left_alone.judge(scheme, rows, config)
    weights = size = 0
    for fact in rows:
        count = len(fact.row.indices)
        shape = table.shapes[fact.row.indices[0]]
        weights += fact.elements if fact.role == PARAMETER else 0
        reason = _no_matrix(fact, table) or module_kept(fact)
        made = None if reason else _packed_or_reason(scheme, shape, options)
        if isinstance(made, Packing):
            row = PackedRow(fact.row, scheme, shape, group, made.parts, made.steps)
            packed.append(row)
            size += made.total_bytes * count
        else:
            size += fact.bytes
            if fact.role == PARAMETER:
                kept.append(Kept(fact, reason or made))
    return ModelPacking(packed, kept, weights, size)


def _packed_or_reason(scheme: str, shape: Shape, options: Options) -> Packing | str:
    try:
        return pack(scheme, shape, options)
    except UsageError as refusal:
        return refusal.message


def _no_matrix(fact: RowFact, table: TensorTable) -> str | None:
    """Why a row can be no linear layer's weight."""
    first = fact.row.indices[0]
    dtype, shape = DTYPES[table.dtypes[first]], table.shapes[first]
    if fact.role != PARAMETER or dtype.kind != "float":
        return "no weight of floating point numbers"
    if len(shape) != 2 or not fact.row.template.endswith("weight"):
        return "not a two-dimensional weight"
    return None


def backwards(
    stored: Shape, dtype: str | None, rows: Sequence[RowFact] = (), table: TensorTable | None = None
) -> list[Reading]:
    """What a stored shape can hold under each scheme, and which weights of a model that fits.

    `rows` are those of `table`. Readings that fit some come first.
    """
    held = list(_all_held(stored, dtype))
    if table is None:
        return [Reading(each, []) for each in held]
    if is_packed(rows):
        readings = [
            Reading(h, [f for f in rows if _is_stored_so(h, stored, dtype, f)]) for h in held
        ]
    else:
        shapes = [table.shapes[fact.row.indices[0]] for fact in rows]
        pairs = list(zip(rows, shapes, strict=True))
        readings = [Reading(h, [f for f, shape in pairs if _could_be(h, f, shape)]) for h in held]
    return sorted(readings, key=lambda reading: not reading.fits)


def _all_held(stored: Shape, dtype: str | None) -> Iterable[Held]:
    modules = dict.fromkeys([*(family.module for family in FAMILIES), GGML_MODULE])
    for module in modules:
        family = next((family for family in FAMILIES if family.module == module), None)
        scheme = family.load() if family is not None else ggml_scheme()
        yield from scheme.holds(stored, dtype)


def _could_be(held: Held, fact: RowFact, shape: Shape) -> bool:
    """Whether a plain weight has that shape, or as many elements where the shape is not told."""
    if fact.role != PARAMETER or fact.logical is not None or not held.weights:
        return False
    return prod(shape) == held.weights if held.shape is None else shape == held.shape


def _is_stored_so(held: Held, stored: Shape, dtype: str | None, fact: RowFact) -> bool:
    """Whether a packed weight is stored in that shape, and stands for what is held."""
    logical = fact.logical
    if not isinstance(logical, Logical) or not _same_scheme(held.scheme, logical.scheme):
        return False
    if held.shape is not None and held.shape != logical.shape:
        return False
    member = fact.members[0][1]
    if DTYPES[member.dtype].kind == "packed":  # a GGUF states its shapes unpacked
        return held.shape is not None
    there = member.shape == stored and dtype in (None, member.dtype)
    return there and held.weights == prod(logical.shape)


def _same_scheme(held: str, there: str) -> bool:
    """`fp8` stands for its kinds by channel and by block too: the weight is stored alike."""
    return there == held or (held == "fp8" and there.startswith("fp8-"))


def repeats(fact: RowFact) -> str:
    """What a folded row repeats over: `8 experts x 32 layers`; empty for a single tensor."""
    words = []
    parts = fact.row.template.split(".")
    numbers = iter(fact.row.grid)
    for place, part in enumerate(parts):
        if part == HOLE:
            axis = next(numbers, ())
            if len(axis) > 1:
                words.append(f"{len(axis)} {parts[place - 1] if place else 'items'}")
    return " x ".join(reversed(words))
