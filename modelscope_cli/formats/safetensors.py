"""safetensors: tensors listed from the header, checked as the reference implementation does.

Layout: u64 little endian n, n bytes of JSON, then the data without holes. The rules are
those of safetensors 0.8 (`safetensors/src/tensor.rs`); only a name given twice is judged
more strictly. Here is the quick path; what it cannot vouch for goes to safetensors_strict.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate

from modelscope_cli.dtypes import SAFETENSORS
from modelscope_cli.errors import TruncatedFile
from modelscope_cli.facts import FileContents, FileFact, Shape, TensorTable
from modelscope_cli.formats.base import MAX_HEADER_BYTES, refuse_pointer
from modelscope_cli.formats.safetensors_header import (
    LENGTH_BYTES,
    MAX_USIZE,
    METADATA_KEY,
    Header,
    HeaderBeyondFile,
    HeaderNotUtf8,
    HeaderTooLarge,
    HeaderTooSmall,
    TrailingBytes,
)
from modelscope_cli.sources.base import OpenFile


def read(file: OpenFile) -> FileContents:
    """List one file's tensors in the order of its header, offsets from the file's start.

    Raises FormatError, named after the defect.
    """
    length = _header_length(file)
    data_start = LENGTH_BYTES + length
    text = _header_text(file, length)
    header = _quick(file.path, text, data_start) or _strict(file.path, text, data_start)
    _check_end(file, data_start + header.data_bytes)
    fact = FileFact(file.path, "safetensors", file.size, data_start, header.metadata)
    return FileContents(fact, header.tensors)


_PAGE = "it looks like an HTML page: download the file again"


_LOOKED_AT = 64  # bytes of what is no safetensors file


def _header_length(file: OpenFile) -> int:
    if file.size < LENGTH_BYTES:
        raise HeaderTooSmall(
            file.path, f"the file has {file.size} bytes, the header's length alone takes 8"
        )
    prefix = file.read_at(0, LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        refuse_pointer(file.path, file.read_at(0, min(file.size, _LOOKED_AT)))
        hint = _PAGE if prefix.startswith(b"<") else None
        what = f"the header claims {length:,} bytes, the limit is {MAX_HEADER_BYTES:,}"
        raise HeaderTooLarge(file.path, what, offset=0, hint=hint)
    if LENGTH_BYTES + length > file.size:
        what = f"the header claims {length:,} bytes, the file has {file.size - LENGTH_BYTES:,} more"
        raise HeaderBeyondFile(file.path, what, offset=0, hint="download the file again")
    return length


def _header_text(file: OpenFile, length: int) -> str:
    try:
        return file.read_at(LENGTH_BYTES, length).decode()
    except UnicodeDecodeError as error:
        offset = LENGTH_BYTES + error.start
        what = f"the header is not UTF-8: {error.reason}"
        raise HeaderNotUtf8(file.path, what, offset=offset) from None


def _check_end(file: OpenFile, end: int) -> None:
    if end > file.size:
        what = f"truncated: the tensors end at byte {end:,}, the file at {file.size:,}"
        raise TruncatedFile(file.path, what, hint="download the file again")
    if end < file.size:
        what = f"unused bytes after the last tensor: {file.size - end:,}"
        raise TrailingBytes(file.path, what, offset=end)


def _strict(path: str, text: str, data_start: int) -> Header:
    from modelscope_cli.formats import safetensors_strict

    return safetensors_strict.parse(path, text, data_start)


# The quick path reads the very text that the safetensors library writes: no spaces, fields in
# order, tensors in the order of their data. Each check is one C call over a column, so that
# reading 90,000 tensors takes little more than json.loads alone; the rest is the strict path's.

_ENTRY = re.compile(
    r'"([^"\\\x00-\x1f]*)":'
    r'\{"dtype":"([A-Z0-9_]+","shape":\[[0-9,]*)\],"data_offsets":\[([0-9]+),([0-9]+)\]\}'
    r'(?:,(?=")|\}\Z)'
)
_METADATA_START = '{"__metadata__":'
_raw_decode = json.JSONDecoder().raw_decode


class _Specs(dict[str, tuple[str, Shape, int, int]]):
    """`F32","shape":[2,3` -> dtype, shape, elements, bytes; computed once for each text."""

    def __missing__(self, text: str) -> tuple[str, Shape, int, int]:
        dtype, _, sizes = text.partition('","shape":[')
        shape: Shape = tuple(json.loads(f"[{sizes}]"))
        elements = 1
        for size in shape:
            elements *= size
            if elements > MAX_USIZE or size > MAX_USIZE:
                raise ValueError
        data_bytes = SAFETENSORS[dtype].size(elements)
        if data_bytes is None or data_bytes * 8 > MAX_USIZE:
            raise ValueError
        self[text] = spec = (dtype, shape, elements, data_bytes)
        return spec


def _quick(path: str, text: str, data_start: int) -> Header | None:
    """The header where its text is the library's own and nothing is wrong with it."""
    try:
        metadata, start = _quick_metadata(text)
        # Names, specs, starts and ends, with what lies between two entries before each name.
        parts = _ENTRY.split(text[start:].rstrip(" "))
        names = parts[1::5]
        if any(parts[::5]) or not _all_different(names):
            return None
        dtypes, shapes, elements, sizes = zip(*map(_Specs().__getitem__, parts[2::5]), strict=True)
    except (ValueError, KeyError, RecursionError):
        return None
    bounds = list(map(str, accumulate(sizes, initial=0)))
    if parts[3::5] != bounds[:-1] or parts[4::5] != bounds[1:]:
        return None
    table = TensorTable()
    table.names = names
    table.dtypes = list(dtypes)
    table.shapes = list(shapes)
    table.elements = list(elements)
    table.bytes = list(sizes)
    table.files = [path] * len(names)
    table.offsets = list(accumulate(sizes[:-1], initial=data_start))
    table.components = [None] * len(names)
    return Header(table, metadata, int(bounds[-1]))


def _all_different(names: list[str]) -> bool:
    distinct = set(names)
    return len(distinct) == len(names) and METADATA_KEY not in distinct


def _quick_metadata(text: str) -> tuple[dict[str, str], int]:
    """`__metadata__`, and where the first tensor's entry starts. Raises ValueError in doubt."""
    if not text.startswith(_METADATA_START):
        return {}, text.index("{", 0, 1) + 1
    start = len(_METADATA_START)
    metadata, end = _raw_decode(text, start)
    # Without escapes two quotes are one string, so a duplicate key cannot have been dropped.
    if (
        not isinstance(metadata, dict)
        or not all(isinstance(value, str) for value in metadata.values())
        or "\\" in text[start:end]
        or text.count('"', start, end) != 4 * len(metadata)
        or text[end : end + 1] != ","
    ):
        raise ValueError
    return metadata, end + 1
