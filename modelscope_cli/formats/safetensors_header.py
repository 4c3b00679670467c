"""What both readings of a safetensors header share: its checked form, and each defect's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.facts import TensorTable

LENGTH_BYTES = 8
METADATA_KEY = "__metadata__"
MAX_USIZE = 2**64 - 1  # the reference counts elements and bits in a 64-bit usize


class HeaderTooSmall(FormatError):
    """The file has not even the 8 bytes of the header's length."""


class HeaderTooLarge(FormatError):
    """The header claims more than 100,000,000 bytes."""


class HeaderBeyondFile(TruncatedFile):
    """The file ends before its header does."""


class HeaderNotUtf8(FormatError):
    """The header is no valid UTF-8."""


class HeaderNotJson(FormatError):
    """The header is no valid JSON."""


class HeaderTooDeep(FormatError):
    """The header's JSON is nested deeper than the reference reads."""


class HeaderNotAnObject(FormatError):
    """The header is JSON, but no object."""


class DuplicateTensor(FormatError):
    """A tensor name is there twice."""


class DuplicateKey(FormatError):
    """A key is there twice: `__metadata__`, or one within it or within a tensor's entry."""


class InvalidMetadata(FormatError):
    """`__metadata__` is neither null nor an object of strings."""


class InvalidTensorEntry(FormatError):
    """A tensor's entry is no object of dtype, shape and data_offsets."""


class MissingField(InvalidTensorEntry):
    """A tensor's entry lacks its dtype, shape or data_offsets."""


class UnknownDtype(FormatError):
    """A dtype that safetensors does not have."""


class InvalidShape(FormatError):
    """A shape that is no list of unsigned 64-bit integers."""


class InvalidOffsets(FormatError):
    """data_offsets that are no pair of unsigned 64-bit integers."""


class MisalignedSlice(FormatError):
    """A tensor of a sub-byte dtype that does not end at a byte."""


class SizeMismatch(FormatError):
    """Shape and dtype ask for another number of bytes than data_offsets give."""


class OffsetsReversed(FormatError):
    """A tensor ends before it begins."""


class OffsetsOverlap(FormatError):
    """Two tensors share bytes."""


class OffsetsHole(FormatError):
    """Bytes that belong to no tensor lie between two tensors."""


class TrailingBytes(FormatError):
    """Bytes that belong to no tensor follow the last one."""


class Header(NamedTuple):
    """A checked header; `data_bytes` is where the last tensor ends, counted from the data."""

    tensors: TensorTable
    metadata: Mapping[str, str]
    data_bytes: int
