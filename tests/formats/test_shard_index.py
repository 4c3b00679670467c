"""Shard indexes: parsed safely, and held against the shards that were read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli import errors
from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note, TensorTable
from modelscope_cli.formats import safetensors, shard_index
from modelscope_cli.formats.shard_index import ShardIndex
from modelscope_cli.sources.local import LocalFile
from tests.builders.safetensors import index
from tests.corpus import make_safetensors
from tests.formats.safetensors_reading import Memory

CORPUS = Path(make_safetensors.__file__).parent
BAD = sorted(path.parent for path in CORPUS.glob("bad/safetensors/*/*.index.json"))
GOOD = sorted(path.parent for path in CORPUS.glob("good/safetensors/*/*.index.json"))
MAP = {"a": "1.safetensors", "b": "2.safetensors"}


def parse(data: bytes) -> ShardIndex:
    return shard_index.parse(Memory(data))


def tables(**names: str) -> dict[str, TensorTable]:
    """Tables of one-byte tensors: `tables(s1="a b")` is the shard `1.safetensors`."""
    found = {}
    for shard, text in names.items():
        file = f"{shard[1:]}.safetensors"
        table = found[file] = TensorTable()
        for offset, name in enumerate(text.split()):
            table.append(name, "U8", (1,), 1, 1, file, 100 + offset)
    return found


def check_folder(folder: Path) -> tuple[Note, ...]:
    """Parse the folder's index, read the shards that are there, and check."""
    name = next(folder.glob("*.index.json")).name
    with LocalFile(str(folder / name), name) as file:
        parsed = shard_index.parse(file)
    read = {}
    for shard in parsed.files:
        if (folder / shard).exists():
            with LocalFile(str(folder / shard), shard) as file:
                read[shard] = safetensors.read(file).tensors
    return shard_index.check(parsed, read)


@pytest.mark.parametrize("folder", GOOD, ids=lambda path: path.name)
def test_good_folders_pass(folder: Path) -> None:
    notes = check_folder(folder)
    assert bool(notes) == ("total-size-wrong" in folder.name)


@pytest.mark.parametrize("folder", BAD, ids=lambda path: path.name)
def test_bad_folders_raise_the_defect_they_are_named_after(folder: Path) -> None:
    name = folder.name.partition("--")[0]
    with pytest.raises(FormatError) as caught:
        check_folder(folder)
    assert type(caught.value) is getattr(shard_index, name, getattr(errors, name, None))
    assert "\n" not in caught.value.message


def test_an_index_is_parsed() -> None:
    parsed = parse(index({"b": "2.safetensors", "a": "1.safetensors", "c": "sub/2.bin"}, 12))
    assert parsed.weight_map == {"a": "1.safetensors", "b": "2.safetensors", "c": "sub/2.bin"}
    assert parsed.files == ("1.safetensors", "2.safetensors", "sub/2.bin")
    assert (parsed.path, parsed.total_size) == ("model.safetensors", 12)


@pytest.mark.parametrize(
    "document",
    [
        {"weight_map": MAP},
        {"metadata": None, "weight_map": MAP},
        {"metadata": {"total_size": 1, "x": ["y", {"weight_map": {"z": "w"}}]}, "weight_map": MAP},
        {"weight_map": MAP, "format": "pt", "numbers": [1.5, None, True]},
    ],
)  # fmt: skip
def test_whatever_else_is_in_the_index_is_left_alone(document: Any) -> None:
    assert parse(json.dumps(document).encode()).weight_map == MAP


def test_escaped_names_are_read() -> None:
    name = '层."\\\n'
    assert parse(index({name: "1.safetensors"})).weight_map == {name: "1.safetensors"}


def test_the_size_is_bounded() -> None:
    class Huge(Memory):
        size = shard_index.MAX_INDEX_BYTES + 1

        def __init__(self) -> None:
            pass

        def read_at(self, offset: int, length: int) -> bytes:
            raise AssertionError("read")

    with pytest.raises(shard_index.IndexTooLarge):
        shard_index.parse(Huge())


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(shard_index.IndexNotJson, match="digits"):
        parse(b'{"weight_map":' + b"1" * 5000 + b"}")


@pytest.mark.parametrize(
    ("shards", "error", "message"),
    [
        (
            tables(s1="a"),
            errors.MissingShard,
            "1 of 2 shards are not there, first 2.safetensors",
        ),
        (
            tables(s1="a", s2="c"),
            shard_index.TensorNotInShard,
            "tensor 'b': is in no shard, the index says 2.safetensors (so for 1 of 2 tensors)",
        ),
        (
            tables(s1="b", s2="a"),
            shard_index.TensorInOtherShard,
            "tensor 'a': is in 2.safetensors, the index says 1.safetensors (so for 2 of 2 tensors)",
        ),
        (
            tables(s1="a c", s2="b d"),
            shard_index.TensorNotInIndex,
            "tensor 'c': is in 1.safetensors, the index does not name it (so for 2 of 4 tensors)",
        ),
        (
            tables(s1="a b", s2="b"),
            shard_index.TensorInTwoShards,
            "tensor 'b': is in two shards, or in one twice: 1.safetensors and 2.safetensors",
        ),
        (
            tables(s1="a a", s2="b"),
            shard_index.TensorInTwoShards,
            "tensor 'a': is in two shards, or in one twice: 1.safetensors and 1.safetensors",
        ),
        (
            tables(s1="a a", s2=""),
            shard_index.TensorInTwoShards,
            "tensor 'a': is in two shards, or in one twice: 1.safetensors and 1.safetensors",
        ),
    ],
)
def test_each_difference_is_worded(
    shards: dict[str, TensorTable], error: type[FormatError], message: str
) -> None:
    with pytest.raises(error) as caught:
        shard_index.check(parse(index(MAP)), shards)
    assert caught.value.message == f"model.safetensors: {message}"


@pytest.mark.parametrize(
    ("total_size", "shown"),
    [
        (None, None),
        (2, None),
        (2.0, None),
        (3, "3"),
        (2.5, "2.5"),
        (float("nan"), "no number of bytes"),
        (10**400, "no number of bytes"),
        ("2", "no number of bytes"),
        ([2], "no number of bytes"),
    ],
)
def test_a_wrong_total_size_is_a_note(total_size: Any, shown: str | None) -> None:
    notes = shard_index.check(parse(index(MAP, total_size)), tables(s1="a", s2="b"))
    texts = [note.text for note in notes]
    assert texts == (
        []
        if shown is None
        else [f"model.safetensors: total_size is {shown}, the tensors take 2 bytes"]
    )


FRAGMENTS = [
    '"',
    "\\",
    '"a":1,',
    '"a": "x",',
    "{",
    "}",
    "[",
    "null",
    "../",
    "\\u0061",
    "\ud800",
    "\0",
    "9" * 30,
]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 130), st.integers(0, 4), st.sampled_from(FRAGMENTS))))
def test_a_mutated_index_is_read_as_json_or_refused(edits: list[tuple[int, int, str]]) -> None:
    text = index(MAP, 2).decode()
    for start, length, fragment in edits[:3]:
        text = text[:start] + fragment + text[start + length :]
    data = text.encode(errors="surrogatepass")
    try:
        parsed = parse(data)
    except FormatError:
        return
    assert parsed.weight_map == json.loads(data)["weight_map"]
    assert all(".." not in file.split("/") for file in parsed.files)
