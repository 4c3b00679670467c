"""What can be wrong with a GGUF file: one class a defect, named after it."""

from __future__ import annotations

from modelscope_cli.errors import FormatError


class NotGguf(FormatError):
    """The file does not start with the four bytes `GGUF`."""


class BigEndianFile(FormatError):
    """A GGUF file written for big-endian machines."""


class UnsupportedVersion(FormatError):
    """A version of GGUF that is too old or too new."""


class TooManyTensors(FormatError):
    """More tensors are claimed than any model has."""


class BadAlignment(FormatError):
    """general.alignment is no uint32, no power of two, or less than 8."""


class DuplicateTensor(FormatError):
    """A tensor's name is there twice, in a file or over the parts of a split set."""


class TooManyDimensions(FormatError):
    """A tensor of more than the four dimensions that ggml has."""


class UnknownTensorType(FormatError):
    """A ggml type that mscope does not know, or one that was removed."""


class PartialBlock(FormatError):
    """A tensor's rows do not fill whole quantization blocks."""


class MisalignedOffset(FormatError):
    """A tensor's offset is no multiple of the alignment."""


class SplitMismatch(FormatError):
    """The parts of a split set contradict each other."""


class HeaderTooLarge(FormatError):
    """The header goes on for more than 100,000,000 bytes."""


class TooManyKeys(FormatError):
    """The metadata claims more keys than any model has."""


class EmptyKey(FormatError):
    """A metadata key without a name."""


class DuplicateKey(FormatError):
    """A metadata key is there twice."""


class NameTooLong(FormatError):
    """A metadata key or a tensor's name is longer than 65,535 bytes."""


class StringTooLong(FormatError):
    """A string claims more bytes than a header may have."""


class InvalidUtf8(FormatError):
    """A key, a name or a string value is no valid UTF-8."""


class UnknownValueType(FormatError):
    """A metadata value of a type that GGUF does not have."""


class InvalidBool(FormatError):
    """A boolean that is neither 0 nor 1."""


class ArrayTooLong(FormatError):
    """An array claims more items than a header may hold."""


class NestingTooDeep(FormatError):
    """Arrays in arrays in arrays, deeper than any model has them."""


class TooManyArrays(FormatError):
    """More arrays inside arrays than any model has."""


class OffsetsOverlap(FormatError):
    """Two tensors share bytes."""


class OffsetsHole(FormatError):
    """Bytes that belong to no tensor and are no padding lie before a tensor."""


class TrailingBytes(FormatError):
    """Bytes that belong to no tensor and are no padding follow the last one."""
