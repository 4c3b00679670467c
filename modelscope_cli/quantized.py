"""What must be read beyond headers to see through packing: small values, and declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.errors import FormatError, NotFound
from modelscope_cli.facts import Note, TensorTable
from modelscope_cli.schemes import FAMILIES
from modelscope_cli.sources.base import Extent, Source

# Where quantization is declared when config.json does not.
QUANTIZATION_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
MAX_VALUE_BYTES = 65_536
_MAX_VALUES_BYTES = 64_000_000  # of all metadata tensors together
_VALUE_SUFFIXES = tuple(suffix for family in FAMILIES for suffix in family.values)
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")


def values(source: Source, table: TensorTable) -> dict[tuple[str | None, str], bytes]:
    """The bytes of metadata tensors that say what a packed weight stands for."""
    wanted = [index for index, name in enumerate(table.names) if name.endswith(_VALUE_SUFFIXES)]
    found: dict[tuple[str | None, str], bytes] = {}
    room = _MAX_VALUES_BYTES
    by_file: dict[str, list[int]] = {}
    for index in wanted:
        path, offset, size = table.files[index], table.offsets[index], table.bytes[index]
        # What is too large, by itself or with all before it, stays unread, and its weight unknown.
        if path is not None and offset is not None and size <= min(MAX_VALUE_BYTES, room):
            by_file.setdefault(path, []).append(index)
            room -= size
    if by_file:
        source.expect(_extents(table, by_file))
    for path, indices in by_file.items():
        with source.open(path) as file:
            for index in indices:
                value = file.read_at(table.offsets[index] or 0, table.bytes[index])
                found[table.components[index], table.names[index]] = value
    return found


def _extents(table: TensorTable, by_file: Mapping[str, list[int]]) -> list[Extent]:
    return [
        Extent(path, table.offsets[index] or 0, table.bytes[index])
        for path, indices in by_file.items()
        for index in indices
    ]


def declared(
    source: Source, names: Mapping[str, int], config: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """What the model's files say of its quantization."""
    there = [name for name in QUANTIZATION_FILES if name in names]
    if not there and not (config and _mentions_quantization(config)):
        return {}, ()
    from modelscope_cli.schemes import declared as reader  # few models say anything

    values: dict[str, Any] = {}
    notes: list[Note] = []
    for name in there:
        try:
            values[name] = _json(source, name)
        except (FormatError, NotFound) as error:  # a hint less; tensor names say as much
            notes.append(Note(f"{error.message}: it is ignored, tensor names decide", warning=True))
    found, remarks = reader.read(config, values)
    return found, (*notes, *remarks)


def _mentions_quantization(config: Mapping[str, Any]) -> bool:
    levels = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    return any(key in level for level in levels for key in _QUANTIZATION_KEYS)


def _json(source: Source, path: str) -> Any:
    from modelscope_cli.formats import config

    with source.open(path) as file:
        return config.read_value(file)
