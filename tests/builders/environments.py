"""Python environments and machines that are not there: folders of metadata, scripts on PATH."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

A100 = ("NVIDIA A100-SXM4-80GB", 81920, 80000, "8.0")
H100 = ("NVIDIA H100 80GB HBM3", 81559, 81000, "9.0")
RTX4090 = ("NVIDIA GeForce RTX 4090", 24564, 24000, "8.9")
RTX5090 = ("NVIDIA GeForce RTX 5090", 32607, 32000, "12.0")
V100 = ("Tesla V100-SXM2-16GB", 16384, 16000, "7.0")
GB10 = ("NVIDIA GB10", "[N/A]", "[N/A]", "12.1")  # its memory is the machine's

Card = tuple[str, int | str, int | str, str]


def script(path: Path, body: str) -> Path:
    """A program of the shell's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def printing(path: Path, text: str) -> Path:
    """A program that prints a text, whatever it is asked."""
    return script(path, f"cat <<'END'\n{text}\nEND")


def package(
    site: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """What pip leaves of a package: its metadata, and `files` beside it. The metadata's folder."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    text = "\n".join(lines) + "\n\nVersion: of the description\nRequires-Dist: nothing\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    for inner, content in (files or {}).items():
        path = site / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return info


def torch(site: Path, version: str, cuda: str | None, requires: Sequence[str] = ()) -> None:
    """A torch, as its `version.py` says it is built."""
    source = (
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda']\n"
        f"__version__ = {version!r}\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
        "git_version = 'cf30153c'\nhip: Optional[str] = None\n"
    )
    package(site, "torch", version, requires, {"torch/version.py": source})


def bitsandbytes(site: Path, version: str, cudas: Sequence[str] = ("118", "121", "124")) -> None:
    """A bitsandbytes with its compiled libraries."""
    names = [f"bitsandbytes/libbitsandbytes_{each}.so" for each in ("cpu", "rocm64")]
    names += [f"bitsandbytes/libbitsandbytes_cuda{each}.so" for each in cudas]
    package(site, "bitsandbytes", version, ["torch<3,>=2.0"], dict.fromkeys(names, ""))


def venv(prefix: Path, version: str = "3.11.7", *, runs: bool = True) -> Path:
    """A virtual environment whose interpreter answers our question; its site-packages."""
    minor = ".".join(version.split(".")[:2])
    site = prefix / "lib" / f"python{minor}" / "site-packages"
    site.mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n", "utf-8")
    (prefix / "bin").mkdir(exist_ok=True)
    python = prefix / "bin" / "python"
    if runs:
        printing(python, answer(prefix, version, [str(site)]))
    else:
        python.symlink_to("/nowhere/python3")
    return site


def answer(prefix: Path, version: str, path: Sequence[str]) -> str:
    """What an interpreter prints that is asked for itself."""
    told = {
        "executable": str(prefix / "bin" / "python"), "prefix": str(prefix), "base": "/usr",
        "version": version, "platform": sys.platform, "path": ["/usr/lib/none.zip", *path],
    }  # fmt: skip
    return f"a start-up file says hello\nmscope-answer:{json.dumps(told)}"


def nvidia_smi(
    folder: Path, driver: str, cuda: str, cards: Sequence[Card], label: str = "CUDA Version"
) -> Path:
    """`nvidia-smi` of a driver: before 510 it does not know `compute_cap`."""
    head = f"| NVIDIA-SMI {driver}   Driver Version: {driver}   {label}: {cuda} |"
    old = int(driver.split(".")[0]) < 510
    rows = "\n".join(
        f"{number}, GPU-{number}abc-def, {name}, {total}, {free}, {driver}"
        + ("" if old else f", {capability}")
        for number, (name, total, free, capability) in enumerate(cards)
    )
    refusal = 'Field "compute_cap" is not a valid field to query.'
    refused = f"*compute_cap*) echo '{refusal}'; exit 2;;\n" if old else ""
    body = (
        f"case \"$*\" in\n{refused}*--query-gpu=*) cat <<'END'\n{rows}\nEND\n;;\n"
        f"*) cat <<'END'\n{head}\nEND\n;;\nesac"
    )
    return script(folder / "nvidia-smi", body)


def nvcc(folder: Path, version: str) -> Path:
    """The compiler of a toolkit."""
    text = (
        "nvcc: NVIDIA (R) Cuda compiler driver\n"
        f"Cuda compilation tools, release {version}, V{version}.140"
    )
    return printing(folder / "nvcc", text)


def pip(folder: Path, python: str) -> Path:
    """A `pip` that installs for an interpreter."""
    path = folder / "pip"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{python}\nimport pip\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def example(work: Path, programs: Path) -> None:
    """The environment that README looks at: a torch that is too new for the machine's driver."""
    site = venv(work / ".venv")
    torch(site, "2.5.1+cu121", "12.1", ["nvidia-cudnn-cu12==9.1.0.70"])
    package(site, "nvidia-cudnn-cu12", "9.1.0.70")
    package(site, "transformers", "4.48.0", ["huggingface-hub<1.0,>=0.24.0"])
    package(site, "huggingface_hub", "1.2.0")
    nvidia_smi(programs, "470.82.01", "11.4", [V100])
    nvcc(programs, "12.2")
    os.makedirs(work, exist_ok=True)
