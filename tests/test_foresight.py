"""What is asked for ahead is what is read: all of it, and nothing that is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from modelscope_cli import foresight, reading
from modelscope_cli.facts import ModelRef
from modelscope_cli.sources.base import Extent, OpenFile
from modelscope_cli.sources.listed import ListedSource
from modelscope_cli.sources.local import LocalSource
from tests.running import ROOT

GOOD = ROOT / "tests" / "corpus" / "good" / "folder"
REF = ModelRef("x", "directory")


class Watched(LocalSource):
    """A folder that remembers which of its files were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root), REF)
        self.opened: set[str] = set()

    def open(self, path: str) -> OpenFile:  # type: ignore[override]
        self.opened.add(path)
        return super().open(path)


def _listed(folder: Path) -> ListedSource:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    return ListedSource(sizes, REF)


def _paths(wanted: Sequence[Extent]) -> set[str]:
    return {each.path for each in wanted}


@pytest.mark.parametrize("folder", sorted(path.name for path in GOOD.iterdir() if path.is_dir()))
@pytest.mark.parametrize("want_tensors", [True, False])
def test_folders(folder: str, want_tensors: bool) -> None:
    source = Watched(GOOD / folder)
    reading.read_folder(source, None, want_tensors=want_tensors)
    wanted = foresight.of_folder(_listed(GOOD / folder), None, None, want_tensors=want_tensors)
    assert _paths(wanted) == source.opened


@pytest.mark.parametrize("pattern", ["*.safetensors", "*.gguf", "*.nothing", "*/*.safetensors"])
@pytest.mark.parametrize("folder", ["several-sets", "pile", "diffusers"])
def test_patterns(folder: str, pattern: str) -> None:
    wanted = foresight.of_folder(_listed(GOOD / folder), pattern, None, want_tensors=True)
    source = Watched(GOOD / folder)
    try:
        reading.read_folder(source, pattern)
    except Exception:  # nothing fits: only documents are wanted
        assert not {path for path in _paths(wanted) if not path.endswith(".json")}
        return
    assert _paths(wanted) >= source.opened


@pytest.mark.parametrize(
    "path",
    [
        "plain/model.safetensors",
        "plain/config.json",
        "lora/adapter_model.safetensors",
        "variant-shards/m.safetensors.index.fp16.json",
        "alternatives/m.F16.gguf",
    ],
)
def test_files(path: str) -> None:
    folder, _, name = path.rpartition("/")
    source = Watched(GOOD / folder)
    reading.read_file(source, name)
    wanted = foresight.of_file(_listed(GOOD / folder), name, want_tensors=True)
    assert _paths(wanted) >= source.opened


def test_a_torch_file_is_read_at_both_ends() -> None:
    source = ListedSource({"pytorch_model.bin": 10**9}, REF)
    wanted = foresight.of_folder(source, None, None, want_tensors=True)
    assert wanted == [
        Extent("pytorch_model.bin", 0, 262_144),
        Extent("pytorch_model.bin", 10**9 - 131_072, 131_072),
    ]


@pytest.mark.parametrize(("index", "head"), [(10, 65_536), (400_000, 400_000), (10**8, 1_048_576)])
def test_an_index_tells_how_long_headers_are(index: int, head: int) -> None:
    shards = {f"model-0000{number}-of-00002.safetensors": 10**10 for number in (1, 2)}
    source = ListedSource({**shards, "model.safetensors.index.json": index}, REF)
    wanted = foresight.of_folder(source, None, None, want_tensors=True)
    assert {each.length for each in wanted if each.path in shards} == {head}


def test_a_small_file_is_asked_for_as_it_is() -> None:
    source = ListedSource({"model.safetensors": 100}, REF)
    wanted = foresight.of_folder(source, None, None, want_tensors=True)
    assert wanted == [Extent("model.safetensors", 0, 100)]


def test_guesses() -> None:
    def guessed(file: str | None, *, chosen: bool = False, want_tensors: bool = True) -> set[str]:
        return _paths(foresight.guesses(file, chosen=chosen, want_tensors=want_tensors))

    assert guessed(None) == {"config.json", "model.safetensors"}
    assert guessed(None, chosen=True) == {"config.json"}
    assert guessed(None, want_tensors=False) == {"config.json"}
    assert guessed("x/y.gguf") == {"x/y.gguf"}
