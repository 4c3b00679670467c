"""GGUF v2 and v3: tensors and typed metadata from the header, as ggml's own reader checks it.

Layout, all little endian: "GGUF", version, counts, metadata, tensor infos, padding, data.
The rules are those of ggml's `gguf.cpp` and `docs/gguf.md`; what is stricter or milder than
ggml says so where it is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from modelscope_cli.dtypes import GGML, DType
from modelscope_cli.facts import FileContents, FileFact, Note, Shape, TensorTable
from modelscope_cli.formats.base import (
    MAX_ELEMENTS,
    MAX_NAME_BYTES,
    ShapeOverflow,
    checked_elements,
    refuse_pointer,
)
from modelscope_cli.formats.gguf_errors import (
    BadAlignment,
    BigEndianFile,
    DuplicateTensor,
    MisalignedOffset,
    NotGguf,
    PartialBlock,
    SplitMismatch,
    TooManyDimensions,
    TooManyTensors,
    UnknownTensorType,
    UnsupportedVersion,
)
from modelscope_cli.formats.gguf_layout import check_layout, padded
from modelscope_cli.formats.gguf_metadata import Header, read_metadata

if TYPE_CHECKING:
    from modelscope_cli.sources.base import OpenFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS = 2**18  # the largest published models have a third of that, unmerged
GGML_MAX_DIMENSIONS = 4
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32

# ggml types that were taken out of the format; files of 2023 and 2024 still have them.
REMOVED_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
_MISTAKEN_FOR: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    (b"PK\x03\x04", "it is a zip archive: if torch.save wrote it, name it .bin or .pt"),
    (b"<", "it looks like an HTML page: download the file again"),
    ((b"lmgg", b"fmgg", b"tjgg"), "it is a GGML file of before August 2023: convert it again"),
)
_FRONT = Struct("<4sIQQ")
_U32 = Struct("<I")
# dimensions, ggml type and offset, by the number of dimensions
_INFOS = tuple(Struct(f"<{count}QIQ") for count in range(GGML_MAX_DIMENSIONS + 1))


class _Front(NamedTuple):
    """The first 24 bytes, checked."""

    tensor_count: int
    key_count: int


class _Info(NamedTuple):
    """One tensor as its info says; `offset` counts from the start of the data."""

    name: str
    dtype: DType
    shape: Shape
    elements: int
    size: int
    offset: int


def read(file: OpenFile) -> FileContents:
    """List one file's tensors in the order of its header, offsets from the file's start.

    Shapes are in torch order, the reverse of ggml's. Raises FormatError, named after the
    defect. What is no contradiction in the file, only unusual, is a note.
    """
    header = Header(file)
    front = _front(header)
    metadata, at = read_metadata(header, front.key_count, _FRONT.size)
    alignment = _alignment(header, metadata)
    table, from_data, at = _tensors(header, front.tensor_count, at, alignment)
    data_start = padded(at, alignment)
    offsets = [data_start + offset for offset in from_data]
    table.offsets[:] = offsets
    notes = check_layout(file, table, offsets, data_start, alignment)
    fact = FileFact(file.path, "gguf", file.size, min(data_start, file.size), metadata)
    return FileContents(fact, table, notes)


def _front(header: Header) -> _Front:
    path = header.file.path
    if header.data.startswith(MAGIC[::-1]):
        _refuse_big_endian(path, 0)
    if not header.data.startswith(MAGIC):
        refuse_pointer(path, header.data)
        start = header.data[:8]
        hint = next((text for magic, text in _MISTAKEN_FOR if start.startswith(magic)), None)
        raise NotGguf(path, f"no GGUF file: it starts with {start[:4]!r}", offset=0, hint=hint)
    header.need(_FRONT.size)
    _, version, tensors, keys = _FRONT.unpack_from(header.data)
    if version & 0xFFFF == 0 and version:
        _refuse_big_endian(path, 4)
    if version not in VERSIONS:
        what = f"a GGUF file of version {version}; mscope reads 2 and 3"
        hint = "convert the original model again" if version < VERSIONS[0] else None
        raise UnsupportedVersion(path, what, offset=4, hint=hint)
    if tensors > MAX_TENSORS:
        what = f"the header claims {tensors:,} tensors, the limit is {MAX_TENSORS:,}"
        raise TooManyTensors(path, what, offset=8)
    return _Front(tensors, keys)


def _refuse_big_endian(path: str, at: int) -> NoReturn:
    what = "a big-endian GGUF file, which mscope does not read"
    raise BigEndianFile(path, what, offset=at, hint="gguf-convert-endian rewrites it")


def _alignment(header: Header, metadata: Mapping[str, Any]) -> int:
    """Return the alignment of the data; the docs ask for a multiple of 8, ggml for 2**n."""
    if ALIGNMENT not in metadata:
        return DEFAULT_ALIGNMENT
    if (kind := header.types[ALIGNMENT]) != "uint32":
        raise BadAlignment(header.file.path, f"{ALIGNMENT} is of type {kind}, not uint32")
    alignment: int = metadata[ALIGNMENT]
    if alignment < 8 or alignment & (alignment - 1):
        what = f"{ALIGNMENT} is {alignment:,}, not a power of two from 8 on"
        raise BadAlignment(header.file.path, what)
    return alignment


def _tensors(
    header: Header, count: int, at: int, alignment: int
) -> tuple[TensorTable, list[int], int]:
    """Read the infos from `at` on: the table, the offsets from the data's start, and the end."""
    path = header.file.path
    table = TensorTable()
    seen = set()
    offsets = []
    for number in range(count):
        start = at
        info, at = _info(header, number, start)
        if info.name in seen:
            what = "this name is there twice"
            raise DuplicateTensor(path, what, offset=start, tensor=info.name)
        seen.add(info.name)
        if info.offset % alignment:
            what = f"its offset {info.offset:,} is no multiple of the alignment {alignment}"
            raise MisalignedOffset(path, what, offset=start, tensor=info.name)
        offsets.append(info.offset)
        table.append(info.name, info.dtype.name, info.shape, info.elements, info.size, path, None)
    return table, offsets, at


def _info(header: Header, number: int, start: int) -> tuple[_Info, int]:
    path = header.file.path
    # ggml stops at 63 bytes, its offspring at 127 or more: not our limit to keep.
    name, at = header.text(start, f"the name of tensor {number}", MAX_NAME_BYTES)
    header.need(at + 4)
    (dimensions,) = _U32.unpack_from(header.data, at)
    if dimensions > GGML_MAX_DIMENSIONS:
        what = f"{dimensions:,} dimensions, ggml has at most {GGML_MAX_DIMENSIONS}"
        raise TooManyDimensions(path, what, offset=at, tensor=name)
    layout = _INFOS[dimensions]
    at += 4
    end = at + layout.size
    header.need(end)
    *sizes, kind, offset = layout.unpack_from(header.data, at)
    dtype = GGML.get(kind)
    if dtype is None:
        _refuse_type(path, kind, name, end - 12)
    shape = tuple(sizes[::-1])
    elements, size = _sizes(path, name, dtype, shape)
    return _Info(name, dtype, shape, elements, size, offset), end


def _refuse_type(path: str, kind: int, name: str, at: int) -> NoReturn:
    if kind in REMOVED_TYPES:
        what = f"type {REMOVED_TYPES[kind]}, which was removed from GGUF"
    else:
        what = f"ggml type {kind:,}, which mscope does not know"
    raise UnknownTensorType(path, what, offset=at, tensor=name)


def _sizes(path: str, name: str, dtype: DType, shape: Shape) -> tuple[int, int]:
    """Elements and bytes. Each row fills whole blocks, so the whole does."""
    elements = checked_elements(path, name, shape)
    if elements == 0 and max(shape) > MAX_ELEMENTS:
        raise ShapeOverflow(path, f"shape {list(shape)} has too large a dimension", tensor=name)
    row = shape[-1] if shape else 1
    size = dtype.size(elements)
    if size is None or row % dtype.block_elements:
        what = f"its rows of {row:,} do not fill {dtype.name} blocks of {dtype.block_elements}"
        raise PartialBlock(path, what, tensor=name)
    return elements, size


def check_split(parts: Sequence[FileContents]) -> tuple[Note, ...]:
    """Check that `parts`, in the order of their names, are one split set.

    llama.cpp's rules: every part bears its number and the count of parts, no tensor is in
    two of them, and together they have as many as the first part says. Raises SplitMismatch
    or DuplicateTensor.
    """
    if not any("split.count" in part.fact.metadata for part in parts):
        text = "the parts are named like a split set but do not say so; llama.cpp reads the first"
        return (Note(text, warning=True),)
    for number, part in enumerate(parts):
        _require(part, "split.count", len(parts))
        _require(part, "split.no", number)
    _check_split_tensors(parts)
    return ()


def _require(part: FileContents, key: str, expected: int) -> None:
    value = part.fact.metadata.get(key)
    if value is None:
        raise SplitMismatch(part.fact.path, f"{key} is missing, it should be {expected}")
    if type(value) is not int or value != expected:
        raise SplitMismatch(part.fact.path, f"{key} is {value!r}, it should be {expected}")


def _check_split_tensors(parts: Sequence[FileContents]) -> None:
    homes: dict[str, str] = {}
    for part in parts:
        for name in part.tensors.names:
            if name in homes:
                what = f"it is in {homes[name]} too"
                raise DuplicateTensor(part.fact.path, what, tensor=name)
            homes[name] = part.fact.path
    if "split.tensors.count" in parts[0].fact.metadata:
        _require(parts[0], "split.tensors.count", len(homes))
