"""Write the safetensors corpus: good files, and one file or folder for each defect."""

from __future__ import annotations

import json
from pathlib import Path

from tests.builders.safetensors import (
    BITS,
    Tensor,
    build,
    compact,
    entries,
    entry,
    framed,
    index,
)

HERE = Path(__file__).parent
INDEX = "model.safetensors.index.json"
EIGHT = bytes(8)
TWO = (Tensor("a"), Tensor("b"))
TWO_ENTRIES = entries(TWO)
HEADER = compact({"a": entry()})
GOOD_FILE = build(TWO, {"format": "pt"})
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS = {FIRST: build([Tensor("a")]), SECOND: build([Tensor("b")])}
WEIGHT_MAP = {"a": FIRST, "b": SECOND}


def _one(raw: str, data: bytes = EIGHT) -> bytes:
    """A file whose only tensor, `a`, has this JSON for an entry."""
    return framed(f'{{"a":{raw}}}', data)


def _with(field: str, data: bytes = EIGHT) -> bytes:
    """A file whose only tensor has one more field."""
    return _one(f"{HEADER[5:-2]},{field}}}", data)


def _shape(raw: str, data: bytes = EIGHT, dtype: str = "F32") -> bytes:
    return _one(f'{{"dtype":"{dtype}","shape":{raw},"data_offsets":[0,{len(data)}]}}', data)


def _offsets(raw: str, data: bytes = EIGHT) -> bytes:
    return _one(f'{{"dtype":"F32","shape":[2],"data_offsets":{raw}}}', data)


def _dtype(raw: str) -> bytes:
    return _one(f'{{"dtype":{raw},"shape":[2],"data_offsets":[0,8]}}')


def _metadata(raw: str) -> bytes:
    return framed(f'{{"__metadata__":{raw},{HEADER[1:]}', EIGHT)


def _placed(*places: tuple[int, int], size: int = 16) -> bytes:
    """F32 tensors a, b, c… at these data_offsets."""
    return framed(
        compact(
            {
                chr(ord("a") + number): entry("F32", [abs(end - start) // 4], start, end)
                for number, (start, end) in enumerate(places)
            }
        ),
        bytes(size),
    )


def _indexed(text: bytes, **shards: bytes) -> dict[str, bytes]:
    return {**SHARDS, INDEX: text, **shards}


GOOD: dict[str, bytes | dict[str, bytes]] = {
    "two-tensors": GOOD_FILE,
    "every-dtype": build([Tensor(f"t.{dtype}", dtype, (4, 2)) for dtype in BITS]),
    "no-tensors": framed("{}"),
    "no-tensors-but-metadata": framed('{"__metadata__":{"format":"pt"}}'),
    "zero-size": build([Tensor("none", "F32", (0,)), Tensor("a"), Tensor("rows", "I64", (3, 0))]),
    "only-zero-size": build([Tensor("none", "F4", (0, 7))]),
    "zero-beside-the-largest": _shape(f"[{2**64 - 1},0]", b""),
    "scalar": build([Tensor("logit_scale", "F32", ()), Tensor("steps", "I64", ())]),
    "many-dimensions": build([Tensor("a", "U8", (1,) * 70)]),
    "unicode-names": build(
        [
            Tensor(name, "U8", (1,))
            for name in ("große.Gewichte", "層.0", "\U0001f52c", "a\u202eb", "")
        ]
    ),
    "escaped-names": framed(
        '{"line\\nbreak":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        '"\\u001b[31m":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},'
        '"\\ud83d\\udd2c\\"\\\\":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
        bytes(3),
    ),
    "names-like-syntax": build(
        [Tensor('":{"dtype":"F32"', "U8", (1,)), Tensor("a-0,[true]}", "U8", (1,))]
    ),
    "header-not-padded": build([Tensor("ab")], pad=b""),
    "header-padded-with-newlines": build([Tensor("ab")], pad=b"\n"),
    "header-begins-with-a-space": framed(f" {HEADER}", EIGHT),
    "header-from-json-dumps": framed(json.dumps({"__metadata__": None, **TWO_ENTRIES}), bytes(16)),
    "header-indented": framed(json.dumps(TWO_ENTRIES, indent=1), bytes(16)),
    "fields-sorted": framed(
        json.dumps(TWO_ENTRIES, sort_keys=True, separators=(",", ":")), bytes(16)
    ),
    "header-against-the-order-of-data": _placed((12, 16), (4, 12), (0, 4)),
    "zero-size-against-the-order-of-data": _placed((0, 8), (8, 16), (8, 8)),
    "metadata-last": framed(compact({"a": entry(), "__metadata__": {"format": "pt"}}), EIGHT),
    "metadata-null": _metadata("null"),
    "metadata-empty": _metadata("{}"),
    "metadata-with-json-inside": _metadata(
        json.dumps({"ss_network_args": json.dumps({"conv_dim": "4"}), "note": "{}},:\u00fc"})
    ),
    # What serde takes beyond the format's page.
    "unknown-fields": _with('"stride":[1.5e3,-2,null,{"deep":[true]}],"note":"x"'),
    "entry-as-a-list": _one('["F32",[2],[0,8]]'),
    "dtype-as-an-object": _dtype('{"F32":null}'),
    "nested-127-deep": _with(f'"x":{"[" * 125}{"]" * 125}'),
    "sharded": {**SHARDS, INDEX: index(WEIGHT_MAP, 16)},
    "sharded-total-size-wrong": {**SHARDS, INDEX: index(WEIGHT_MAP, 17.5)},
    "sharded-without-index": SHARDS,
}

BAD: dict[str, bytes | dict[str, bytes]] = {
    "HeaderTooSmall--empty": b"",
    "HeaderTooSmall--seven-bytes": bytes(7),
    "HeaderTooLarge--one-over": framed(b"{}", length=100_000_001),
    "HeaderTooLarge--2-to-63": framed(b"{}", length=2**63),
    "HeaderTooLarge--all-ones": b"\xff" * 64,
    "LfsPointer--alone": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64
        + b"\nsize 4976698672\n"
    ),
    "HeaderTooLarge--html-page": b"<!DOCTYPE html><html><body>401 Unauthorized</body></html>\n",
    "HeaderBeyondFile--length-alone": framed(b"", length=64),
    "HeaderBeyondFile--at-the-limit": framed(HEADER, EIGHT, length=100_000_000),
    "HeaderBeyondFile--by-one": framed(HEADER, length=len(HEADER) + 1),
    "HeaderNotUtf8--stray-byte": framed(b'{"\xff":' + HEADER[5:].encode(), EIGHT),
    "HeaderNotUtf8--encoded-surrogate": framed(b'{"\xed\xa0\x80":' + HEADER[5:].encode(), EIGHT),
    "HeaderNotUtf8--overlong": framed(b'{"\xc0\xaf":' + HEADER[5:].encode(), EIGHT),
    "HeaderNotUtf8--utf-16": framed(HEADER.encode("utf-16"), EIGHT),
    "HeaderNotJson--empty": framed(""),
    "HeaderNotJson--zeros": framed(bytes(64)),
    "HeaderNotJson--byte-order-mark": framed("\ufeff" + HEADER, EIGHT),
    "HeaderNotJson--cut-short": framed(HEADER[:-1], EIGHT),
    "HeaderNotJson--nul-padded": framed(HEADER + "\0\0", EIGHT),
    "HeaderNotJson--trailing-characters": framed(HEADER + "x", EIGHT),
    "HeaderNotJson--second-object": framed(HEADER + HEADER, EIGHT),
    "HeaderNotJson--trailing-comma": framed(HEADER[:-1] + ",}", EIGHT),
    "HeaderNotJson--single-quotes": framed(HEADER.replace('"', "'"), EIGHT),
    "HeaderNotJson--comment": framed(HEADER[:-1] + "/**/}", EIGHT),
    "HeaderNotJson--nan": _with('"x":NaN'),
    "HeaderNotJson--minus-infinity": _with('"x":-Infinity'),
    "HeaderNotJson--number-out-of-range": _with('"x":1e400'),
    "HeaderNotJson--integer-out-of-range": _with(f'"x":1{"0" * 309}'),
    "HeaderNotJson--leading-zero": _shape("[02]"),
    "HeaderNotJson--plus-sign": _shape("[+2]"),
    "HeaderNotJson--control-character": framed(HEADER.replace("a", "a\t", 1), EIGHT),
    "HeaderNotJson--unknown-escape": framed(HEADER.replace("a", "\\x61", 1), EIGHT),
    "HeaderNotJson--lone-surrogate-in-name": framed(HEADER.replace("a", "\\ud800", 1), EIGHT),
    "HeaderNotJson--lone-surrogate-in-metadata": _metadata('{"note":"\\udc00"}'),
    "HeaderTooDeep--arrays": _with(f'"x":{"[" * 126}{"]" * 126}'),
    "HeaderTooDeep--objects": _with('"x":' + '{"y":' * 126 + "1" + "}" * 126),
    "HeaderTooDeep--unclosed": framed("[" * 2000),
    "HeaderNotAnObject--list": framed("[]"),
    "HeaderNotAnObject--string": framed('"a"'),
    "HeaderNotAnObject--null": framed("null"),
    "DuplicateTensor--same-entry": framed(f'{HEADER[:-1]},"a":{HEADER[5:]}', EIGHT),
    "DuplicateTensor--escaped": framed(f'{HEADER[:-1]},"\\u0061":{HEADER[5:]}', EIGHT),
    "DuplicateTensor--hides-another": framed(
        compact({"a": entry(end=8), "b": entry(start=8, end=16)}).replace('"b"', '"a"'), bytes(16)
    ),
    "DuplicateKey--metadata": framed('{"__metadata__":{},"__metadata__":{}}'),
    "DuplicateKey--in-metadata": _metadata('{"format":"pt","format":"tf"}'),
    "DuplicateKey--dtype": _with('"dtype":"I32"'),
    "DuplicateKey--unknown-field": _with('"x":1,"x":2'),
    "InvalidMetadata--list": _metadata("[]"),
    "InvalidMetadata--number": _metadata("1"),
    "InvalidMetadata--value-is-a-number": _metadata('{"epoch":3}'),
    "InvalidMetadata--value-is-null": _metadata('{"epoch":null}'),
    "InvalidMetadata--value-is-an-object": _metadata('{"epoch":{}}'),
    "InvalidMetadata--is-a-tensor": framed(HEADER.replace('"a"', '"__metadata__"'), EIGHT),
    "InvalidTensorEntry--null": _one("null"),
    "InvalidTensorEntry--string": _one('"F32"'),
    "InvalidTensorEntry--list-of-two": _one('["F32",[2]]'),
    "InvalidTensorEntry--list-of-four": _one('["F32",[2],[0,8],0]'),
    "InvalidTensorEntry--dtype-number": _dtype("17"),
    "InvalidTensorEntry--dtype-null": _dtype("null"),
    "InvalidTensorEntry--dtype-object": _dtype('{"F32":{}}'),
    "MissingField--dtype": _one('{"shape":[2],"data_offsets":[0,8]}'),
    "MissingField--shape": _one('{"dtype":"F32","data_offsets":[0,8]}'),
    "MissingField--data-offsets": _one('{"dtype":"F32","shape":[2]}'),
    "MissingField--all": _one("{}"),
    "UnknownDtype--lower-case": _dtype('"f32"'),
    "UnknownDtype--torch-name": _dtype('"bfloat16"'),
    "UnknownDtype--empty": _dtype('""'),
    "UnknownDtype--ggml-type": _dtype('"Q4_0"'),
    "InvalidShape--negative": _shape("[-2]"),
    "InvalidShape--minus-zero": _shape("[-0]", b""),
    "InvalidShape--float": _shape("[2.0]"),
    "InvalidShape--exponent": _shape("[2e0]"),
    "InvalidShape--boolean": _shape("[true,2]"),
    "InvalidShape--string": _shape('["2"]'),
    "InvalidShape--nested": _shape("[[2]]"),
    "InvalidShape--null": _shape("null"),
    "InvalidShape--number": _shape("2"),
    "InvalidShape--object": _shape("{}", bytes(4)),
    "InvalidShape--2-to-64": _shape(f"[{2**64},0]", b""),
    "InvalidOffsets--one": _offsets("[0]"),
    "InvalidOffsets--three": _offsets("[0,8,8]"),
    "InvalidOffsets--negative": _offsets("[-8,0]"),
    "InvalidOffsets--boolean": _offsets("[false,8]"),
    "InvalidOffsets--float": _offsets("[0,8.0]"),
    "InvalidOffsets--object": _offsets('{"start":0,"end":8}'),
    "ShapeOverflow--elements": _shape(f"[{2**32},{2**32}]"),
    "ShapeOverflow--before-a-zero": _shape(f"[{2**32},{2**32},0]", b""),
    "ShapeOverflow--wraps-to-small": _shape(f"[{2**63 + 1},2]"),
    "ShapeOverflow--bits": _shape(f"[{2**62}]"),
    "MisalignedSlice--f4": _shape("[3]", bytes(2), "F4"),
    "MisalignedSlice--f6": _shape("[2]", bytes(2), "F6_E2M3"),
    "SizeMismatch--too-few-bytes": _shape("[3]"),
    "SizeMismatch--too-many-bytes": _shape("[1]"),
    "SizeMismatch--wrong-dtype": _shape("[2]", dtype="F16"),
    "SizeMismatch--not-empty": _shape("[2,0]"),
    "OffsetsReversed--alone": _offsets("[8,0]"),
    "OffsetsReversed--zero-apart": _placed((0, 16), (16, 8)),
    "OffsetsOverlap--same-bytes": _placed((0, 16), (0, 16)),
    "OffsetsOverlap--by-four": _placed((0, 12), (8, 16)),
    "OffsetsOverlap--within": _placed((0, 16), (4, 8)),
    "OffsetsHole--before-the-first": _placed((8, 16)),
    "OffsetsHole--between": _placed((0, 4), (8, 16)),
    "OffsetsHole--2-to-63": _placed((2**63, 2**63)),
    "TrailingBytes--one": GOOD_FILE + b"\0",
    "TrailingBytes--zip-archive": GOOD_FILE + b"PK\x05\x06" + bytes(18),
    "TrailingBytes--no-tensors": framed("{}", b"smuggled"),
    "TruncatedFile--by-one": GOOD_FILE[:-1],
    "TruncatedFile--no-data": GOOD_FILE[:-16],
    "TruncatedFile--2-to-60": _one(
        f'{{"dtype":"U8","shape":[{2**60}],"data_offsets":[0,{2**60}]}}'
    ),
    # An index and its shards.
    "IndexNotJson--cut-short": _indexed(index(WEIGHT_MAP)[:-4]),
    "IndexNotJson--byte-order-mark": _indexed(b"\xef\xbb\xbf" + index(WEIGHT_MAP)),
    "IndexNotJson--not-utf8": _indexed(index(WEIGHT_MAP).replace(b'"a"', b'"\xff"')),
    "IndexNotJson--too-deep": _indexed(b"[" * 3000),
    "InvalidIndex--list": _indexed(b"[]"),
    "InvalidIndex--no-weight-map": _indexed(b'{"metadata":{}}'),
    "InvalidIndex--weight-map-empty": _indexed(b'{"weight_map":{}}'),
    "InvalidIndex--weight-map-list": _indexed(b'{"weight_map":["a"]}'),
    "InvalidIndex--file-is-a-number": _indexed(b'{"weight_map":{"a":1}}'),
    "DuplicateIndexKey--tensor": _indexed(index(WEIGHT_MAP).replace(b'"b"', b'"a"')),
    "DuplicateIndexKey--escaped": _indexed(index(WEIGHT_MAP).replace(b'"b"', b'"\\u0061"')),
    "DuplicateIndexKey--weight-map": _indexed(
        b'{"weight_map":{"c":"evil.safetensors"},' + index(WEIGHT_MAP)[1:]
    ),
    "IndexPathEscape--parent": _indexed(index({**WEIGHT_MAP, "b": "../other/model.safetensors"})),
    "IndexPathEscape--parent-within": _indexed(index({**WEIGHT_MAP, "b": f"a/../../{SECOND}"})),
    "IndexPathEscape--absolute": _indexed(index({**WEIGHT_MAP, "b": "/etc/passwd"})),
    "IndexPathEscape--drive": _indexed(index({**WEIGHT_MAP, "b": "C:model.safetensors"})),
    "IndexPathEscape--backslash": _indexed(index({**WEIGHT_MAP, "b": f"..\\{SECOND}"})),
    "IndexPathEscape--nul": _indexed(index({**WEIGHT_MAP, "b": f"{SECOND}\0.txt"})),
    "IndexPathEscape--empty": _indexed(index({**WEIGHT_MAP, "b": ""})),
    "IndexPathEscape--surrogate": _indexed(index({**WEIGHT_MAP, "b": "\ud800.safetensors"})),
    "MissingShard--second-of-two": {FIRST: SHARDS[FIRST], INDEX: index(WEIGHT_MAP)},
    "TensorNotInShard--one": _indexed(index({**WEIGHT_MAP, "c": SECOND})),
    "TensorInOtherShard--swapped": _indexed(index({"a": SECOND, "b": FIRST})),
    "TensorNotInIndex--one": _indexed(
        index(WEIGHT_MAP), **{SECOND: build([Tensor("b"), Tensor("c")])}
    ),
    "TensorInTwoShards--same-name": _indexed(
        index(WEIGHT_MAP), **{SECOND: build([Tensor("a"), Tensor("b")])}
    ),
    "TruncatedFile--second-shard": _indexed(index(WEIGHT_MAP), **{SECOND: SHARDS[SECOND][:-1]}),
}


def files() -> dict[Path, bytes]:
    """Every file of the corpus by its path, relative to the corpus."""
    found = {}
    for folder, cases in (("good", GOOD), ("bad", BAD)):
        for name, content in cases.items():
            place = Path(folder, "safetensors", name)
            if isinstance(content, dict):
                found.update({place / inner: data for inner, data in content.items()})
            else:
                found[place.with_name(f"{name}.safetensors")] = content
    return found


def main() -> None:
    """Write the files where they are committed."""
    for path, data in files().items():
        target = HERE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


if __name__ == "__main__":
    main()
