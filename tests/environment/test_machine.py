"""The driver, GPUs, toolkit and shell: programs of several generations, and bad ones."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from modelscope_cli.environment import drivers, nvidia_smi, shell
from modelscope_cli.facts import Unknown
from tests.builders import environments as made
from tests.environment.conftest import Ask, Machine


@pytest.mark.parametrize(
    ("driver", "cuda", "label"),
    [
        ("470.182.03", "11.4", "CUDA Version"),
        ("535.104.05", "12.2", "CUDA Version"),
        ("595.71.05", "13.2", "CUDA UMD Version"),
    ],
)
def test_drivers_of_several_generations(
    driver: str, cuda: str, label: str, machine: Machine
) -> None:
    made.nvidia_smi(machine.bin, driver, cuda, [made.A100, made.RTX4090], label)
    found = nvidia_smi.ask_driver(os.environ)
    assert (found.version, found.cuda, found.absent, found.problem) == (driver, cuda, None, None)
    first, second = found.gpus
    assert (first.number, first.name) == (0, "NVIDIA A100-SXM4-80GB")
    assert (first.total_bytes, first.free_bytes) == (81920 << 20, 80000 << 20)
    if driver.startswith("470"):
        assert isinstance(second.capability, Unknown)
    else:
        assert second.capability == "8.9"


def test_gpus_as_they_are_told(machine: Machine, ask: Ask) -> None:
    made.nvidia_smi(machine.bin, "580.65.06", "13.0", [made.H100, made.GB10])
    hopper, shared = ask().document["gpus"]
    assert hopper == {
        "name": "NVIDIA H100 80GB HBM3",
        "total_bytes": 81559 << 20,
        "free_bytes": 81000 << 20,
        "capability": "9.0",
        "index": 0,
        "dtypes": {"bf16": "native", "fp8": "native", "mxfp4": "4-bit weights by Triton kernels"},
    }
    assert shared["total_bytes"] is None
    assert "[N/A]" in shared["unknown"]["total_bytes"]


NOTHING = {
    "no nvidia-smi": None,
    "a login node": (
        "echo 'NVIDIA-SMI has failed because it couldn'\\''t communicate with the NVIDIA driver. "
        "Make sure that the latest NVIDIA driver is installed and running.'; exit 9"
    ),
    "no devices": "echo 'No devices were found'; exit 6",
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_login_node_is_no_fault(name: str, machine: Machine, ask: Ask) -> None:
    body = NOTHING[name]
    if body is not None:
        made.script(machine.bin / "nvidia-smi", body)
    told = ask("--check")
    assert (told.code, told.problems, told.document["gpus"]) == (0, [], [])
    assert "no GPU visible here" in told.document["verdict"]
    assert "no GPU visible here" in told.remarks


HOSTILE = {
    "endless": "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
    "a mismatch": "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
    "binary": "printf '\\000\\377\\033[31m'",
    "silent": "exit 1",
    "nothing": "exit 0",
    "no shell": None,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_driver_that_does_not_answer_is_a_fault(name: str, machine: Machine, ask: Ask) -> None:
    body = HOSTILE[name]
    if body is None:
        (machine.bin / "nvidia-smi").write_bytes(b"\x7fELF\0\0")
        (machine.bin / "nvidia-smi").chmod(0o755)
    else:
        made.script(machine.bin / "nvidia-smi", body)
    told = ask("--check")
    assert told.problems == ["the NVIDIA driver does not answer"]
    assert (told.code, told.document["gpus"]) == (1, [])


def test_a_driver_that_hangs(machine: Machine, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_smi, "_SECONDS", 0.3)
    made.script(machine.bin / "nvidia-smi", "sleep 60")
    start = time.monotonic()
    told = ask()
    assert told.problems == ["the NVIDIA driver does not answer"]
    assert "did not end within 0.3 seconds" in told.document["problems"][0]["why"]
    assert time.monotonic() - start < 20


def test_lists_of_gpus_that_make_no_sense(machine: Machine, ask: Ask) -> None:
    head = "Driver Version: 535.1  CUDA Version: 12.2"
    rows = "x, y\n-1, u, n, 1, 1, 535.1, 8.0\n0, u, n, 9999999999999999, -5, 535.1, 8.0.0\n" * 3
    body = f"case \"$*\" in *query*) cat <<'E'\n{rows}\nE\n;; *) echo '{head}';; esac"
    made.script(machine.bin / "nvidia-smi", body)
    told = ask()
    assert [gpu["total_bytes"] for gpu in told.document["gpus"]] == [None] * 3
    assert {gpu["capability"] for gpu in told.document["gpus"]} == {None}


@pytest.mark.parametrize("body", ["exit 1", "while :; do echo aaaaaaaaaaaaaaaa; done", "echo hm"])
def test_an_nvcc_that_does_not_tell(body: str, machine: Machine, ask: Ask) -> None:
    made.script(machine.bin / "nvcc", body)
    told = ask()
    assert told.problems == ["nvcc does not answer"]
    assert told.document["cuda"]["nvcc"] is None


SHEBANGS = {
    "#!/opt/x/bin/python3.11": "/opt/x/bin/python3.11",
    "#!/bin/sh\n'''exec' \"/opt/a b/bin/python\" \"$0\" \"$@\"\n' '''": "/opt/a b/bin/python",
    "#!/bin/sh\n'''exec' /opt/long/bin/python3 \"$0\" \"$@\"\n' '''": "/opt/long/bin/python3",
    "#!/usr/bin/env bash": None,
    "#!": None,
    "#!/usr/bin/env": None,
    "MZ\0\0": None,
    "#!/usr/bin/env nothing-like-it": None,
}


@pytest.mark.parametrize("text", SHEBANGS)
def test_the_interpreter_that_pip_runs(text: str, machine: Machine) -> None:
    (machine.bin / "pip").write_text(text)
    (machine.bin / "pip").chmod(0o755)
    assert shell.look(os.environ).pip_python == SHEBANGS[text]


def test_pip_by_env_is_that_of_the_path(machine: Machine) -> None:
    made.pip(machine.bin, "/usr/bin/env python")
    python = str(machine.prefix / "bin" / "python")
    assert shell.look(os.environ) == (python, str(machine.bin / "pip"), python)
    assert shell.look(os.environ).agree()


def test_two_links_to_one_python_are_one_environment_unless_one_is_virtual(
    tmp_path: Path,
) -> None:
    for folder in ("a/bin", "b/bin", "venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a/bin/python3.11").touch()
    (tmp_path / "b/bin/python").symlink_to(tmp_path / "a/bin/python3.11")
    (tmp_path / "venv/bin/python").symlink_to(tmp_path / "a/bin/python3.11")
    (tmp_path / "venv/pyvenv.cfg").touch()
    base = str(tmp_path / "a/bin/python3.11")
    assert shell.same_environment(base, str(tmp_path / "b/bin/python"))
    assert not shell.same_environment(base, str(tmp_path / "venv/bin/python"))


@pytest.mark.parametrize(
    ("cuda", "linux", "windows"),
    [
        ("10.2", "440.33", "441.22"),
        ("11.8", "450.80.02", "452.39"),
        ("12.1", "525.60.13", "527.41"),
        ("12.9", "525.60.13", "527.41"),
        ("13.0", "580.65.06", None),
        ("14.0", None, None),
        ("garbage", None, None),
        ("9" * 5000, None, None),
    ],
)
def test_minimum_drivers(cuda: str, linux: str | None, windows: str | None) -> None:
    assert drivers.minimum_driver(cuda) == linux
    assert drivers.minimum_driver(cuda, "win32") == windows


@pytest.mark.parametrize(
    ("cuda", "capability", "lacks"),
    [
        ("11.8", "9.0", False),
        ("11.7", "9.0", True),
        ("11.1", "8.9", False),  # runs the code for 8.0
        ("12.8", "12.0", False),
        ("12.6", "10.0", True),
        ("12.9", "6.1", False),
        ("13.0", "7.0", True),
        ("13.0", "7.5", False),
        ("12.1", "3.7", True),
        ("12.1", "?", False),
    ],
)
def test_cards_that_a_cuda_knows(cuda: str, capability: str, lacks: bool) -> None:
    assert (drivers.lacks_kernels(cuda, capability) is not None) == lacks


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (("sm_50", "sm_80", "sm_86", "sm_90"), "8.9", True),
        (("sm_50", "sm_80", "sm_90"), "12.0", False),
        (("sm_80", "compute_90"), "12.0", True),
        (("sm_90a",), "9.0", True),
        (("sm_75", "sm_100", "sm_120"), "12.1", True),
        (("sm_86",), "8.0", False),
        ((), "8.0", None),
        (("gfx90a",), "8.0", False),
    ],
)
def test_architectures_that_run_on_a_card(
    architectures: tuple[str, ...], capability: str, runs: bool | None
) -> None:
    assert drivers.runs_on(architectures, capability) is runs


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        ("7.0", ("emulated, slow: use float16", "dequantized to bf16", "dequantized to bf16")),
        ("8.0", ("native", "dequantized to bf16", "4-bit weights by Triton kernels")),
        ("8.9", ("native", "native", "4-bit weights by Triton kernels")),
        ("10.0", ("native", "native", "native")),
        ("12.0", ("native", "native", "native")),
    ],
)
def test_what_a_card_makes_of_dtypes(capability: str, words: tuple[str, ...]) -> None:
    assert drivers.dtypes_of(capability) == words


def test_transformers_draws_the_same_lines() -> None:
    """The limits that are its own and no card's, in the source of what is installed."""
    transformers = find_spec("transformers")  # not imported: that takes seconds
    if transformers is None:
        pytest.skip("transformers is not installed")
    folder = Path(str(transformers.origin)).parent / "quantizers"
    mxfp4 = (folder / "quantizer_mxfp4.py").read_text("utf-8")
    fp8 = (folder / "quantizer_finegrained_fp8.py").read_text("utf-8")
    assert "compute_capability >= (7, 5)" in mxfp4
    assert "compute capability >= 8.9" in fp8
