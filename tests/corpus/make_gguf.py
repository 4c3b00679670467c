"""Write the GGUF corpus: good files, and one file or folder for each defect."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.builders.gguf import (
    ARRAY,
    BOOL,
    FLOAT32,
    INT32,
    STRING,
    UINT8,
    UINT64,
    Tensor,
    array,
    build,
    f32,
    head,
    inner_array,
    scalar,
    string,
    text,
    u16,
    u32,
)

HERE = Path(__file__).parent
NAME = {"general.architecture": text("llama")}
TWO = (f32("token_embd.weight", 8, 4), f32("output_norm.weight", 8))
GOOD_FILE = build(TWO, NAME)
HUGE = 2**60

# ggml's enum and block sizes (ggml.h, ggml-common.h): type, elements a block, bytes a block.
TYPES = (
    (0, 1, 4), (1, 1, 2), (2, 32, 18), (3, 32, 20), (6, 32, 22), (7, 32, 24), (8, 32, 34),
    (9, 32, 40), (10, 256, 84), (11, 256, 110), (12, 256, 144), (13, 256, 176), (14, 256, 210),
    (15, 256, 292), (16, 256, 66), (17, 256, 74), (18, 256, 98), (19, 256, 50), (20, 32, 18),
    (21, 256, 110), (22, 256, 82), (23, 256, 136), (24, 1, 1), (25, 1, 2), (26, 1, 4), (27, 1, 8),
    (28, 1, 8), (29, 256, 56), (30, 1, 2), (34, 256, 54), (35, 256, 66), (39, 32, 17),
    (40, 64, 36), (41, 128, 18),
)  # fmt: skip


def split_part(number: int, count: int, total: int, *tensors: Tensor, **others: bytes) -> bytes:
    """One part of a split set, its keys as gguf-split writes them."""
    metadata = {
        "split.no": u16(number),
        "split.count": u16(count),
        "split.tensors.count": scalar(INT32, total),
    }
    metadata.update({key.replace("_", "."): value for key, value in others.items()})
    return build(tensors, metadata)


def _parts(*parts: bytes) -> dict[str, bytes]:
    return {f"m-{number:05}-of-{len(parts):05}.gguf": data for number, data in enumerate(parts, 1)}


GOOD: dict[str, bytes | dict[str, bytes]] = {
    "v3.gguf": GOOD_FILE,
    "v2.gguf": build(TWO, NAME, version=2),
    "all-types.gguf": build(
        [Tensor(f"type.{kind}", (block, 2), kind, bytes(2 * size)) for kind, block, size in TYPES],
        NAME,
    ),
    "newest-type.gguf": build([Tensor("type.42", (64, 2), 42, bytes(36))], NAME),
    "all-values.gguf": build(
        (f32("a", 2),),
        {
            "u8": scalar(0, 255),
            "i8": scalar(1, -128),
            "u16": scalar(2, 65535),
            "i16": scalar(3, -32768),
            "u32": scalar(4, 2**32 - 1),
            "i32": scalar(5, -(2**31)),
            "f32": scalar(6, 0.5),
            "bool": scalar(7, 1),
            "string": text("kr\u00e4ftig \U0001f52c"),
            "u64": scalar(10, 2**64 - 1),
            "i64": scalar(11, -(2**63)),
            "f64": scalar(12, 0.1),
            "strings": array(STRING, ["<pad>", "<eos>", "", "\u2581the", "x" * 300]),
            "numbers": array(INT32, [1, -2, 3, 4]),
            "floats": array(FLOAT32, [0.5, -1000.0]),
            "bools": array(BOOL, [1, 0, 1]),
            "empty": array(STRING, []),
        },
    ),
    "nested-arrays.gguf": build(
        (f32("a", 2),),
        {
            "nested": array(ARRAY, [inner_array(INT32, [1, 2]), inner_array(STRING, ["a"])]),
            "after": u32(7),
        },
    ),
    "alignment-64.gguf": build(TWO, {"general.alignment": u32(64)}, alignment=64),
    "last-tensor-not-padded.gguf": build((f32("a", 3),), NAME, pad_last=False),
    "vocabulary-only.gguf": build((), NAME),
    "scalar-and-empty.gguf": build((f32("scalar"), f32("empty", 0, 4), f32("four", 1, 2, 1, 3))),
    "split": _parts(
        split_part(0, 2, 3, f32("a", 4), general_architecture=text("llama")),
        split_part(1, 2, 3, f32("b", 4), f32("c", 8)),
    ),
}


def _one(tensor: Tensor) -> bytes:
    return build((tensor,), NAME)


def _meta(**values: bytes) -> bytes:
    return build(TWO, {key.replace("_", "."): value for key, value in values.items()})


def _nested(depth: int) -> bytes:
    value = inner_array(UINT8, [1])
    for _ in range(depth - 1):
        value = inner_array(ARRAY, [value])
    return struct.pack("<I", ARRAY) + value


BAD: dict[str, bytes | dict[str, bytes]] = {
    "NotGguf--text": b"This is no model at all, only a line of text.\n",
    "NotGguf--empty": b"",
    "LfsPointer--alone": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "NotGguf--ggjt-of-2023": b"tjgg" + struct.pack("<I", 3) + bytes(64),
    "BigEndianFile--v3": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "BigEndianFile--reversed-magic": b"FUGG" + struct.pack(">IQQ", 3, 0, 0),
    "UnsupportedVersion--v1": b"GGUF" + struct.pack("<III", 1, 0, 0) + bytes(32),
    "UnsupportedVersion--v0": build(TWO, NAME, version=0),
    "UnsupportedVersion--v4": build(TWO, NAME, version=4),
    "TruncatedFile--in-the-front": GOOD_FILE[:17],
    "TruncatedFile--in-the-metadata": GOOD_FILE[:50],
    "TruncatedFile--in-the-tensor-infos": GOOD_FILE[:120],
    "TruncatedFile--before-the-data": GOOD_FILE[: len(GOOD_FILE) - 4 * 8 * 4 - 32],
    "TruncatedFile--in-the-data": GOOD_FILE[:-1],
    "TruncatedFile--keys-claimed": head(NAME, key_count=9),
    "TruncatedFile--tensors-claimed": head(NAME, tensor_count=9),
    "TruncatedFile--array-of-strings": build(
        (), {"tokenizer.ggml.tokens": array(STRING, ["a"] * 4, length=1_000_000)}
    ),
    "TruncatedFile--string-in-array": head(
        {"tokenizer.ggml.tokens": array(STRING, ["a", "b" * 100])}
    )[:-50],
    "TooManyKeys--2-to-60": head(key_count=HUGE) + bytes(64),
    "TooManyTensors--2-to-60": head(tensor_count=HUGE) + bytes(64),
    "EmptyKey--no-name": build(TWO, [("", u32(1))]),
    "DuplicateKey--architecture": build(TWO, [*NAME.items(), *NAME.items()]),
    "NameTooLong--key": head(key_count=1) + struct.pack("<Q", 65_536) + bytes(64),
    "NameTooLong--tensor": head(NAME, tensor_count=1) + struct.pack("<Q", HUGE) + bytes(64),
    "StringTooLong--value": _meta(x=u32(STRING)[4:] + struct.pack("<Q", HUGE)),
    "StringTooLong--in-array": _meta(x=array(STRING, [], length=1) + struct.pack("<Q", 2**64 - 1)),
    "InvalidUtf8--key": build(TWO, [(b"general.\xff", u32(1))]),
    "InvalidUtf8--value": _meta(general_name=text(b"a\xc0\xafb")),
    "InvalidUtf8--surrogate": _meta(general_name=text(b"\xed\xa0\x80")),
    "InvalidUtf8--tensor-name": _one(f32(b"blk.\xfe", 4)),
    "UnknownValueType--13": _meta(x=u32(13)[4:] + bytes(8)),
    "UnknownValueType--array-of-99": _meta(x=struct.pack("<IIQ", ARRAY, 99, 1) + bytes(8)),
    "InvalidBool--2": _meta(x=scalar(BOOL, 2)),
    "InvalidBool--in-array": _meta(x=array(BOOL, [0, 1, 255])),
    "ArrayTooLong--numbers": _meta(x=array(FLOAT32, [], length=2**62)),
    "ArrayTooLong--strings": _meta(x=array(STRING, [], length=2**64 - 1)),
    "NestingTooDeep--64-arrays": _meta(x=_nested(64)),
    "BadAlignment--zero": _meta(general_alignment=u32(0)),
    "BadAlignment--not-a-power-of-two": _meta(general_alignment=u32(24)),
    "BadAlignment--below-8": _meta(general_alignment=u32(4)),
    "BadAlignment--uint64": _meta(general_alignment=scalar(UINT64, 32)),
    "BadAlignment--string": _meta(general_alignment=text("32")),
    "MisalignedOffset--alignment-lies-upwards": build(TWO, {"general.alignment": u32(2**31)}),
    "TruncatedFile--alignment-lies-upwards": build(TWO[:1], {"general.alignment": u32(2**31)}),
    "OffsetsHole--alignment-lies-downwards": build(
        (f32("a", 2), f32("b", 2)), {"general.alignment": u32(8)}
    ),
    "DuplicateTensor--same-file": build((f32("a", 8), f32("a", 8)), NAME),
    "TooManyDimensions--five": _one(f32("a", 1, 1, 1, 1, 1)),
    "TooManyDimensions--2-to-32": head(NAME, tensor_count=1)
    + string("a")
    + struct.pack("<I", 2**32 - 1)
    + bytes(64),
    "UnknownTensorType--999": _one(Tensor("a", (32,), 999, bytes(32))),
    "UnknownTensorType--removed-q4-2": _one(Tensor("a", (32,), 4, bytes(32))),
    "PartialBlock--q4-0-of-33": _one(Tensor("a", (33, 2), 2, bytes(64))),
    "PartialBlock--rows-of-16": _one(Tensor("a", (16, 2), 2, bytes(32))),
    "PartialBlock--scalar-q8-0": _one(Tensor("a", (), 8, bytes(34))),
    "ShapeOverflow--product": _one(Tensor("a", (2**32, 2**32), 0, bytes(32))),
    "ShapeOverflow--wraps-to-small": _one(Tensor("a", (4, 2**30 - 1, 2**30 + 1, 2**32), 0, b"")),
    "ShapeOverflow--beside-a-zero": _one(Tensor("a", (2**64 - 1, 0), 0, b"")),
    "MisalignedOffset--by-4": build((f32("a", 8), f32("b", 8, offset=36)), NAME),
    "OffsetsOverlap--same-bytes": build((f32("a", 8), f32("b", 8, offset=0)), NAME),
    "OffsetsHole--between": build((f32("a", 8), f32("b", 8, offset=96)), NAME) + bytes(64),
    "OffsetsHole--before-the-first": build((f32("a", 8, offset=64),), NAME) + bytes(64),
    "OffsetsHole--2-to-63": build((f32("a", 8, offset=2**63),), NAME),
    "TruncatedFile--wrapping-size": _one(Tensor("a", (2**31, 2**31), 0, bytes(32))),
    "TrailingBytes--a-second-file": GOOD_FILE + GOOD_FILE,
    "TrailingBytes--after-no-tensors": build((), NAME, tail=b"smuggled"),
    "SplitMismatch--wrong-number": _parts(
        split_part(0, 2, 2, f32("a", 4)), split_part(0, 2, 2, f32("b", 4))
    ),
    "SplitMismatch--wrong-count": _parts(
        split_part(0, 3, 2, f32("a", 4)), split_part(1, 3, 2, f32("b", 4))
    ),
    "SplitMismatch--wrong-tensor-count": _parts(
        split_part(0, 2, 3, f32("a", 4)), split_part(1, 2, 3, f32("b", 4))
    ),
    "SplitMismatch--one-part-without-a-number": _parts(
        split_part(0, 2, 2, f32("a", 4)), build((f32("b", 4),), NAME)
    ),
    "DuplicateTensor--over-parts": _parts(
        split_part(0, 2, 2, f32("a", 4)), split_part(1, 2, 2, f32("a", 4))
    ),
    "MissingShard--second-of-two": {
        "m-00001-of-00002.gguf": split_part(0, 2, 2, f32("a", 4)),
    },
}


def files() -> dict[Path, bytes]:
    """Every file of the corpus by its path, relative to the corpus."""
    found = {}
    for folder, cases in (("good", GOOD), ("bad", BAD)):
        for name, content in cases.items():
            place = Path(folder, "gguf", name)
            if isinstance(content, dict):
                found.update({place / inner: data for inner, data in content.items()})
            else:
                found[place if place.suffix == ".gguf" else Path(f"{place}.gguf")] = content
    return found


def main() -> None:
    """Write the files where they are committed."""
    for path, data in files().items():
        target = HERE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


if __name__ == "__main__":
    main()
