"""What is installed, from metadata: as importlib.metadata says it, and where that is broken."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from modelscope_cli.environment.packages import WATCHED, canonical, installed
from modelscope_cli.environment.torch_build import (
    bnb_libraries,
    cudnn_version,
    torch_build,
)
from modelscope_cli.facts import Unknown
from tests.builders import environments as made


def test_the_versions_that_importlib_finds() -> None:
    ours = installed(sys.path)
    for name in [*WATCHED, "pytest", "jsonschema", "typer"]:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        assert ours.version(name) == version, name
        found = ours.get(name)
        assert found is not None
        if name in WATCHED:
            assert list(found.requires or ()) == (metadata.requires(name) or [])


def test_the_first_on_the_path_counts_and_a_linked_folder_once(tmp_path: Path) -> None:
    made.package(tmp_path / "a", "torch", "2.5.1")
    made.package(tmp_path / "b", "torch", "2.1.0")
    (tmp_path / "c").symlink_to("a")
    found = installed(str(tmp_path / each) for each in "acba")
    assert [each.version for each in found.found["torch"]] == ["2.5.1", "2.1.0"]
    assert found.version("torch") == "2.5.1"


def test_eggs_and_leftovers(tmp_path: Path) -> None:
    egg = tmp_path / "peft-0.3.0-py3.11.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: peft\nVersion: 0.3.0\n\n")
    (tmp_path / "numpy-1.26.4.egg-info").write_text("Name: numpy\nVersion: 1.26.4\n\n")
    (tmp_path / "other-1.0-py3.11.egg-info").mkdir()
    (tmp_path / "~orch-2.1.0.dist-info").mkdir()
    found = installed([str(tmp_path), str(tmp_path / "nothing"), __file__])
    assert (found.version("peft"), found.version("numpy")) == ("0.3.0", "1.26.4")
    assert found.version("other") == "1.0"
    assert found.leftovers == (str(tmp_path / "~orch-2.1.0.dist-info"),)


def test_metadata_that_is_hostile(tmp_path: Path) -> None:
    huge = made.package(tmp_path, "torch", "2.0", ["x" * 10_000_000])
    with (huge / "METADATA").open("a") as stream:
        stream.truncate(50_000_000)
    pipe = made.package(tmp_path, "numpy", "1.0")
    (pipe / "METADATA").unlink()
    os.mkfifo(pipe / "METADATA")
    (tmp_path / "-1.dist-info").mkdir()
    (tmp_path / "safetensors.dist-info").symlink_to("safetensors.dist-info")
    found = installed([str(tmp_path)])
    assert found.version("torch") == "2.0"
    torch, numpy = found.get("torch"), found.get("numpy")
    assert torch is not None
    assert torch.requires == ()
    assert numpy is not None
    assert numpy.requires is None


def test_names_are_compared_as_indexes_do() -> None:
    assert canonical("Hugging.Face__hub") == "hugging-face-hub"


@pytest.mark.parametrize(
    ("version", "source", "cuda", "label"),
    [
        ("2.5.1+cu121", "cuda = '12.1'\n", "12.1", "cu121"),
        ("2.5.1", "cuda: Optional[str] = '12.4'\n", "12.4", "cu124"),
        ("2.13.0+cpu", "cuda: Optional[str] = None\n", None, "cpu"),
        ("2.5.1+rocm6.2", "cuda = None\nhip = '6.2.41133-dd7f95766'\n", None, "rocm6.2"),
        ("2.5.1+cu118", None, "11.8", "cu118"),
        ("2.5.1+cpu", None, None, "cpu"),
    ],
)
def test_what_torch_is_built_for(
    version: str, source: str | None, cuda: str | None, label: str, tmp_path: Path
) -> None:
    files = {} if source is None else {"torch/version.py": f"__version__ = '{version}'\n{source}"}
    made.package(tmp_path, "torch", version, files=files)
    build = torch_build(installed([str(tmp_path)]))
    assert build is not None
    assert (build.cuda, build.label, build.source_version) == (cuda, label, None)


def test_a_torch_that_does_not_say_is_unknown_and_not_cpu(tmp_path: Path) -> None:
    made.package(tmp_path, "torch", "2.5.1")
    build = torch_build(installed([str(tmp_path)]))
    assert build is not None
    assert isinstance(build.cuda, Unknown)
    assert build.label == "of an unknown build"


@pytest.mark.parametrize(
    ("requires", "platform", "cuda"),
    [
        ('nvidia-cuda-runtime-cu12==12.1.105; platform_system == "Linux"', "linux", "12.1"),
        ('nvidia-cuda-runtime-cu12==12.1.105; platform_system == "Linux"', "win32", None),
        ('nvidia-cuda-runtime==13.0.48; platform_system == "Linux"', "linux", "13.0"),
        ('cuda-toolkit[cudart,nvrtc]==13.0.2; platform_system == "Linux"', "linux", "13.0"),
        ("nvidia-cuda-runtime-cu11==11.7.99", "linux", "11.7"),
        ("nvidia-cuda-runtime-cu12>=12", "linux", None),
        ("nvidia-cuda-nvrtc-cu12==12.1.105", "linux", None),
        ("no requirement === at all", "linux", None),
    ],
)
def test_a_wheel_of_the_index_demands_the_cuda_that_it_is_built_for(
    requires: str, platform: str, cuda: str | None, tmp_path: Path
) -> None:
    made.package(tmp_path, "torch", "2.5.1", ["filelock", requires])
    build = torch_build(installed([str(tmp_path)]), platform)
    assert build is not None
    assert build.cuda == cuda or (cuda is None and isinstance(build.cuda, Unknown))


def test_cudnn_of_a_wheel_of_conda_or_untold(tmp_path: Path) -> None:
    made.torch(tmp_path, "2.5.1", "12.1")
    assert isinstance(cudnn_version(installed([str(tmp_path)]), str(tmp_path)), Unknown)
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "cudnn-9.3.0.75-h1.json").touch()
    assert cudnn_version(installed([str(tmp_path)]), str(tmp_path)) == "9.3.0.75"
    made.package(tmp_path, "nvidia-cudnn-cu12", "9.1.0.70")
    assert cudnn_version(installed([str(tmp_path)]), str(tmp_path)) == "9.1.0.70"


def test_the_cuda_versions_that_bitsandbytes_brings(tmp_path: Path) -> None:
    assert bnb_libraries(installed([str(tmp_path)])) is None
    made.bitsandbytes(tmp_path, "0.50.2", ("118", "130", "124_nocublaslt"))
    (tmp_path / "bitsandbytes" / "libbitsandbytes_cuda126.dll").touch()
    assert bnb_libraries(installed([str(tmp_path)])) == ((11, 8), (12, 4), (12, 6), (13, 0))


def test_a_bitsandbytes_of_metadata_alone_is_unknown(tmp_path: Path) -> None:
    made.package(tmp_path, "bitsandbytes", "0.50.2")
    assert isinstance(bnb_libraries(installed([str(tmp_path)])), Unknown)
    (tmp_path / "bitsandbytes").mkdir()
    assert bnb_libraries(installed([str(tmp_path)])) == ()
