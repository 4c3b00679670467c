"""Everything that `env` looks at, gathered; what is made of it is `problems`' business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelscope_cli.environment import (
    hf_cache,
    interpreter,
    nvidia_smi,
    packages,
    probe,
    requirements,
    shell,
    toolkit,
    torch_build,
)
from modelscope_cli.environment.probe import ProbedGpu
from modelscope_cli.facts import Unknown


class Environment(NamedTuple):
    """What was seen. `probe` is None where torch was not to be imported."""

    interpreter: interpreter.Interpreter
    packages: packages.Installed
    conflicts: tuple[requirements.Conflict, ...]
    torch: torch_build.TorchBuild | None
    conda_torch: str | None
    cudnn: str | Unknown | None
    bnb_libraries: tuple[tuple[int, int], ...] | Unknown | None
    driver: nvidia_smi.Driver
    toolkit: toolkit.Toolkit
    shell: shell.Shell
    cache: hf_cache.HfCache
    probe: probe.Probe | None
    environ: Mapping[str, str]

    @property
    def gpus(self) -> tuple[nvidia_smi.Gpu, ...]:
        """The cards, what nvidia-smi leaves open filled in by torch where it was asked."""
        if self.probe is None or not self.probe.gpus:
            return self.driver.gpus
        if not self.driver.gpus:
            return tuple(map(self._as_probed, range(len(self.probe.gpus)), self.probe.gpus))
        return tuple(map(self._filled_in, self.driver.gpus))

    def _as_probed(self, number: int, gpu: ProbedGpu) -> nvidia_smi.Gpu:
        # ROCm's torch tells a number for it, too, that means something else.
        amd = self.torch is not None and self.torch.hip is not None
        none = Unknown("compute capability is NVIDIA's")
        capability = none if amd else gpu.capability
        return nvidia_smi.Gpu(number, "", gpu.name, gpu.total_bytes, gpu.free_bytes, capability)

    def _filled_in(self, gpu: nvidia_smi.Gpu) -> nvidia_smi.Gpu:
        # By name: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER change torch's numbers.
        same = [each for each in (self.probe.gpus if self.probe else ()) if each.name == gpu.name]
        if not same:
            return gpu
        return gpu._replace(
            total_bytes=_else(gpu.total_bytes, same[0].total_bytes),
            free_bytes=_else(gpu.free_bytes, same[0].free_bytes),
            capability=gpu.capability if isinstance(gpu.capability, str) else same[0].capability,
        )


def _else(value: int | Unknown, other: int) -> int | Unknown:
    return other if isinstance(value, Unknown) else value


def look(python: str | None, environ: Mapping[str, str], *, probing: bool) -> Environment:
    """Look at a Python, its packages, the driver, the toolkit, the shell and the HF cache.

    Raises NotFound where `python` is nothing that could be looked at.
    """
    found = interpreter.look_for(python, environ)
    there = packages.installed(found.path)
    version = found.version if isinstance(found.version, str) else "3"
    return Environment(
        found,
        there,
        tuple(requirements.conflicts(there, version, found.platform)),
        torch_build.torch_build(there, found.platform),
        torch_build.conda_version(found.prefix, "pytorch"),
        torch_build.cudnn_version(there, found.prefix, found.platform),
        torch_build.bnb_libraries(there),
        nvidia_smi.ask_driver(environ),
        toolkit.find_toolkit(environ),
        shell.look(environ),
        hf_cache.look(environ),
        probe.probe(found) if probing else None,
        environ,
    )
