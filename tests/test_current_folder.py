"""Whether the current folder is the model that nobody named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelscope_cli.errors import NotFound
from modelscope_cli.load import holds_a_model, open_model
from tests.builders import folders


@pytest.mark.parametrize(
    ("config", "holds"),
    [
        ({"model_type": "bert"}, True),
        ({"architectures": ["X"]}, True),
        ({"_class_name": "UNet2DModel"}, True),
        ({"quantization_config": {}}, True),
        ({"server": {"port": 80}}, False),
        (b"not JSON", False),
        (b"", False),
        (b" " * 1_000_000 + b'{"model_type": "bert"}', False),
    ],
)
def test_a_configuration_of_a_model(tmp_path: Path, config: object, holds: bool) -> None:
    folders.write(tmp_path, {"config.json": config})
    assert holds_a_model(str(tmp_path)) is holds


def test_another_programs_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write(tmp_path, {"config.json": {"port": 80}})
    monkeypatch.chdir(tmp_path)
    assert open_model().ref.default
    folders.write(tmp_path, {"any.safetensors": folders.weights("a")})
    assert not open_model().ref.default


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert not holds_a_model(str(tmp_path))


def test_a_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(NotFound, match="Permission denied"):
        open_model()


def test_a_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str) -> list[str]:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os, "listdir", gone)
    assert open_model().ref.default
