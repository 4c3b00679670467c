"""The footprint as a JSON document and as flat records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.row import Row, weakest
from modelscope_cli.analysis.memory.weights.amounts import Left
from modelscope_cli.facts import Unknown
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.reports.objects import with_unknowns

if TYPE_CHECKING:  # what takes cards, training or the library to be there
    from modelscope_cli.analysis.memory.cards.on_cards import Device
    from modelscope_cli.analysis.memory.training.step import Training
    from modelscope_cli.comparing import Compared
    from modelscope_cli.footprint.cards import OnCards

RECORD_KEYS = (
    "bits", "method", "weights", "quantization", "buffers", "kv_cache", "activations",
    "load_bytes", "load_basis", "total_bytes", "total_basis", "card_bytes", "card_basis",
)  # fmt: skip


def document(found: Footprint) -> Mapping[str, Any]:
    """The row on top, all rows, and what the library says of the first."""
    counts = {"total": found.parameters.parameters, "active": found.parameters.active_parameters}
    code = {} if found.code is None else {"code": found.code}
    compared = {"exact": found.exact, "measured": found.measured}
    made = [_row(found, at) for at in range(len(found.rows))]
    return {
        **made[0],
        "rows": made,
        "parameters": with_unknowns(counts),
        "context_limit": found.limit,
        **with_unknowns(code),
        **{key: _compared(each) for key, each in compared.items() if each is not None},
    }


def records(found: Footprint) -> Iterator[Mapping[str, Any]]:
    """One a row."""
    for row in found.rows:
        yield with_unknowns(
            {
                "bits": row.mode.bits,
                "method": row.method,
                **{part.part: part.bytes for part in row.parts},
                **_sums(row, found),
            }
        )


def card_bytes(row: Row, found: Footprint) -> int | Unknown:
    """What a fit is judged by: the cache at its peak, and the runtime's share of every card."""
    peak = row.peak_bytes()
    return peak if isinstance(peak, Unknown) else peak + found.runtime * found.cards


def _row(found: Footprint, at: int) -> dict[str, Any]:
    row = found.rows[at]
    on_cards = found.on_cards[at] if found.on_cards else None
    return with_unknowns(
        {
            "bits": row.mode.bits,
            "method": row.method,
            **({"file": row.file} if row.file is not None else {}),
            "basis": row.total_basis,
            "request": _request(found, row),
            "parts": [_part(part) for part in row.parts],
            **_sums(row, found),
            **row.bounds(),
            "runtime_bytes": found.runtime,
            "quantized": with_unknowns({"modules": row.modules, "parameters": row.parameters}),
            "unquantized": [_left(each) for each in row.left],
            "kv_cache": _cache(row.cache),
            "alternatives": [
                {"transformers": release, "load_bytes": size} for release, size in row.alternatives
            ],
            **({} if on_cards is None else _on_cards(on_cards)),
        }
    )


def _part(part: Part) -> dict[str, Any]:
    """One part; of one that is not known as a whole, what is known of it."""
    made = with_unknowns(part._asdict())
    at_least = made.pop("at_least")
    return {**made, "at_least_bytes": at_least} if part.least and "unknown" in made else made


def _sums(row: Row, found: Footprint) -> dict[str, Any]:
    """The three sums and what each rests on: that of its weakest part."""
    card = weakest([row.total_basis, *(["assumption"] if found.runtime else [])])
    return {
        "load_bytes": row.load_bytes,
        "load_basis": row.load_basis,
        "total_bytes": row.total_bytes,
        "total_basis": row.total_basis,
        "card_bytes": card_bytes(row, found),
        "card_basis": card,
    }


def _request(found: Footprint, row: Row) -> dict[str, Any]:
    work = found.work
    return {
        "bits": row.mode.bits,
        "quant": row.mode.scheme,
        "double_quant": row.mode.double_quant,
        "dtype": row.dtype,
        "batch": work.batch,
        "context": work.context,
        "encoder_context": work.encoder_context,
        "kv_dtype": row.kv_dtype or work.kv_dtype or row.dtype,
        "transformers": row.mode.transformers,
        **_training(work.training),
        "gpus": found.on_cards[0].cards.name if found.on_cards else None,
    }


def _training(asked: Training | None) -> dict[str, Any]:
    if asked is None:
        return {}
    return {
        "train": asked.kind,
        "optimizer": asked.optimizer,
        "gradient_checkpointing": asked.checkpointing,
        "lora_rank": asked.rank if asked.kind == "lora" else None,
        "lora_targets": list(asked.targets) if asked.kind == "lora" else None,
    }


def _on_cards(on_cards: OnCards) -> dict[str, Any]:
    devices = on_cards.devices
    return {
        "fits": on_cards.fits,
        "devices": devices
        if isinstance(devices, Unknown)
        else [_device(device) for device in devices],
        **({"refused": on_cards.refused} if on_cards.refused else {}),
        **({"smallest_request": on_cards.request} if on_cards.request else {}),
    }


def _device(device: Device) -> dict[str, Any]:
    return {**device._asdict(), "modules": list(device.modules)}


def _left(left: Left) -> dict[str, Any]:
    return {
        "pattern": left.pattern,
        "count": left.times,
        "bytes": left.bytes,
        "reason": left.reason,
    }


def _cache(cache: KVCache | Unknown) -> dict[str, Any]:
    if isinstance(cache, Unknown):
        keys = ("bytes", "peak_bytes", "bytes_per_token", "paged_bytes")
        return with_unknowns({**dict.fromkeys(keys, cache), "layers": []})
    return {
        "bytes": cache.bytes,
        "peak_bytes": cache.peak_bytes,
        "bytes_per_token": cache.bytes_per_token,
        "paged_bytes": cache.paged_bytes,
        "basis": cache.basis,
        "layers": [layer._asdict() for layer in cache.layers],
    }


def _compared(compared: Compared) -> dict[str, Any]:
    """What the library has of each part, and where that is not what was predicted."""
    return {
        "class": compared.class_name,
        "parts": [
            with_unknowns({"part": part, "bytes": size}) for part, size in compared.parts.items()
        ],
        "differences": [with_unknowns(each._asdict()) for each in compared.differences],
        "notes": list(compared.notes),
        **compared.more,
    }
