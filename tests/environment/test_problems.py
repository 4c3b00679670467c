"""Each fault, built on a machine of folders and scripts, is found, and alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelscope_cli.environment.problems import CHECKS
from tests.builders import environments as made
from tests.environment.conftest import Ask, Machine

Make = Callable[[Machine], None]


def _torch(version: str, cuda: str | None) -> Make:
    return lambda machine: made.torch(machine.site, version, cuda)


def _smi(driver: str, cuda: str, *cards: made.Card) -> Make:
    return lambda machine: _ignore(made.nvidia_smi(machine.bin, driver, cuda, cards))


def _package(name: str, version: str, *requires: str) -> Make:
    return lambda machine: _ignore(made.package(machine.site, name, version, requires))


def _bnb(version: str, *cudas: str) -> Make:
    return lambda machine: made.bitsandbytes(machine.site, version, cudas)


def _ignore(_: object) -> None:
    return None


def _second_torch(machine: Machine) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    other = machine.prefix.parent / "user-site"
    made.torch(other, "2.1.0", None)
    path = [str(machine.site), str(other)]
    made.printing(machine.prefix / "bin" / "python", made.answer(machine.prefix, "3.11.7", path))


def _broken_upgrade(machine: Machine) -> None:
    made.torch(machine.site, "2.5.1", None)
    made.package(machine.site, "torch", "2.1.0")


def _other_files(machine: Machine) -> None:
    made.torch(machine.site, "2.5.1", None)
    (machine.site / "torch" / "version.py").write_text("__version__ = '2.1.0'\ncuda = None\n")


def _no_metadata(machine: Machine) -> None:
    (made.package(machine.site, "safetensors", "0.5.0") / "METADATA").write_bytes(b"\0\xff" * 99)


def _import_utils(limit: str) -> Make:
    def make(machine: Machine) -> None:
        source = f'XLA = 1\n{limit}\n_is_package_available = "x"\n'
        files = {"transformers/utils/import_utils.py": source}
        made.package(machine.site, "transformers", "5.23.0", files=files)

    return make


def _over_conda(machine: Machine) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    (machine.prefix / "conda-meta").mkdir()
    (machine.prefix / "conda-meta" / "pytorch-2.1.0-py3.11_cuda12.1_0.json").touch()


def _foreign_pip(machine: Machine) -> None:
    made.pip(machine.bin, "/opt/other/bin/python3.10")


_ABOUT_DRIVERS = "the driver is too old for torch's CUDA"
FAULTS: dict[str, tuple[list[Make], list[str]]] = {
    "driver older than torch's CUDA": (
        [_torch("2.5.1+cu121", "12.1"), _smi("470.82.01", "11.4", made.A100)],
        [f"{_ABOUT_DRIVERS} 12.1"],
    ),
    "driver of the major before": (
        [_torch("2.9.0+cu130", "13.0"), _smi("575.57.08", "12.9", made.A100)],
        [f"{_ABOUT_DRIVERS} 13.0"],
    ),
    "before CUDA 11 each minor counts": (
        [_torch("1.6.0", "10.2"), _smi("418.39", "10.1", ("Tesla T4", 15109, 15000, "7.5"))],
        [f"{_ABOUT_DRIVERS} 10.2"],
    ),
    "CPU-only torch": (
        [_torch("2.13.0+cpu", None), _smi("535.104.05", "12.2", made.A100)],
        ["a CPU-only torch beside an NVIDIA GPU"],
    ),
    "CPU-only torch, and bitsandbytes": (
        [_torch("2.13.0+cpu", None), _bnb("0.50.2", "121"), _smi("535.54.03", "12.2", made.A100)],
        ["a CPU-only torch beside an NVIDIA GPU", "bitsandbytes without CUDA"],
    ),
    "torch before the card": (
        [_torch("2.5.1+cu124", "12.4"), _smi("570.26", "12.8", made.RTX5090)],
        ["torch 2.5.1+cu124 has no kernels for NVIDIA GeForce RTX 5090"],
    ),
    "torch after the card": (
        [_torch("2.9.0+cu130", "13.0"), _smi("580.65.06", "13.0", made.V100)],
        ["torch 2.9.0+cu130 has no kernels for Tesla V100-SXM2-16GB"],
    ),
    "two torch installs": ([_second_torch], ["2 torch installs"]),
    "an upgrade that broke off": ([_broken_upgrade], ["torch is installed twice in one folder"]),
    "files of another torch": ([_other_files], ["torch's files are not those of its metadata"]),
    "pip over conda": ([_over_conda], ["pip has installed torch over conda's"]),
    "metadata that is none": ([_no_metadata], ["safetensors's metadata cannot be read"]),
    "a requirement not met": (
        [_package("transformers", "4.48.0", "huggingface-hub<1.0,>=0.24.0"),
         _package("huggingface_hub", "1.2.0")],
        ["transformers 4.48.0 needs huggingface-hub<1.0,>=0.24.0"],
    ),
    "a requirement not there": (
        [_package("accelerate", "1.2.0", "psutil", "torch>=2.0")],
        ["accelerate 1.2.0 needs psutil", "accelerate 1.2.0 needs torch>=2.0"],
    ),
    "a torch that transformers turns off": (
        [_package("transformers", "5.23.0", 'torch>=2.6; extra == "torch"'),
         _torch("2.4.0", "12.1")],
        ["transformers 5.23.0 needs torch>=2.6"],
    ),
    "a bitsandbytes that transformers refuses": (
        [_import_utils('BITSANDBYTES_MIN_VERSION = "0.46.1"'), _torch("2.6.0", "12.4"),
         _bnb("0.43.0", "124")],
        ["transformers 5.23.0 needs bitsandbytes>=0.46.1"],
    ),
    "bitsandbytes without torch's CUDA": (
        [_torch("2.9.0+cu130", "13.0"), _bnb("0.45.0", "118", "121", "124")],
        ["bitsandbytes has no kernels for torch's CUDA 13.0"],
    ),
    "bitsandbytes for the CPU": (
        [_torch("2.5.1+cu121", "12.1"), _bnb("0.42.0")],
        ["bitsandbytes has no kernels for torch's CUDA 12.1"],
    ),
    "pip of another environment": ([_foreign_pip], ["python and pip are not of one environment"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_else(name: str, machine: Machine, ask: Ask) -> None:
    makers, expected = FAULTS[name]
    for make in makers:
        make(machine)
    told = ask("--check")
    assert told.problems == expected
    assert told.code == 1
    assert all(each["why"] and each["remedy"] for each in told.document["problems"])
    assert told.document["verdict"].endswith(
        f"{len(expected)} thing{'s' * (len(expected) > 1)} to fix"
    )


RIGHT: dict[str, list[Make]] = {
    "nothing at all": [],
    "a CUDA torch on a login node": [_torch("2.5.1+cu121", "12.1")],
    "a CPU torch without a GPU": [_torch("2.13.0+cpu", None), _bnb("0.50.2", "121")],
    "a driver older than the minor version": [
        _torch("2.7.0+cu126", "12.6"), _smi("525.60.13", "12.0", made.H100),
        _bnb("0.50.2", "118", "126"),
    ],
    "the forward compatibility package": [
        _torch("2.5.1+cu121", "12.1"), _smi("470.82.01", "12.2", made.A100),
    ],
    "a newer driver": [_torch("1.13.1+cu117", "11.7"), _smi("580.65.06", "13.0", made.A100)],
    "requirements that are met": [
        _package("transformers", "5.23.0", 'accelerate>=1.1; extra == "accelerate"',
                 'tokenizers<1,>=0.20', 'colorama; sys_platform == "win32"',
                 'urllib3<2; extra == "quality"', "not a requirement ???"),
        _package("accelerate", "1.2.0.dev0+local", "torch>=2.0,<3"), _torch("2.5.1+cu121", "12.1"),
        _package("tokenizers", "0.21.0"),
    ],
    "a bitsandbytes that transformers takes": [
        _import_utils('BITSANDBYTES_MIN_VERSION = "0.46.1"'), _torch("2.6.0", "12.4"),
        _bnb("0.46.1", "126"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_left_alone(name: str, machine: Machine, ask: Ask) -> None:
    for make in RIGHT[name]:
        make(machine)
    told = ask("--check")
    assert told.problems == []
    assert told.code == 0
    assert told.document["verdict"].endswith(": nothing to fix")


def test_the_verdict_in_one_line(machine: Machine, ask: Ask) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100, made.A100])
    made.nvcc(machine.bin, "12.2")
    told = ask("--check")
    assert told.document["verdict"] == "torch cu121, driver up to 12.2, nvcc 12.2: nothing to fix"
    assert (told.code, told.document["remarks"]) == (0, [])


def test_metadata_alone_is_enough_for_the_verdict(machine: Machine, ask: Ask) -> None:
    made.package(machine.site, "torch", "2.5.1+cu121")
    made.package(machine.site, "bitsandbytes", "0.50.2", ["torch>=2.3"])
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100])
    made.nvcc(machine.bin, "12.2")
    told = ask("--check")
    assert (told.code, told.problems) == (0, [])
    assert told.document["verdict"] == "torch cu121, driver up to 12.2, nvcc 12.2: nothing to fix"
    assert told.document["cuda"]["bitsandbytes"] is None
    assert "no folder of its own" in told.document["cuda"]["unknown"]["bitsandbytes"]


def test_a_wheel_of_the_index_is_held_against_the_driver(machine: Machine, ask: Ask) -> None:
    runtime = "nvidia-cuda-runtime-cu12==12.1.105; platform_system == 'Linux'"
    made.package(machine.site, "torch", "2.5.1", [runtime])
    made.package(machine.site, "nvidia-cuda-runtime-cu12", "12.1.105")
    made.nvidia_smi(machine.bin, "520.61.05", "11.8", [made.A100])
    told = ask("--check")
    assert told.code == 1
    assert "the driver is too old for torch's CUDA 12.1" in told.problems


def test_a_torch_of_an_unknown_build_is_not_called_right(machine: Machine, ask: Ask) -> None:
    made.package(machine.site, "torch", "2.5.1")
    made.nvidia_smi(machine.bin, "520.61.05", "11.8", [made.A100])
    told = ask("--check")
    assert told.code == 0
    assert told.document["verdict"] == (
        "torch of an unknown build, driver up to 11.8, no nvcc: "
        "nothing found to fix, but whether driver and torch fit is not known"
    )
    assert "what CUDA torch was built with is not known" in told.remarks


def test_without_check_a_fault_is_no_failure(machine: Machine, ask: Ask) -> None:
    made.torch(machine.site, "2.13.0+cpu", None)
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100])
    told = ask()
    assert told.problems
    assert told.code == 0


def test_nvidia_smi_tells_the_drivers_cuda_and_not_the_toolkits(machine: Machine, ask: Ask) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.nvidia_smi(machine.bin, "580.65.06", "13.0", [made.A100])
    made.nvcc(machine.bin, "11.8")
    told = ask()
    assert told.problems == []
    assert "nvidia-smi's CUDA 13.0 is the newest that the driver can run" in told.remarks
    assert "the toolkit is nvcc's 11.8" in told.remarks
    assert "must be of torch's major version" in told.remarks
    assert told.document["cuda"]["driver_cuda"] == "13.0"
    assert told.document["cuda"]["nvcc"] == "11.8"


@pytest.mark.parametrize(
    ("value", "problem", "remark"),
    [
        ("0,1", False, ""),
        ("1", False, "torch sees 1 of 2 GPUs"),
        ("", False, "hides every GPU"),
        ("-1", False, "hides every GPU"),
        ("0,7", True, ""),
        ("GPU-1abc", False, "torch sees 1 of 2 GPUs"),
        ("GPU-9", True, ""),
        ("99999999999999999999", True, ""),
    ],
)
def test_visible_devices(
    value: str, problem: bool, remark: str, machine: Machine, ask: Ask
) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100, made.A100])
    told = ask(env={"CUDA_VISIBLE_DEVICES": value})
    assert bool(told.problems) == problem
    assert remark in told.remarks
    assert told.document["cuda"]["visible_devices"] == value


def test_a_bitsandbytes_override_that_is_not_there(machine: Machine, ask: Ask) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.bitsandbytes(machine.site, "0.45.0", ("121", "124"))
    assert ask(env={"BNB_CUDA_VERSION": "124"}).problems == []
    assert "BNB_CUDA_VERSION is 118" in ask(env={"BNB_CUDA_VERSION": "118"}).problems[0]


def test_cuda_home_that_is_gone_or_another(machine: Machine, ask: Ask, tmp_path: Path) -> None:
    made.nvcc(machine.bin, "12.2")
    gone = ask(env={"CUDA_HOME": str(tmp_path / "cuda-11")})
    assert gone.problems == ["CUDA_HOME names a folder that is not there"]
    made.nvcc(tmp_path / "cuda-11" / "bin", "11.8")
    told = ask(env={"CUDA_HOME": str(tmp_path / "cuda-11")})
    assert told.problems == []
    assert "nvcc on PATH is 12.2" in told.remarks


def test_every_check_has_a_case() -> None:
    """A check that no case here reaches could be wrong unseen: their number is kept in mind."""
    names = {check.__name__ for check in CHECKS}
    assert names == {
        "_interpreter", "_shell", "_installs", "_torch_files", "_requirements", "_driver",
        "_driver_too_old", "_torch_without_gpu", "_cards", "_visible", "_bitsandbytes",
        "_toolkit", "_probed",
    }  # fmt: skip
