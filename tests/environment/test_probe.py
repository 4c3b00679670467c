"""`--probe`: what the imports of another Python tell, and imports that go wrong."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from modelscope_cli.environment import probe
from modelscope_cli.environment.interpreter import Interpreter, look_for
from tests.builders import environments as made
from tests.environment.conftest import Ask, Machine
from tests.running import Run, run_python

GOOD: dict[str, Any] = {
    "torch": "2.5.1+cu121",
    "cuda": "12.1",
    "cudnn": 90100,
    "available": True,
    "architectures": ["sm_50", "sm_80", "sm_86", "sm_90"],
    "gpus": [{"name": made.A100[0], "total": 85_000_000_000, "free": 1, "capability": "8.0"}],
    "bitsandbytes": "0.45.0",
    "kernels": True,
    "kernels_cuda": True,
    "kernels_error": "",
    "warnings": [],
}


def _answers(machine: Machine, **changes: Any) -> None:
    """An interpreter that answers both questions; `torch` as `version.py` has it."""
    told = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    first = made.answer(machine.prefix, "3.11.7", [str(machine.site)])
    body = (
        "case \"$2\" in *bitsandbytes*) cat <<'END'\nnoise\n"
        f"mscope-answer:{json.dumps(told)}\nEND\n"
        f";; *) cat <<'END'\n{first}\nEND\n;; esac"
    )
    made.script(machine.prefix / "bin" / "python", body)


@pytest.fixture(autouse=True)
def _with_torch_and_a_card(machine: Machine) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.bitsandbytes(machine.site, "0.45.0")
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100])


def test_nothing_wrong(machine: Machine, ask: Ask) -> None:
    _answers(machine)
    told = ask("--probe", "--check")
    assert (told.code, told.problems) == (0, [])
    assert told.document["probe"]["cudnn"] == 90100
    assert ask().document["probe"] is None


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "torch is not importable": (
        {
            "torch": None,
            "torch_error": "ImportError: libcudnn.so.9: cannot open",
            "available": None,
        },
        "torch cannot be imported",
    ),
    "torch cannot compute": (
        {"torch_error": "RuntimeError: CUDA error: no kernel image is available"},
        "torch cannot be used",
    ),
    "torch does not see the card": (
        {"available": False, "gpus": [], "warnings": ["The NVIDIA driver on your system is ..."]},
        "torch does not see the GPU",
    ),
    "bitsandbytes is not importable": (
        {"bitsandbytes": None, "bitsandbytes_error": "ModuleNotFoundError: triton.ops"},
        "bitsandbytes cannot be imported",
    ),
    "bitsandbytes has no kernels": (
        {"kernels": False, "kernels_error": "libcusparse.so.11: cannot open shared object file"},
        "bitsandbytes' CUDA kernels do not load",
    ),
    "bitsandbytes has those of the CPU": (
        {"kernels_cuda": False},
        "bitsandbytes' CUDA kernels do not load",
    ),
    "torch is not compiled for the card": (
        {"architectures": ["sm_50", "sm_60", "sm_90"]},
        "torch 2.5.1+cu121 has no kernels for NVIDIA A100-SXM4-80GB",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_imports_tell(name: str, machine: Machine, ask: Ask) -> None:
    changes, problem = FAULTS[name]
    _answers(machine, **changes)
    told = ask("--probe", "--check")
    assert (told.code, told.problems) == (1, [problem])


def test_torch_fills_in_what_an_old_driver_does_not_tell(machine: Machine, ask: Ask) -> None:
    made.nvidia_smi(machine.bin, "525.60.13", "12.0", [("NVIDIA A100-SXM4-80GB", "[N/A]", 5, "")])
    _answers(machine)
    gpu = ask("--probe").document["gpus"][0]
    assert (gpu["total_bytes"], gpu["free_bytes"]) == (85_000_000_000, 5 << 20)
    assert gpu["capability"] == "8.0"
    (machine.bin / "nvidia-smi").unlink()
    assert ask("--probe").document["gpus"][0]["free_bytes"] == 1


def test_an_amd_card_has_no_compute_capability(machine: Machine, ask: Ask) -> None:
    (machine.bin / "nvidia-smi").unlink()
    source = "__version__ = '2.5.1+cu121'\ncuda = None\nhip = '6.2.41133'\n"
    (machine.site / "torch" / "version.py").write_text(source)
    _answers(machine)
    told = ask("--probe")
    assert told.document["gpus"][0]["capability"] is None
    assert told.document["gpus"][0]["dtypes"] is None
    assert "only NVIDIA's cards are looked for" in told.remarks
    assert told.document["cuda"]["build"] == "rocm6.2"


def _interpreter(machine: Machine, body: str) -> Interpreter:
    found = look_for(str(machine.prefix), {})
    made.script(machine.prefix / "bin" / "python", body)
    return found


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sleep 60", "did not end within 0.5 seconds"),
        ("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaa; done", "printed more than"),
        ("kill -SEGV $$", "signal 11"),
        ("echo 'Illegal instruction' >&2; exit 132", "code 132: Illegal instruction"),
        ("echo mscope-answer:nonsense", "code 0"),
    ],
)
def test_a_probe_that_ends_badly(body: str, reason: str, machine: Machine) -> None:
    seconds = 0.5 if "sleep" in body else 20
    told = probe.probe(_interpreter(machine, body), seconds=seconds)
    assert told.problem is not None
    assert reason in told.problem


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"torch": 5, "gpus": "many", "architectures": {"a": 1}, "cudnn": "x", "available": 1},
        {"gpus": [1, None, {}, {"name": 1, "total": "x", "free": 0, "capability": 8}]},
        {"warnings": ["a" * 1000] * 900, "kernels": "yes"},
    ],
)
def test_answers_of_the_wrong_shape(told: dict[str, Any], machine: Machine) -> None:
    found = _interpreter(machine, f"cat <<'E'\nmscope-answer:{json.dumps(told)}\nE")
    answer = probe.probe(found)
    assert answer.problem is None
    assert (answer.torch, answer.gpus, answer.available) == (None, (), False)
    assert len(answer.warnings) <= 20


def test_an_interpreter_that_is_gone_is_not_probed(tmp_path: Any) -> None:
    made.venv(tmp_path / "old", runs=False)
    answer = probe.probe(look_for(str(tmp_path / "old"), {}))
    assert "nothing to probe" in str(answer.problem)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_the_real_torch(run: Run) -> None:
    """What torch and bitsandbytes say of themselves, in this run."""
    done = run("env", "--python", sys.executable, "--probe", "--json")
    told = json.loads(done.out)
    question = "import torch, json; print(json.dumps([torch.__version__, torch.version.cuda]))"
    version, cuda = json.loads(run_python("-c", question).out)
    assert told["packages"]["torch"] == told["probe"]["torch"] == version
    assert told["cuda"]["torch"] == told["probe"]["cuda"] == cuda
    assert told["probe"]["torch_error"] is None
    if find_spec("bitsandbytes") is not None:
        assert told["probe"]["bitsandbytes"] == told["packages"]["bitsandbytes"]
        assert told["probe"]["kernels"] is True
