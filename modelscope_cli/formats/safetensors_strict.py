"""The careful reading of a safetensors header: serde's rules one by one, each defect worded.

Reached only where the quick path of `safetensors` has doubts. The reference reads each
tensor's entry through serde's derived code, which takes more spellings than the format's
page shows: unknown fields, an entry as a list, a dtype as `{"F32": null}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from modelscope_cli.dtypes import SAFETENSORS
from modelscope_cli.facts import Shape, TensorTable
from modelscope_cli.formats import safetensors_header as st
from modelscope_cli.formats.base import ShapeOverflow

MAX_DEPTH = 127  # serde_json refuses the 128th nested array or object
_MAX_DIGITS = 400  # an integer of more digits is beyond a double
# serde_json refuses what a double cannot hold, and its arithmetic overflows a few units early.
_MAX_FLOAT = 1.797693134862315e308
_FIELDS = ("dtype", "shape", "data_offsets")


class Entry(NamedTuple):
    """One tensor as the header claims it; `start` and `end` count from the data's start."""

    name: str
    dtype: str
    shape: Shape
    start: int
    end: int


def parse(path: str, text: str, data_start: int) -> st.Header:
    """The checked header. Raises FormatError, named after the defect."""
    document = _document(path, text)
    metadata = _metadata(path, document.pop(st.METADATA_KEY, None))
    entries = [_entry(path, name, raw) for name, raw in document.items()]
    sizes = [_size(path, entry) for entry in entries]
    end = _check_places(path, entries, data_start)
    table = TensorTable()
    for entry, (elements, size) in zip(entries, sizes, strict=True):
        offset = data_start + entry.start
        table.append(entry.name, entry.dtype, entry.shape, elements, size, path, offset)
    return st.Header(table, metadata, end)


# JSON as serde_json reads it.


class _NoSuchNumber(Exception):
    """A number that serde_json refuses, and why."""


def _document(path: str, text: str) -> dict[str, Any]:
    twice: list[tuple[dict[str, Any], str]] = []

    def pairs_to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice.append((found, _first_duplicate(pairs)))
        return found

    document = _decode(path, text, pairs_to_dict)
    if not isinstance(document, dict):
        raise st.HeaderNotAnObject(path, f"the header is {_kind(document)}, not an object")
    for found, key in reversed(twice):  # the header's own object was closed last
        if found is document and key != st.METADATA_KEY:
            raise st.DuplicateTensor(path, "is in the header twice", tensor=key)
        raise st.DuplicateKey(path, f"the key {key!r} is in one object twice")
    _check_depth(path, document)
    if "\\u" in text:
        _check_surrogates(path, document)
    return document


def _decode(path: str, text: str, pairs_to_dict: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    decoder = json.JSONDecoder(
        object_pairs_hook=pairs_to_dict,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_constant,
    )
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        offset = st.LENGTH_BYTES + len(text[: error.pos].encode())
        what = f"the header is not JSON: {error.msg.removesuffix(' at')}"
        raise st.HeaderNotJson(path, what, offset=offset) from None
    except _NoSuchNumber as error:
        raise st.HeaderNotJson(path, f"the header is not JSON: {error}") from None
    except RecursionError:
        _too_deep(path)


def _first_duplicate(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return key


def _integer(text: str) -> int | float:
    """As serde_json: -0 and whatever 64 bits do not hold are floats."""
    if len(text) > _MAX_DIGITS:
        raise _NoSuchNumber(f"a number of {len(text):,} digits is out of range")
    value = int(text)
    if text == "-0" or not -(2**63) <= value <= st.MAX_USIZE:
        return _float(text)
    return value


def _float(text: str) -> float:
    value = float(text)
    if abs(value) > _MAX_FLOAT:
        raise _NoSuchNumber("a number is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise _NoSuchNumber(f"{text} is no JSON number")


def _too_deep(path: str) -> NoReturn:
    raise st.HeaderTooDeep(path, f"the header is nested deeper than {MAX_DEPTH} levels")


def _check_depth(path: str, document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    if any(isinstance(value, dict | list) for value in level):
        _too_deep(path)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_surrogates(path: str, document: dict[str, Any]) -> None:
    """JSON's escapes can spell half a character, which no UTF-8 can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        what = f"the header is not JSON: a string holds the lone surrogate \\u{half:04x}"
        raise st.HeaderNotJson(path, what) from None


# Metadata and entries as serde's derived code reads them.


def _metadata(path: str, raw: Any) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        what = f"{st.METADATA_KEY} is {_kind(raw)}, not an object"
        raise st.InvalidMetadata(path, what)
    for key, value in raw.items():
        if not isinstance(value, str):
            what = f"{st.METADATA_KEY} holds {_kind(value)} under {key!r}, not a string"
            raise st.InvalidMetadata(path, what)
    return dict(raw)


def _entry(path: str, name: str, raw: Any) -> Entry:
    dtype, shape, offsets = _three(path, name, raw)
    dtype = _dtype(path, name, dtype)
    if not _are_usizes(shape):
        what = f"shape is {_sketch(shape)}, not a list of unsigned 64-bit integers"
        raise st.InvalidShape(path, what, tensor=name)
    if not _are_usizes(offsets) or len(offsets) != 2:
        what = f"data_offsets is {_sketch(offsets)}, not two unsigned 64-bit integers"
        raise st.InvalidOffsets(path, what, tensor=name)
    return Entry(name, dtype, tuple(shape), *offsets)


def _three(path: str, name: str, raw: Any) -> Iterable[Any]:
    if isinstance(raw, dict):
        for field in _FIELDS:
            if field not in raw:
                raise st.MissingField(path, f"{field} is missing", tensor=name)
        return (raw[field] for field in _FIELDS)
    if isinstance(raw, list) and len(raw) == len(_FIELDS):
        return raw
    what = f"is {_sketch(raw)}, not an object of dtype, shape and data_offsets"
    raise st.InvalidTensorEntry(path, what, tensor=name)


def _dtype(path: str, name: str, raw: Any) -> str:
    if isinstance(raw, dict) and len(raw) == 1:
        [(key, value)] = raw.items()
        raw = key if value is None else raw
    if not isinstance(raw, str):
        raise st.InvalidTensorEntry(path, f"dtype is {_kind(raw)}, not a string", tensor=name)
    if raw not in SAFETENSORS:
        raise st.UnknownDtype(path, f"safetensors has no dtype {raw!r}", tensor=name)
    return raw


def _are_usizes(raw: Any) -> bool:
    # By type: a bool is an int to Python.
    return isinstance(raw, list) and all(type(value) is int and value >= 0 for value in raw)


def _size(path: str, entry: Entry) -> tuple[int, int]:
    """Elements and bytes; the product may not overflow, not even on its way to 0."""
    elements = 1
    for size in entry.shape:
        elements *= size
        if elements > st.MAX_USIZE:
            what = f"shape {_sketch(list(entry.shape))} has more than 2^64 elements"
            raise ShapeOverflow(path, what, tensor=entry.name)
    dtype = SAFETENSORS[entry.dtype]
    if elements * dtype.bits > st.MAX_USIZE:
        what = f"shape {_sketch(list(entry.shape))} of {dtype.name} has more than 2^64 bits"
        raise ShapeOverflow(path, what, tensor=entry.name)
    size_bytes = _whole_bytes(path, entry, elements)
    if entry.end - entry.start == size_bytes or entry.end < entry.start:
        return elements, size_bytes
    what = (
        f"shape {_sketch(list(entry.shape))} of {dtype.name} takes {size_bytes:,} bytes, "
        f"data_offsets give {entry.end - entry.start:,}"
    )
    raise st.SizeMismatch(path, what, tensor=entry.name)


def _whole_bytes(path: str, entry: Entry, elements: int) -> int:
    bits = round(SAFETENSORS[entry.dtype].bits)
    if elements * bits % 8:
        what = f"{elements:,} elements of {bits} bits ({entry.dtype}) do not fill whole bytes"
        raise st.MisalignedSlice(path, what, tensor=entry.name)
    return elements * bits // 8


def _check_places(path: str, entries: list[Entry], data_start: int) -> int:
    """Where the data ends. Tensors follow each other without holes, in any header order."""
    end = 0
    last = "the header"
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.end < entry.start:
            what = f"data_offsets {entry.start:,} to {entry.end:,} run backwards"
            raise st.OffsetsReversed(path, what, tensor=entry.name)
        if entry.start > end:
            what = f"unused bytes between {last!r} and it: {entry.start - end:,}"
            raise st.OffsetsHole(path, what, offset=data_start + end, tensor=entry.name)
        if entry.start < end:
            what = f"bytes shared with {last!r}: {end - entry.start:,}"
            offset = data_start + entry.start
            raise st.OffsetsOverlap(path, what, offset=offset, tensor=entry.name)
        end, last = entry.end, entry.name
    return end


# Words for what was found.

_KINDS = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "a number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "an object"),
)
_SHOWN = 8


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def _sketch(value: Any) -> str:
    """A short list of numbers as it is, anything else by its kind."""
    if not isinstance(value, list):
        return _kind(value)
    shown = [item if isinstance(item, int | float) else _kind(item) for item in value[:_SHOWN]]
    return json.dumps(shown)[:-1].replace('"', "") + (", ...]" if len(value) > _SHOWN else "]")
