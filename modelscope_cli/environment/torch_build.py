"""What torch was built for, from its `version.py` or metadata: torch is not imported."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from modelscope_cli.environment.layout import read_text
from modelscope_cli.environment.packages import Installed
from modelscope_cli.environment.requirements import required
from modelscope_cli.facts import Unknown

_MAX_BYTES = 65_536
_LOCAL_CUDA = re.compile(r"\+cu(\d{2,})(\d)\b")
_CUDNN = re.compile(r"nvidia-cudnn-cu\d+$")
# What a Linux wheel of the Python index brings its CUDA as: a package for each major version, then
# one for all, then a whole toolkit.
_RUNTIMES = re.compile(r"(?:nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit)$")
_BNB_LIBRARY = re.compile(r"libbitsandbytes_cuda(\d{2})(\d+)(?:_\w+)?\.(?:so|dll)$")


class TorchBuild(NamedTuple):
    """`cuda` is the version torch was built with: None for a build without, as `hip` for ROCm.

    `source_version` is what the package itself says, where it says another than its metadata.
    """

    version: str
    folder: str
    cuda: str | Unknown | None
    hip: str | None = None
    source_version: str | None = None

    @property
    def label(self) -> str:
        """The build in a word: `cu121`, `cpu`, `rocm6.2`."""
        if isinstance(self.cuda, str):
            return f"cu{self.cuda.replace('.', '')}"
        if self.hip is not None:
            return f"rocm{'.'.join(self.hip.split('.')[:2])}"
        return "of an unknown build" if isinstance(self.cuda, Unknown) else "cpu"


def torch_build(packages: Installed, platform: str = "linux") -> TorchBuild | None:
    """The torch that would be imported; None where none is installed."""
    torch = packages.get("torch")
    if torch is None:
        return None
    text = read_text(os.path.join(torch.folder, "torch", "version.py"), _MAX_BYTES)
    if not text:
        cuda = _from_version(torch.version)
        if isinstance(cuda, Unknown):
            cuda = required(torch, _RUNTIMES, platform) or cuda
        return TorchBuild(torch.version, torch.folder, cuda)
    said = _value(text, "__version__")
    differs = said is not None and said.partition("+")[0] != torch.version.partition("+")[0]
    return TorchBuild(
        torch.version,
        torch.folder,
        _value(text, "cuda"),
        _value(text, "hip"),
        said if differs else None,
    )


def _value(text: str, name: str) -> str | None:
    match = re.search(rf"^{name}\s*(?::[^=\n]*)?=\s*['\"]([^'\"\n]{{1,60}})['\"]", text, re.M)
    return match[1] if match else None


def _from_version(version: str) -> str | Unknown | None:
    if match := _LOCAL_CUDA.search(version):
        return f"{match[1]}.{match[2]}"
    if version.endswith("+cpu"):
        return None
    return Unknown(
        "torch/version.py cannot be read, and neither version nor requirements name the build"
    )


def cudnn_version(
    packages: Installed, prefix: str, platform: str = "linux"
) -> str | Unknown | None:
    """The cuDNN of its wheel or conda package; None where torch is a build without CUDA."""
    for name in packages.found:
        if _CUDNN.match(name):
            return packages.version(name)
    if (found := conda_version(prefix, "cudnn")) is not None:
        return found
    build = torch_build(packages, platform)
    if build is None or build.cuda is None:
        return None
    return Unknown("no package of its own: it is inside torch, or the system's; --probe asks torch")


def conda_version(prefix: str, name: str) -> str | None:
    """The version of a conda package, from the name of its record in `conda-meta`."""
    try:
        names = sorted(os.listdir(os.path.join(prefix, "conda-meta")))
    except OSError:
        return None
    for each in names:
        stem, ending = os.path.splitext(each)
        parts = stem.rsplit("-", 2)
        if ending == ".json" and len(parts) == 3 and parts[0] == name:
            return parts[1]
    return None


def bnb_libraries(packages: Installed) -> tuple[tuple[int, int], ...] | Unknown | None:
    """CUDA versions that bitsandbytes brings kernels for; None where it is not installed."""
    bnb = packages.get("bitsandbytes")
    if bnb is None:
        return None
    try:
        names = os.listdir(os.path.join(bnb.folder, "bitsandbytes"))
    except OSError:
        return Unknown(f"there is its metadata in {bnb.folder}, and no folder of its own")
    found = filter(None, map(_BNB_LIBRARY.match, names))
    return tuple(sorted({(int(match[1]), int(match[2])) for match in found}))
