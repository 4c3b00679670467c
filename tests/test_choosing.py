"""Weights one folder down, as large GGUF repos and original checkpoints lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelscope_cli.choosing import MAX_FOLDERS
from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.facts import ModelFacts, TensorTable
from modelscope_cli.load import How, open_model
from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache

_BELOW: dict[str, bytes] = {
    **{f"BF16/{name}": part for name, part in folders.split_gguf("m-BF16").items()},
    "Q/m-Q2_K.gguf": folders.gguf_weights("q2"),
    "Q8_0/m-00001-of-00001.gguf": folders.gguf_weights("q8"),
}


def _opened(folder: Path, files: Mapping[str, object], weights: str | None = None) -> ModelFacts:
    return open_model(str(folders.write(folder, files)), How(weights=weights))


def _names(facts: ModelFacts) -> list[str]:
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors.names


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("BF16/*", ["a", "b"]),
        ("*Q2_K*", ["q2"]),
        ("Q/*", ["q2"]),
        ("m-BF16.gguf", ["a", "b"]),
        ("*/m-*", ["a", "b", "q2", "q8"]),
    ],
)
def test_a_pattern_finds_folders_below(tmp_path: Path, glob: str, names: list[str]) -> None:
    facts = _opened(tmp_path, _BELOW, glob)
    assert _names(facts) == names
    assert not facts.notes


def test_a_type_finds_folders_below(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add("org/gg", MAIN, _BELOW, refs=("main",))
    for quant, names in (("Q2_K", ["q2"]), ("bf16", ["a", "b"]), ("Q8_0", ["q8"])):
        facts = open_model(f"org/gg:{quant}", How(cache_dir=str(tmp_path)))
        assert _names(facts) == names
    with pytest.raises(NotFound, match="no GGUF file of type Q5_K here") as caught:
        open_model("org/gg:Q5_K", How(cache_dir=str(tmp_path)))
    assert str(caught.value.hint).startswith("there are: BF16, Q2_K, Q8_0; the network is")


def test_without_a_choice_they_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        _opened(tmp_path, _BELOW)
    assert caught.value.hint == "there are models in: BF16, Q, Q8_0"
    facts = _opened(tmp_path, {"config.json": folders.BERT, "top.gguf": folders.gguf_weights("t")})
    assert _names(facts) == ["t"]
    assert [note.text for note in facts.notes] == [
        "also here, not listed: BF16/m-BF16.gguf, Q/m-Q2_K.gguf, Q8_0/m.gguf; "
        "--weights GLOB chooses"
    ]
    (tmp_path / "top.gguf").unlink()
    facts = open_model(str(tmp_path))
    assert facts.ref.format == "config"
    assert facts.notes[0].text.startswith("also here, not listed: BF16/m-BF16.gguf, ")


def test_the_top_comes_first(tmp_path: Path) -> None:
    files = {"m-Q2_K.gguf": folders.gguf_weights("top"), **_BELOW}
    assert _names(_opened(tmp_path, files, "*Q2_K*")) == ["top"]
    assert _names(_opened(tmp_path, files, "Q/*")) == ["q2"]


def test_originals_beside_the_converted(tmp_path: Path) -> None:
    files = {
        "model.safetensors": folders.weights("converted"),
        "original/model.safetensors": folders.weights("original"),
    }
    assert _names(_opened(tmp_path, files)) == ["converted"]
    assert _names(_opened(tmp_path, files, "original/*")) == ["original"]


def test_a_choice_that_fits_nothing_names_what_is_below(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _opened(tmp_path, _BELOW, "UD/*")
    assert caught.value.hint == "there are: BF16/m-BF16.gguf, Q/m-Q2_K.gguf, Q8_0/m.gguf"


def test_two_hundred_folders_are_looked_into(tmp_path: Path) -> None:
    folders.write(tmp_path, {f"{n:04}/x.gguf": folders.gguf_weights("x") for n in range(201)})
    with pytest.raises(UsageError, match="fits no weight file") as caught:
        open_model(str(tmp_path), How(weights=f"{MAX_FOLDERS:04}/*"))
    assert str(caught.value.hint).endswith(" and 192 more")
