"""A machine for `env` to look at: its own PATH, no CUDA, no GPU, no environment, unless made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelscope_cli.environment import nvidia_smi, toolkit
from tests.builders import environments
from tests.documents import document
from tests.running import Run

_VARIABLES = ("CUDA", "NVIDIA_", "SLURM_", "BNB_", "CONDA_", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class Machine(NamedTuple):
    """Folders of a machine under test."""

    bin: Path
    prefix: Path
    site: Path


class Told(NamedTuple):
    """What `env` answered."""

    code: int
    document: dict[str, Any]

    @property
    def problems(self) -> list[str]:
        return [each["what"] for each in self.document["problems"]]

    @property
    def remarks(self) -> str:
        return "\n".join(self.document["remarks"])


Ask = Callable[..., Told]


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setattr(toolkit, "_DEFAULT", str(tmp_path / "no-cuda"))
    monkeypatch.setattr(nvidia_smi, "_ELSEWHERE", ())
    # The shell's own programs, for the scripts; no python, pip or nvcc among them.
    shell = tmp_path / "usr"
    shell.mkdir()
    for name in ("sh", "cat", "sleep", "echo"):
        (shell / name).symlink_to(f"/bin/{name}")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{shell}")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A virtual environment whose python is on PATH, as after `activate`."""
    prefix = tmp_path / "venv"
    site = environments.venv(prefix)
    monkeypatch.setenv("PATH", f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Machine(tmp_path / "bin", prefix, site)


@pytest.fixture
def ask(run: Run, machine: Machine) -> Ask:
    """`ask("--check")`: the JSON answer of `mscope env --python <the machine's> --check`."""

    def told(*argv: str, python: str | None = "", env: dict[str, str] | None = None) -> Told:
        chosen = [] if python is None else ["--python", python or str(machine.prefix)]
        done = run("env", *chosen, "--json", *argv, env=env)
        assert done.code in (0, 1), done.err
        return Told(done.code, document(done.out))

    return told
