"""What `mscope env` shows: a Python, its packages, CUDA, the GPUs, the HF cache, and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.environment import variables
from modelscope_cli.environment.drivers import dtypes_of, minimum_driver
from modelscope_cli.environment.looking import Environment
from modelscope_cli.environment.nvidia_smi import NO_GPU, Gpu
from modelscope_cli.environment.packages import WATCHED, written
from modelscope_cli.environment.problems import Problem
from modelscope_cli.environment.remarks import remarks, verdict
from modelscope_cli.facts import Unknown
from modelscope_cli.report import Cell, Column, Fields, Lines, Report, Section, Table
from modelscope_cli.reports.objects import with_unknowns

RECORD_KEYS = ("what", "why", "remedy")
_PACKAGES = (
    Column("name", "package", "word"),
    Column("version", "version", "word"),
    Column("folder", "where", "word", rank=1),
)
_GPUS = (
    Column("index", "gpu", "count"),
    Column("name", "name", "text"),
    Column("total", "total", "size"),
    Column("free", "free", "size"),
    Column("capability", "capability", "word"),
    Column("bf16", "bf16", "text", rank=1),
    Column("fp8", "FP8", "text", rank=2),
    Column("mxfp4", "MXFP4", "text", rank=3),
)
# Shown although not installed: that, too, is an answer.
_ALWAYS = WATCHED[:7]
Pairs = list[tuple[str, Cell, str]]


def report(env: Environment, found: Sequence[Problem], *, check: bool) -> Report:
    """`check`: exit code 1 where something is wrong."""
    looked = env.interpreter
    return Report(
        "env",
        None,
        f"{looked.python or looked.prefix} ({looked.chosen})",
        lambda folded: _sections(env, found),
        lambda: _document(env, found),
        RECORD_KEYS,
        lambda: _records(found),
        exit_code=int(check and bool(found)),
    )


def _records(found: Sequence[Problem]) -> Iterator[dict[str, Any]]:
    return (each._asdict() for each in found)


def _document(env: Environment, found: Sequence[Problem]) -> dict[str, Any]:
    return {
        "environment": _environment(env),
        "packages": {written(name): env.packages.version(name) for name in WATCHED},
        "cuda": _cuda(env),
        "gpus": [_gpu(gpu) for gpu in env.gpus],
        "cache": _cache(env),
        "probe": _probe(env),
        "problems": list(_records(found)),
        "remarks": remarks(env),
        "verdict": verdict(env, len(found)),
    }


def _environment(env: Environment) -> dict[str, Any]:
    looked = env.interpreter
    return with_unknowns(
        {
            "chosen": looked.chosen,
            "python": looked.python,
            "prefix": looked.prefix,
            "version": looked.version,
            "platform": looked.platform,
            "search_path": list(looked.path),
            "python_on_path": env.shell.python,
            "pip_on_path": env.shell.pip,
            "pip_python": env.shell.pip_python,
            "slurm": variables.slurm(env.environ),
        }
    )


def _cuda(env: Environment) -> dict[str, Any]:
    torch = env.torch
    cuda = None if torch is None else torch.cuda
    least = minimum_driver(cuda, env.interpreter.platform) if isinstance(cuda, str) else None
    return with_unknowns(
        {
            "torch": cuda,
            "build": None if torch is None else torch.label,
            "hip": None if torch is None else torch.hip,
            "minimum_driver": least,
            "driver": env.driver.version,
            "driver_cuda": env.driver.cuda,
            "nvcc": env.toolkit.version,
            "nvcc_path": env.toolkit.path,
            "home": env.toolkit.home,
            "cudnn": env.cudnn,
            "bitsandbytes": _bnb_libraries(env),
            "visible_devices": env.environ.get("CUDA_VISIBLE_DEVICES"),
            "variables": variables.cuda(env.environ),
        }
    )


def _bnb_libraries(env: Environment) -> list[str] | Unknown:
    if isinstance(env.bnb_libraries, Unknown):
        return env.bnb_libraries
    return [f"{major}.{minor}" for major, minor in env.bnb_libraries or ()]


def _gpu(gpu: Gpu) -> dict[str, Any]:
    dtypes = dtypes_of(gpu.capability) if isinstance(gpu.capability, str) else None
    return with_unknowns(
        {
            "name": gpu.name,
            "total_bytes": gpu.total_bytes,
            "free_bytes": gpu.free_bytes,
            "capability": gpu.capability,
            "index": gpu.number,
            "dtypes": None if dtypes is None else dtypes._asdict(),
        }
    )


def _cache(env: Environment) -> dict[str, Any]:
    cache = env.cache
    return with_unknowns(
        {
            "path": cache.path,
            "exists": cache.exists,
            "writable": cache.writable,
            "bytes": cache.bytes,
            "at_least_bytes": cache.at_least_bytes,
            "repos": cache.repos,
            "disk_free_bytes": cache.free_bytes,
            "offline": variables.offline(env.environ),
            "token": variables.token(env.environ) is not None,
            "variables": variables.hugging_face(env.environ),
        }
    )


def _probe(env: Environment) -> dict[str, Any] | None:
    if env.probe is None:
        return None
    told = env.probe._asdict()
    told["gpus"] = [gpu._asdict() for gpu in env.probe.gpus]
    return told


def _sections(env: Environment, found: Sequence[Problem]) -> list[Section]:
    sections: list[Section] = [
        Fields(_python_pairs(env)),
        Table(_PACKAGES, _package_rows(env)),
        Fields(_cuda_pairs(env)),
    ]
    if env.gpus:
        sections.append(Table(_GPUS, [_gpu_row(gpu) for gpu in env.gpus]))
    sections.append(Fields(_cache_pairs(env)))
    if said := remarks(env):
        sections.append(Lines([f"- {each}" for each in said]))
    for each in found:
        pairs: Pairs = [("problem", each.what, "text"), ("why", each.why, "text")]
        sections.append(Fields([*pairs, ("remedy", each.remedy, "text")]))
    return [*sections, Lines([verdict(env, len(found))])]


def _python_pairs(env: Environment) -> Pairs:
    looked = env.interpreter
    pairs: Pairs = [
        ("python", looked.version, "text"),
        ("environment", looked.prefix, "text"),
        ("python on PATH", env.shell.python or "none", "text"),
        ("pip on PATH", env.shell.pip or "none", "text"),
    ]
    return [*pairs, *_variables(variables.slurm(env.environ))]


def _variables(shown: Mapping[str, str]) -> Pairs:
    return [(name, value, "text") for name, value in shown.items()]


def _package_rows(env: Environment) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name in WATCHED:
        each = env.packages.get(name)
        if each is not None:
            rows.append([written(name), each.version, each.folder])
        elif name in _ALWAYS:
            rows.append([written(name), "not installed", ""])
    return rows


def _cuda_pairs(env: Environment) -> Pairs:
    driver, toolkit = env.driver, env.toolkit
    built: Cell = "no torch" if env.torch is None else (env.torch.cuda or env.torch.label)
    nvcc = "none" if toolkit.path is None else f"{toolkit.version or 'unknown'} ({toolkit.path})"
    pairs: Pairs = [
        ("torch's CUDA", built, "text"),
        ("driver", _driver_text(env), "text"),
        ("nvcc", nvcc, "text"),
        ("cuDNN", env.cudnn or "none", "text"),
    ]
    if env.bnb_libraries is not None:
        has = _bnb_libraries(env)
        shown: Cell = has if isinstance(has, Unknown) else ", ".join(has) or "none"
        pairs.append(("bitsandbytes' CUDA", shown, "text"))
    if driver.gpus == () and env.gpus == ():
        pairs.append(("GPUs", NO_GPU, "text"))
    if (probe := env.probe) is not None and probe.bitsandbytes:
        loaded = "yes, with CUDA" if probe.kernels_cuda else "yes, for the CPU"
        pairs.append(("bitsandbytes loads", loaded if probe.kernels else "no", "text"))
    return [*pairs, *_variables(variables.cuda(env.environ))]


def _driver_text(env: Environment) -> str:
    driver = env.driver
    if driver.version is None and driver.cuda is None:
        return driver.problem or driver.absent or "none"
    upto = f", runs CUDA up to {driver.cuda}" if driver.cuda else ""
    return f"{driver.version or 'unknown'}{upto}"


def _gpu_row(gpu: Gpu) -> list[Cell]:
    dtypes = dtypes_of(gpu.capability) if isinstance(gpu.capability, str) else None
    means: list[Cell] = list(dtypes) if dtypes else [Unknown("no capability")] * 3
    return [gpu.number, gpu.name, gpu.total_bytes, gpu.free_bytes, gpu.capability, *means]


def _cache_pairs(env: Environment) -> Pairs:
    cache = env.cache
    size: tuple[str, Cell, str] = ("HF cache holds", cache.bytes, "size")
    if isinstance(cache.bytes, Unknown):
        size = ("HF cache holds at least", cache.at_least_bytes, "size")
    pairs: Pairs = [
        ("HF cache", cache.path if cache.exists else f"{cache.path} (not there yet)", "text"),
        size,
        ("models in it", cache.repos, "count"),
        ("free on its disk", cache.free_bytes, "size"),
        ("HF token", variables.token(env.environ) or "not set", "text"),
        ("offline", variables.offline(env.environ), "text"),
    ]
    return [*pairs, *_variables(variables.hugging_face(env.environ))]
