"""What is easily misread although nothing is wrong, and the verdict in one line."""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_cli.environment.drivers import version_tuple
from modelscope_cli.environment.interpreter import OWN
from modelscope_cli.environment.looking import Environment
from modelscope_cli.environment.nvidia_smi import NO_GPU
from modelscope_cli.environment.packages import WATCHED
from modelscope_cli.facts import Unknown
from modelscope_cli.units import counted


def verdict(env: Environment, problems: int) -> str:
    """`torch cu121, driver up to 12.2, nvcc 12.2: nothing to fix`."""
    torch = "no torch" if env.torch is None else f"torch {env.torch.label}"
    nvcc = f"nvcc {env.toolkit.version}" if env.toolkit.version else "no nvcc"
    ending = f"{counted(problems, 'thing')} to fix" if problems else _nothing(env)
    return f"{torch}, {_driver(env)}, {nvcc}: {ending}"


def _nothing(env: Environment) -> str:
    """Where nothing was found: that nothing is wrong, if what that rests on is known."""
    if env.torch is not None and isinstance(env.torch.cuda, Unknown) and env.gpus:
        return "nothing found to fix, but whether driver and torch fit is not known"
    return "nothing to fix"


def _driver(env: Environment) -> str:
    if env.driver.problem is not None:
        return "the driver does not answer"
    if not env.gpus:
        return NO_GPU
    if env.driver.cuda is not None:
        return f"driver up to {env.driver.cuda}"
    return f"driver {env.driver.version or 'of unknown version'}"


def remarks(env: Environment) -> list[str]:
    """Things worth knowing; none of them is to be mended."""
    return [*_of_cuda(env), *_of_gpus(env), *_of_packages(env), *_of_settings(env)]


def _of_cuda(env: Environment) -> Iterator[str]:
    cuda = env.torch.cuda if env.torch is not None and isinstance(env.torch.cuda, str) else None
    upto, nvcc = env.driver.cuda, env.toolkit.version
    if upto is not None and nvcc is not None and upto != nvcc:
        yield (
            f"nvidia-smi's CUDA {upto} is the newest that the driver can run, and no toolkit; "
            f"the toolkit is nvcc's {nvcc}; that they differ is no fault"
        )
    if cuda is not None and upto is not None:
        built, runs = version_tuple(cuda), version_tuple(upto)
        if built and runs and runs < built and runs[0] == built[0]:
            yield (
                f"torch's CUDA {cuda} is newer than the driver's {upto}: within CUDA {built[0]} "
                "that works, only kernels compiled on the spot may ask for a newer driver"
            )
    if cuda is not None and nvcc is not None and cuda.split(".")[0] != nvcc.split(".")[0]:
        yield (
            f"torch brings its own CUDA {cuda}; only what is compiled here, such as flash-attn, "
            f"uses nvcc {nvcc}, and that must be of torch's major version"
        )
    if env.toolkit.home_version not in (None, nvcc):
        yield (
            f"nvcc on PATH is {nvcc}, that of CUDA_HOME ({env.toolkit.home}) "
            f"{env.toolkit.home_version}: extensions of torch take CUDA_HOME's"
        )


def _of_gpus(env: Environment) -> Iterator[str]:
    if env.torch is not None and env.torch.hip is not None:
        yield "only NVIDIA's cards are looked for; with --probe torch tells of AMD's"
    elif env.interpreter.platform == "darwin":
        yield "only NVIDIA's cards are looked for: torch uses Apple's as mps"
    elif env.driver.absent is not None and not env.gpus:
        yield f"{NO_GPU}: {env.driver.absent}; on a login node that is as it should be"
    value = env.environ.get("CUDA_VISIBLE_DEVICES")
    if value is not None and env.driver.gpus:
        if value.strip() in ("", "-1"):
            yield f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU from torch"
        else:
            seen = len([word for word in value.split(",") if word.strip()])
            if seen < len(env.driver.gpus):
                yield (
                    f"CUDA_VISIBLE_DEVICES={value}: torch sees {seen} of "
                    f"{counted(len(env.driver.gpus), 'GPU')}, and counts them from 0"
                )


def _of_packages(env: Environment) -> Iterator[str]:
    if env.interpreter.chosen == OWN and env.torch is None:
        yield "no environment is active, so this is the Python of mscope: --python names another"
    if env.torch is not None and isinstance(env.torch.cuda, Unknown):
        yield f"what CUDA torch was built with is not known: {env.torch.cuda.reason}"
    for name in WATCHED:
        found = env.packages.found.get(name, ())
        if name != "torch" and len({each.folder for each in found}) > 1:
            rest = ", ".join(f"{each.version} in {each.folder}" for each in found[1:])
            yield f"{name} {found[0].version} is imported, and there is also {rest}"
    for path in env.packages.leftovers[:5]:
        yield f"{path} is left over from a pip that was interrupted; it may be removed"


def _of_settings(env: Environment) -> Iterator[str]:
    environ = env.environ
    if environ.get("VIRTUAL_ENV") and environ.get("CONDA_PREFIX"):
        yield "$VIRTUAL_ENV and $CONDA_PREFIX are both set: the first counts"
    if environ.get("TRANSFORMERS_CACHE"):
        yield "TRANSFORMERS_CACHE is not read by transformers 5: HF_HOME or HF_HUB_CACHE is"
    if not env.cache.writable:
        yield f"{env.cache.path} cannot be written: nothing can be downloaded into it"
