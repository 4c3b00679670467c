"""What does not fit together, why, and what mends it: a table of checks, each pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from modelscope_cli.environment import drivers
from modelscope_cli.environment.looking import Environment
from modelscope_cli.environment.packages import WATCHED
from modelscope_cli.environment.shell import same_environment
from modelscope_cli.facts import Unknown

_WITH_TORCH = "pytorch.org gives the command for each CUDA"


class Problem(NamedTuple):
    """One thing that is wrong."""

    what: str
    why: str
    remedy: str


Check = Callable[[Environment], Iterator[Problem]]


def problems(env: Environment) -> list[Problem]:
    """Everything that is wrong, the interpreter first."""
    return [found for check in CHECKS for found in check(env)]


def _interpreter(env: Environment) -> Iterator[Problem]:
    looked = env.interpreter
    for name in looked.gone:
        yield Problem(
            f"${name} names an environment that is not there",
            f"{env.environ.get(name)} is no folder",
            f"unset {name}, or make and activate the environment again",
        )
    if looked.problem is not None:
        yield Problem(
            "the interpreter does not run",
            f"{looked.problem}; packages were read from its folders",
            "make the environment again with a Python that is there",
        )


def _shell(env: Environment) -> Iterator[Problem]:
    shell, looked = env.shell, env.interpreter
    if shell.agree() is False:
        yield Problem(
            "python and pip are not of one environment",
            f"python is {shell.python}, but {shell.pip} installs for {shell.pip_python}",
            "python -m pip install ... installs for that python",
        )
    if not looked.chosen.startswith("$") or looked.python is None or shell.python is None:
        return
    if not same_environment(looked.python, shell.python):
        yield Problem(
            f"python is not that of {looked.chosen}",
            f"{looked.chosen} is {looked.prefix}, but python on PATH is {shell.python}",
            "activate the environment again: its folder of programs comes first on PATH then",
        )


def _installs(env: Environment) -> Iterator[Problem]:
    for name in WATCHED:
        found = env.packages.found.get(name, ())
        here = [each for each in found if each.folder == found[0].folder]
        if len(here) > 1:
            versions = " and ".join(each.version for each in here)
            yield Problem(
                f"{name} is installed twice in one folder",
                f"metadata of {versions} in {here[0].folder}: an upgrade broke off",
                f"python -m pip install --force-reinstall {name}",
            )
        elif name == "torch" and len(found) > 1:
            rest = ", ".join(f"{each.version} in {each.folder}" for each in found[1:])
            yield Problem(
                f"{len(found)} torch installs",
                f"{found[0].version} in {found[0].folder} is imported, and there is also {rest}",
                "uninstall all but one: their libraries must not mix",
            )
        if found and found[0].requires is None:
            yield Problem(
                f"{name}'s metadata cannot be read",
                f"no version in its metadata in {found[0].folder}",
                f"python -m pip install --force-reinstall {name}",
            )


def _torch_files(env: Environment) -> Iterator[Problem]:
    torch, conda = env.torch, env.conda_torch
    if torch is not None and conda and torch.version.partition("+")[0] != conda:
        yield Problem(
            "pip has installed torch over conda's",
            f"conda has put pytorch {conda} there, pip torch {torch.version}",
            "uninstall both, then install one of them: files of the other may be left",
        )
        return
    once = len(env.packages.found.get("torch", ())) == 1  # else that is said already
    if torch is not None and torch.source_version is not None and once:
        yield Problem(
            "torch's files are not those of its metadata",
            f"the metadata says {torch.version}, torch/version.py {torch.source_version}",
            "uninstall torch until none is left, then install it once",
        )


def _requirements(env: Environment) -> Iterator[Problem]:
    for each in env.conflicts:
        name = each.requirement.partition(">")[0].partition("<")[0].partition("=")[0].strip("!~")
        there = "is not installed" if each.found is None else f"is {each.found}"
        yield Problem(
            f"{each.package} {each.version} needs {each.requirement}",
            f"{name} {there}",
            f"python -m pip install {each.requirement!r}, or another version of {each.package}",
        )


def _driver(env: Environment) -> Iterator[Problem]:
    if env.driver.problem is not None:
        yield Problem(
            "the NVIDIA driver does not answer",
            env.driver.problem,
            "after an update of the driver: restart; nvidia-smi itself must work first",
        )


def _driver_too_old(env: Environment) -> Iterator[Problem]:
    cuda = None if env.torch is None else env.torch.cuda
    if not isinstance(cuda, str) or not env.driver.gpus or _driver_runs(env, cuda) is not False:
        return
    has = f"driver {env.driver.version or 'of unknown version'}"
    upto = f" runs CUDA up to {env.driver.cuda}" if env.driver.cuda else " is older"
    least = drivers.minimum_driver(cuda, env.interpreter.platform)
    need = f"a driver for CUDA {cuda.split('.')[0]}" + (f", {least} or newer" if least else "")
    yield Problem(
        f"the driver is too old for torch's CUDA {cuda}",
        f"{has}{upto}; torch built with CUDA {cuda} needs {need}",
        f"update the driver, or install a torch built for an older CUDA ({_WITH_TORCH})",
    )


def _driver_runs(env: Environment, cuda: str) -> bool | None:
    """Whether the driver runs a build with `cuda`; None where neither of its versions is known."""
    built = drivers.version_tuple(cuda) or (0,)
    upto = drivers.version_tuple(env.driver.cuda or "")
    # What the driver itself says comes first: with NVIDIA's forward compatibility package an old
    # driver runs a new CUDA. From CUDA 11 on the major version decides.
    if upto is not None and (upto >= built or (built[0] >= 11 and upto[0] >= built[0])):
        return True
    has = drivers.version_tuple(env.driver.version or "")
    least = drivers.version_tuple(drivers.minimum_driver(cuda, env.interpreter.platform) or "")
    if has is not None and least is not None:
        return has >= least
    return None if upto is None else False


def _torch_without_gpu(env: Environment) -> Iterator[Problem]:
    if env.torch is None or not env.driver.gpus or env.torch.cuda is not None:
        return
    kind = "a CPU-only" if env.torch.hip is None else "an AMD"
    yield Problem(
        f"{kind} torch beside an NVIDIA GPU",
        f"torch {env.torch.version} ({env.torch.label}) cannot use {env.driver.gpus[0].name}",
        f"install a torch built for CUDA ({_WITH_TORCH})",
    )
    if env.packages.get("bitsandbytes") is not None:
        yield Problem(
            "bitsandbytes without CUDA",
            f"it uses the CUDA of torch, and torch {env.torch.version} has none",
            "the same: a torch built for CUDA",
        )


def _cards(env: Environment) -> Iterator[Problem]:
    cuda = None if env.torch is None else env.torch.cuda
    if not isinstance(cuda, str) or env.torch is None:
        return
    known = {gpu.capability: gpu.name for gpu in env.gpus if isinstance(gpu.capability, str)}
    for capability, name in known.items():
        why = drivers.lacks_kernels(cuda, capability)
        archs = env.probe.architectures if env.probe is not None else ()
        if (runs := drivers.runs_on(archs, capability)) is not None:
            text = f"it is compiled for {', '.join(archs)}, not for {capability}"
            why = None if runs else (why or text)
        if why is not None:
            yield Problem(
                f"torch {env.torch.version} has no kernels for {name}",
                f"torch is built with CUDA {cuda}; {why}",
                f"install a torch built for a CUDA that knows this card ({_WITH_TORCH})",
            )


def _visible(env: Environment) -> Iterator[Problem]:
    value = env.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None or not env.driver.gpus:
        return
    for word in filter(None, (each.strip() for each in value.split(","))):
        if word.isdecimal():
            there = len(word) < 6 and int(word) < len(env.driver.gpus)
        else:
            there = not word.startswith("GPU-") or any(
                gpu.uuid.startswith(word) for gpu in env.driver.gpus
            )
        if not there:
            yield Problem(
                "CUDA_VISIBLE_DEVICES names a GPU that is not there",
                f"{value!r}: there is no {word}, and CUDA ignores it and all after it",
                "name GPUs of nvidia-smi's list, from 0 on",
            )
            return


def _bitsandbytes(env: Environment) -> Iterator[Problem]:
    cuda = None if env.torch is None else env.torch.cuda
    built = drivers.version_tuple(cuda) if isinstance(cuda, str) else None
    if env.bnb_libraries is None or isinstance(env.bnb_libraries, Unknown) or built is None:
        return
    has = ", ".join(f"{major}.{minor}" for major, minor in env.bnb_libraries) or "no CUDA at all"
    wanted = env.environ.get("BNB_CUDA_VERSION", "")
    if wanted and wanted not in {f"{major}{minor}" for major, minor in env.bnb_libraries}:
        yield Problem(
            f"BNB_CUDA_VERSION is {wanted}, and bitsandbytes has no such library",
            f"it brings kernels for {has}",
            "unset BNB_CUDA_VERSION",
        )
    elif not any(major == built[0] for major, _ in env.bnb_libraries):
        yield Problem(
            f"bitsandbytes has no kernels for torch's CUDA {cuda}",
            f"bitsandbytes {env.packages.version('bitsandbytes')} brings kernels for {has}",
            "install a newer bitsandbytes, or a torch built for one of these",
        )


def _toolkit(env: Environment) -> Iterator[Problem]:
    home = env.toolkit.home
    if home is not None and not os.path.isdir(home):
        yield Problem(
            "CUDA_HOME names a folder that is not there",
            f"{home}: extensions that compile CUDA code look there",
            "unset it, or name the folder of the toolkit",
        )
    if env.toolkit.problem is not None:
        yield Problem("nvcc does not answer", env.toolkit.problem, "reinstall the CUDA toolkit")


def _probed(env: Environment) -> Iterator[Problem]:
    probe = env.probe
    if probe is None:
        return
    if probe.problem is not None:
        yield Problem("the probe did not end well", probe.problem, "try: python -c 'import torch'")
        return
    if probe.torch_error is not None and env.torch is not None:
        yield Problem(
            "torch cannot be used" if probe.torch else "torch cannot be imported",
            probe.torch_error,
            "reinstall torch and what it needs",
        )
    cuda_build = env.torch is not None and isinstance(env.torch.cuda, str)
    if cuda_build and probe.torch and env.driver.gpus and not probe.available:
        hidden = env.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        if not hidden:
            why = next(iter(probe.warnings), "torch.cuda.is_available() is False")
            yield Problem("torch does not see the GPU", why, "see what else is wrong here")
    yield from _probed_bitsandbytes(env)


def _probed_bitsandbytes(env: Environment) -> Iterator[Problem]:
    probe = env.probe
    if probe is None:
        return
    if probe.bitsandbytes_error is not None:
        # Without torch it says nothing new.
        if env.torch is not None and probe.torch_error is None:
            yield Problem(
                "bitsandbytes cannot be imported",
                probe.bitsandbytes_error,
                "python -m pip install --upgrade bitsandbytes",
            )
    elif probe.bitsandbytes and probe.available and not (probe.kernels and probe.kernels_cuda):
        yield Problem(
            "bitsandbytes' CUDA kernels do not load",
            probe.kernels_error or "the library that was loaded is not built with CUDA",
            "python -m bitsandbytes says more",
        )


CHECKS: tuple[Check, ...] = (
    _interpreter,
    _shell,
    _installs,
    _torch_files,
    _requirements,
    _driver,
    _driver_too_old,
    _torch_without_gpu,
    _cards,
    _visible,
    _bitsandbytes,
    _toolkit,
    _probed,
)
