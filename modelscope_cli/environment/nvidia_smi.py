"""The driver and the GPUs, asked of `nvidia-smi`."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from shutil import which
from typing import NamedTuple

from modelscope_cli.environment.asking import Answer, ask
from modelscope_cli.facts import Unknown

NO_GPU = "no GPU visible here"
_SECONDS = 10.0  # a machine that wakes its cards up needs some
_MIB = 1024 * 1024
_MAX_GPUS = 256
_FIELDS = ("index", "uuid", "name", "memory.total", "memory.free", "driver_version")
_CAPABILITY = "compute_cap"
_FORMAT = "--format=csv,noheader,nounits"
_CUDA = re.compile(r"CUDA (?:UMD )?Version\s*:\s*(\d+)\.(\d+)")
_DRIVER = re.compile(r"(?:Driver Version|DRIVER version)\s*:\s*(\d+(?:\.\d+)+)")
_ELSEWHERE = (
    "/usr/lib/wsl/lib/nvidia-smi",
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
)
# What it says where there is simply no card or driver, as on a login node.
_NOTHING_THERE = ("no devices were found", "couldn't communicate with the nvidia driver")


class Gpu(NamedTuple):
    """One card. Sizes in bytes; `number` as nvidia-smi counts, `capability` as in `8.9`."""

    number: int
    uuid: str
    name: str
    total_bytes: int | Unknown
    free_bytes: int | Unknown
    capability: str | Unknown


class Driver(NamedTuple):
    """What `nvidia-smi` told. `cuda` is the newest CUDA that this driver can run, no toolkit.

    `absent` says why there is nothing; `problem` why there should have been an answer.
    """

    version: str | None = None
    cuda: str | None = None
    gpus: tuple[Gpu, ...] = ()
    absent: str | None = None
    problem: str | None = None


def ask_driver(environ: Mapping[str, str]) -> Driver:
    """The driver and its GPUs; a machine without is no error."""
    program = which("nvidia-smi", path=environ.get("PATH"))
    program = program or next(filter(os.path.isfile, _ELSEWHERE), None)
    if program is None:
        return Driver(absent="there is no nvidia-smi")
    overview = ask([program], seconds=_SECONDS)
    if overview.problem is not None or overview.code != 0:
        return _refused(overview)
    cuda = _CUDA.search(overview.out)
    driver = _DRIVER.search(overview.out)
    found = Driver(driver[1] if driver else None, f"{cuda[1]}.{cuda[2]}" if cuda else None)
    listed = _list_gpus(program)
    return listed if isinstance(listed, Driver) else _with_gpus(found, listed)


def _list_gpus(program: str) -> list[list[str]] | Driver:
    """Rows of fields; the last, the compute capability, is unknown to drivers before 510."""
    for fields in ((*_FIELDS, _CAPABILITY), _FIELDS):
        answer = ask([program, f"--query-gpu={','.join(fields)}", _FORMAT], seconds=_SECONDS)
        if answer.problem is None and answer.code == 0:
            rows = csv.reader(answer.out.splitlines()[:_MAX_GPUS], skipinitialspace=True)
            try:
                return [[*row, ""][: len(_FIELDS) + 1] for row in rows if len(row) == len(fields)]
            except csv.Error as error:
                return Driver(problem=f"nvidia-smi's list of GPUs makes no sense: {error}")
    return _refused(answer)


def _refused(answer: Answer) -> Driver:
    said = (answer.out + answer.err).strip()
    if answer.problem is None and any(each in said.lower() for each in _NOTHING_THERE):
        return Driver(absent=f"nvidia-smi says: {said.splitlines()[0][:200]}")
    first = next(iter(said.splitlines()), "")[:200]
    return Driver(problem=f"nvidia-smi {answer.problem or f'fails ({answer.code}): {first}'}")


def _with_gpus(found: Driver, rows: list[list[str]]) -> Driver:
    gpus = tuple(_gpu(row) for row in rows if row[0].strip().isdecimal() and len(row[0]) < 6)
    if not gpus and found == Driver():
        return Driver(problem="nvidia-smi's answer makes no sense: no driver and no GPU in it")
    version = next((row[5].strip()[:40] for row in rows), None)
    absent = None if gpus else "nvidia-smi lists none"
    return found._replace(version=found.version or version, gpus=gpus, absent=absent)


def _gpu(row: list[str]) -> Gpu:
    index, uuid, name, total, free, _, capability = (field.strip() for field in row)
    return Gpu(
        int(index),
        uuid,
        name,
        _bytes(total),
        _bytes(free),
        capability
        if re.fullmatch(r"\d{1,2}\.\d{1,2}", capability)
        else Unknown("this driver's nvidia-smi does not tell it; --probe asks torch"),
    )


def _bytes(mebibytes: str) -> int | Unknown:
    if mebibytes.isdecimal() and len(mebibytes) < 12:
        return int(mebibytes) * _MIB
    # Cards that share the machine's memory say [N/A].
    return Unknown(f"nvidia-smi says {mebibytes[:40]!r}")
