"""A GGUF's type: llama.cpp's numbers and the names of files."""

from __future__ import annotations

import gguf
import pytest

from modelscope_cli.formats.gguf_file_type import FILE_TYPES, file_type_in_name, file_type_name


def test_numbers_are_those_of_llama_cpp() -> None:
    theirs = {
        int(kind): kind.name.removeprefix("ALL_").removeprefix("MOSTLY_")
        for kind in gguf.LlamaFileType
        if kind.name != "GUESSED"
    }
    assert {number: FILE_TYPES.get(number) for number in theirs} == theirs
    no_longer_there_or_newer = {4, 5, 6, 33, 34, 35, 41}
    assert set(FILE_TYPES) - set(theirs) <= no_longer_there_or_newer


@pytest.mark.parametrize("name", FILE_TYPES.values())
def test_every_type_is_found_in_a_name(name: str) -> None:
    if name != "Q4_1_SOME_F16":
        assert file_type_in_name(f"model-{name}.gguf") == name
        assert file_type_in_name(f"a/b/model.{name.lower()}-00001-of-00003.gguf") == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("gemma-3-270m-it-Q4_K_M.gguf", "Q4_K_M"),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("mmproj-F16.gguf", "F16"),
        ("ggml-model-fp16.gguf", "F16"),
        ("Q8_0/model-Q8_0-00002-of-00002.gguf", "Q8_0"),
        ("Q6_K.gguf", "Q6_K"),
        ("model.gguf", None),
        ("Q4_K_M-model.gguf", None),
        ("modelQ4_K_M.gguf", None),
        ("model-Q4_K_M.bin", None),
        ("", None),
        ("-" * 100_000 + "q", None),
    ],
)
def test_names_of_files(path: str, name: str | None) -> None:
    assert file_type_in_name(path) == name


def test_the_metadata_goes_first() -> None:
    assert file_type_name({"general.file_type": 15}, "m-Q8_0.gguf") == "Q4_K_M"
    assert file_type_name({"general.file_type": 15 + 1024}) == "Q4_K_M"


@pytest.mark.parametrize("value", [999, "15", True, 15.0, None, []])
def test_other_values_leave_it_to_the_name(value: object) -> None:
    assert file_type_name({"general.file_type": value}, "m-Q8_0.gguf") == "Q8_0"
    assert file_type_name({"general.file_type": value}) is None
