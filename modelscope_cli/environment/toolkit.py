"""The CUDA toolkit: `nvcc`, and what CUDA_HOME names. Only builds need it, torch brings its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from shutil import which
from typing import NamedTuple

from modelscope_cli.environment.asking import ask

_SECONDS = 10.0
_RELEASE = re.compile(r"release (\d+\.\d+)")
_DEFAULT = "/usr/local/cuda"  # where torch's own extension builder looks last, too
_HOMES = ("CUDA_HOME", "CUDA_PATH")


class Toolkit(NamedTuple):
    """`version` of the nvcc at `path`; `home` is CUDA_HOME (or CUDA_PATH) as set.

    `home_version` is that of the nvcc in there, where that is another one.
    """

    path: str | None = None
    version: str | None = None
    home: str | None = None
    home_version: str | None = None
    problem: str | None = None


def find_toolkit(environ: Mapping[str, str]) -> Toolkit:
    """The nvcc on PATH, else in CUDA_HOME, else in /usr/local/cuda; all None where none is."""
    home = next(filter(None, map(environ.get, _HOMES)), None)
    path = which("nvcc", path=environ.get("PATH"))
    inside = None if home is None else _in(home)
    chosen = path or inside or _in(_DEFAULT)
    if chosen is None:
        return Toolkit(home=home)
    version, problem = _version(chosen)
    other = inside is not None and os.path.realpath(inside) != os.path.realpath(chosen)
    home_version = _version(inside)[0] if other and inside is not None else None
    return Toolkit(chosen, version, home, home_version, problem)


def _in(home: str) -> str | None:
    names = ("nvcc", "nvcc.exe")
    paths = (os.path.join(home, "bin", name) for name in names)
    return next(filter(os.path.isfile, paths), None)


def _version(nvcc: str) -> tuple[str | None, str | None]:
    answer = ask([nvcc, "--version"], seconds=_SECONDS)
    if match := _RELEASE.search(answer.out):
        return match[1], None
    return None, f"{nvcc} {answer.problem or 'does not tell its version'}"
