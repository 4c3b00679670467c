"""What `mscope pack` shows: the arithmetic of one weight, a model's packing, a shape backwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from modelscope_cli.analysis.packing import Kept, ModelPacking, PackedRow, Reading, repeats
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import ModelFacts, Note, Shape, Unknown
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table
from modelscope_cli.reports.objects import with_unknowns
from modelscope_cli.schemes.base import Packing, Part
from modelscope_cli.titles import title
from modelscope_cli.units import counted, short_count

PART_KEYS = ("name", "shape", "dtype", "bytes")
TENSOR_KEYS = (
    "name", "scheme", "logical_shape", "logical_elements", "group", "packed_shape",
    "packed_dtype", "packed_bytes", "total_bytes", "bits_per_weight",
)  # fmt: skip
READING_KEYS = ("scheme", "weights", "shape", "note", "tensors")
_PART_COLUMNS = (
    Column("name", "name", "name"),
    Column("shape", "shape", "shape"),
    Column("dtype", "dtype", "word"),
    Column("bytes", "bytes", "bytes"),
    Column("size", "size", "size", rank=1),
)


Checked = tuple[str, Part | None, Part | None, str]  # name, ours, the library's, verdict


def of_shape(packing: Packing, check: Sequence[Checked] | None = None) -> Report:
    """One weight: the steps, the tensors, what they add up to. `check` is what --verify found."""
    sections: list[Section] = [
        Lines(packing.steps),
        Table(_PART_COLUMNS, _part_rows(packing.parts), total=_part_total(packing.parts)),
        Fields(_figures(packing)),
    ]
    differs = check is not None and any(row[-1] != "equal" for row in check)
    if check is not None:
        rows = [[name, _part_text(a), _part_text(b), verdict] for name, a, b, verdict in check]
        sections.append(Table(_CHECK_COLUMNS, rows, title="against bitsandbytes, quantizing now"))
    shape = "x".join(map(str, packing.logical_shape))
    return Report(
        "pack",
        None,
        f"{shape} packed as {packing.scheme}",
        lambda folded: sections,
        lambda: {**_packing_object(packing), **_check_object(check)},
        PART_KEYS,
        lambda: [part._asdict() for part in packing.parts],
        exit_code=1 if differs else 0,
    )


_CHECK_COLUMNS = (
    Column("name", "name", "name"),
    Column("ours", "formula"),
    Column("theirs", "library"),
    Column("verdict", "verdict", "word"),
)


def _part_text(part: Part | None) -> str:
    if part is None:
        return "none"
    return f"{part.dtype} [{', '.join(map(str, part.shape))}], {part.bytes:,} bytes"


def _check_object(check: Sequence[Checked] | None) -> dict[str, Any]:
    if check is None:
        return {}
    rows = [
        {
            "name": name,
            "ours": ours and ours._asdict(),
            "theirs": theirs and theirs._asdict(),
            "verdict": verdict,
        }
        for name, ours, theirs, verdict in check
    ]
    return {"verified": rows}


def _part_rows(parts: Sequence[Part]) -> list[list[Cell]]:
    return [[part.name, part.shape, part.dtype, part.bytes, part.bytes] for part in parts]


def _part_total(parts: Sequence[Part]) -> list[Cell]:
    total = sum(part.bytes for part in parts)
    return ["total", None, None, total, total]


def _figures(packing: Packing) -> list[tuple[str, Cell, str]]:
    return [
        ("weights", f"{packing.elements:,}", "text"),
        ("bits per weight", _bits(packing.bits_per_weight), "text"),
        ("overhead", _overhead(packing), "text"),
    ]


def _overhead(packing: Packing) -> str:
    if DTYPES[packing.packed.dtype].kind == "packed":
        return "the scales lie inside the blocks"
    overhead = packing.total_bytes - packing.packed.bytes
    share = f": {overhead / packing.total_bytes:.2%} of it" if packing.total_bytes else ""
    return f"{overhead:,} bytes of scales, zeros and maps{share}"


def _bits(bits: float | None) -> str:
    return "none: there are no weights" if bits is None else f"{bits:.5g}"


def _packing_object(packing: Packing) -> dict[str, Any]:
    return {
        "scheme": packing.scheme,
        "logical": {"shape": packing.logical_shape, "elements": packing.elements},
        "packed": _packed_object(packing.packed),
        "parts": [part._asdict() for part in packing.parts],
        "total_bytes": packing.total_bytes,
        "bits_per_weight": packing.bits_per_weight,
        "steps": list(packing.steps),
    }


def _packed_object(part: Part) -> dict[str, Any]:
    return {"shape": part.shape, "dtype": part.dtype, "bytes": part.bytes}


def of_model(
    facts: ModelFacts,
    packing: ModelPacking,
    scheme: str | None,
    notes: Sequence[Note],
    steps: Sequence[str] = (),
) -> Report:
    """A model's packed weights and those that stay. `scheme`: what it was packed with, to see."""
    names = [name for row in packing.packed for name in _names(facts, row)]
    heading = f"{title(facts)}, packed as {scheme}: an estimate" if scheme else title(facts)
    return Report(
        "pack",
        facts.ref,
        heading,
        lambda folded: _model_sections(facts, packing, steps),
        lambda: {
            "tensors": _tensor_objects(facts, packing),
            "unquantized": [_kept_object(kept) for kept in packing.kept],
            "totals": _totals_object(packing, len(names), scheme),
        },
        TENSOR_KEYS,
        lambda: map(_flat, _tensor_objects(facts, packing)),
        notes,
    )


def _names(facts: ModelFacts, row: PackedRow) -> list[str]:
    if isinstance(facts.tensors, Unknown):
        return []
    return [facts.tensors.names[index] for index in row.row.indices]


def _model_sections(
    facts: ModelFacts, packing: ModelPacking, steps: Sequence[str]
) -> list[Section]:
    columns = (
        Column("name", "packed", "name"),
        Column("count", "count", "times"),
        Column("scheme", "scheme", "word", rank=1),
        Column("logical", "stands for", "shape"),
        Column("stored", "stored", "shape", rank=3),
        Column("group", "group", "count", rank=4),
        Column("bits", "bits", "word", rank=2),
        Column("bytes", "bytes", "bytes", rank=5),
        Column("size", "size", "size"),
    )
    rows = [_packed_cells(row) for row in packing.packed]
    total = sum(row.total_bytes * len(row.row.indices) for row in packing.packed)
    tensors = sum(len(row.row.indices) for row in packing.packed)
    totals: list[Cell] = [f"total of {counted(tensors, 'weight')}", *[None] * 6, total, total]
    sections: list[Section] = [Table(columns, rows, total=totals)]
    if steps:
        sections.append(Lines(steps))
    if packing.kept:
        sections.append(_kept_table(packing.kept))
    return [*sections, Fields(_model_figures(packing))]


def _packed_cells(row: PackedRow) -> list[Cell]:
    count = len(row.row.indices)
    size = row.total_bytes * count
    bits = row.bits_per_weight
    return [
        row.row.name,
        count,
        row.scheme or None,
        row.logical_shape,
        row.parts[0].shape,
        row.group,
        None if bits is None else f"{bits:.5g}",
        size,
        size,
    ]


def _kept_table(kept: Sequence[Kept]) -> Table:
    reasons = any(each.reason for each in kept)
    columns = (
        Column("name", "not packed", "name"),
        Column("count", "count", "times"),
        Column("bytes", "bytes", "bytes", rank=1),
        Column("size", "size", "size"),
        *([Column("reason", "why")] if reasons else []),
    )
    rows = [
        [
            each.fact.row.name,
            len(each.fact.row.indices),
            each.fact.bytes,
            each.fact.bytes,
            *([each.reason] if reasons else []),
        ]
        for each in kept
    ]
    total = sum(each.fact.bytes for each in kept)
    tensors = sum(len(each.fact.row.indices) for each in kept)
    ending: list[Cell] = [f"total of {counted(tensors, 'tensor')}", None, total, total]
    return Table(columns, rows, total=[*ending, *([None] if reasons else [])])


def _model_figures(packing: ModelPacking) -> list[tuple[str, Cell, str]]:
    pairs: list[tuple[str, Cell, str]] = [
        ("parameters", _weights_text(packing.weights), "text"),
        ("stored", packing.stored_bytes, "size"),
        ("", packing.stored_bytes, "bytes"),
    ]
    if isinstance(packing.weights, int) and packing.weights:
        bits = packing.stored_bytes * 8 / packing.weights
        pairs.append(("bits per weight, all in all", f"{bits:.5g}", "text"))
    return pairs


def _weights_text(weights: int | Unknown) -> str:
    if isinstance(weights, Unknown):
        return f"unknown: {weights.reason}"
    return f"{weights:,} ({short_count(weights)})"


def _tensor_objects(facts: ModelFacts, packing: ModelPacking) -> Iterator[dict[str, Any]]:
    for row in packing.packed:
        for name in _names(facts, row):
            yield _tensor_object(name, row)


def _tensor_object(name: str, row: PackedRow) -> dict[str, Any]:
    shape = row.logical_shape
    hidden = isinstance(shape, Unknown)
    logical = shape if isinstance(shape, Unknown) else {"shape": shape, "elements": prod(shape)}
    return with_unknowns(
        {
            "name": name,
            "scheme": row.scheme or None,  # of what is not understood: what is declared, if any
            "group": row.group,
            "logical": logical,
            "packed": _packed_object(row.parts[0]),
            "parts": [part._asdict() for part in row.parts],
            "total_bytes": row.total_bytes,
            "bits_per_weight": shape if hidden else row.bits_per_weight,
            "steps": list(row.steps),
        }
    )


def _flat(tensor: Mapping[str, Any]) -> dict[str, Any]:
    logical = tensor["logical"] or {"shape": None, "elements": None}
    return {
        "name": tensor["name"],
        "scheme": tensor["scheme"],
        "logical_shape": logical["shape"],
        "logical_elements": logical["elements"],
        "group": tensor["group"],
        **{f"packed_{key}": value for key, value in tensor["packed"].items()},
        "total_bytes": tensor["total_bytes"],
        "bits_per_weight": tensor["bits_per_weight"],
        **_flat_unknown(tensor.get("unknown")),
    }


def _flat_unknown(reasons: Mapping[str, str] | None) -> dict[str, Any]:
    if reasons is None:
        return {}
    reason = reasons["logical"]
    fields = ("logical_shape", "logical_elements", "bits_per_weight")
    return {"unknown": dict.fromkeys(fields, reason)}


def _kept_object(kept: Kept) -> dict[str, Any]:
    return {
        "pattern": kept.fact.row.name,
        "count": len(kept.fact.row.indices),
        "bytes": kept.fact.bytes,
        "reason": kept.reason,
    }


def _totals_object(packing: ModelPacking, tensors: int, scheme: str | None) -> dict[str, Any]:
    return with_unknowns(
        {
            "packed_tensors": tensors,
            "parameters": packing.weights,
            "stored_bytes": packing.stored_bytes,
            "basis": "estimate" if scheme else "exact",
        }
    )


def of_stored(
    stored: Shape, dtype: str | None, readings: Sequence[Reading], facts: ModelFacts | None
) -> Report:
    """A stored shape backwards: how many weights it holds under each scheme."""
    columns = (
        Column("scheme", "scheme", "word"),
        Column("weights", "weights", "count"),
        Column("shape", "shape", "shape", rank=1),
        Column("note", "if"),
        *([Column("fits", "fits")] if facts is not None else []),
    )
    rows: list[list[Cell]] = [
        [
            reading.held.scheme,
            reading.held.weights,
            reading.held.shape,
            reading.held.note,
            *([_fits_text(reading)] if facts is not None else []),
        ]
        for reading in readings
    ]
    shown = "x".join(map(str, stored))
    of = f" of {dtype}" if dtype else ""
    return Report(
        "pack",
        facts.ref if facts is not None else None,
        f"what a stored [{', '.join(map(str, stored))}]{of} can hold",
        lambda folded: _stored_sections(columns, rows, readings, shown),
        lambda: {
            "stored": {"shape": stored, "dtype": dtype},
            "readings": [_reading_object(reading) for reading in readings],
        },
        READING_KEYS,
        lambda: map(_reading_object, readings),
        facts.notes if facts is not None else (),
    )


def _stored_sections(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    readings: Sequence[Reading],
    shown: str,
) -> list[Section]:
    if not rows:
        return [Lines([f"no scheme stores a weight as {shown}"])]
    found: dict[tuple[int, str], list[str]] = {}
    for reading in readings:
        if reading.fits:
            key = reading.held.weights, _fits_text(reading)
            found.setdefault(key, []).append(reading.held.scheme)
    lines = [
        f"{weights:,} weights = {fits} ({', '.join(dict.fromkeys(schemes))})"
        for (weights, fits), schemes in found.items()
    ]
    return [*([Lines(lines)] if lines else []), Table(columns, rows)]


def _fits_text(reading: Reading) -> str:
    """`768 tensors here: …w1.weight, …w2.weight of 8 experts x 32 layers`."""
    if not reading.fits:
        return "none"
    count = sum(len(fact.row.indices) for fact in reading.fits)
    by_repeat: dict[str, list[str]] = {}
    for fact in reading.fits:
        last = fact.row.name.rpartition("}.")[2]
        by_repeat.setdefault(repeats(fact), []).append(last.removesuffix(".weight"))
    words = [
        f"{', '.join(names)}{f' of {repeat}' if repeat else ''}"
        for repeat, names in by_repeat.items()
    ]
    return f"{counted(count, 'tensor')} here: {'; '.join(words)}"


def _reading_object(reading: Reading) -> dict[str, Any]:
    held = reading.held
    return {
        "scheme": held.scheme,
        "weights": held.weights,
        "shape": held.shape,
        "note": held.note,
        "tensors": [
            {"pattern": fact.row.name, "count": len(fact.row.indices)} for fact in reading.fits
        ],
    }
