"""Which driver a CUDA build needs, and which cards it has kernels for. Tables with their sources.

Minimum drivers: NVIDIA, CUDA Toolkit Release Notes, "CUDA Toolkit and Corresponding Driver
Versions", and CUDA Compatibility, "Minor Version Compatibility" (from CUDA 11 on, any 11.x runs on
a driver for 11.0, any 12.x on one for 12.0: only what is compiled on the spot may not).
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, ...]


class Needed(NamedTuple):
    """Minimum driver versions; `windows` None where NVIDIA names none."""

    linux: str
    windows: str | None


# By major version: what such a program needs at least.
_OF_MAJOR = {
    11: Needed("450.80.02", "452.39"),
    12: Needed("525.60.13", "527.41"),
    13: Needed("580.65.06", None),
}
# Before CUDA 11 every minor version needed its own driver.
_OF_OLDER: dict[Version, Needed] = {
    (9, 0): Needed("384.81", "385.54"),
    (9, 1): Needed("390.46", "391.29"),
    (9, 2): Needed("396.26", "397.44"),
    (10, 0): Needed("410.48", "411.31"),
    (10, 1): Needed("418.39", "418.96"),
    (10, 2): Needed("440.33", "441.22"),
}
# The first CUDA whose compiler knows a generation of cards, by major compute capability: NVIDIA's
# compatibility guides for Hopper (11.8) and Blackwell (12.8); 13.0 for 11.0 (Thor).
_FIRST_CUDA = {8: (11, 0), 9: (11, 8), 10: (12, 8), 11: (13, 0), 12: (12, 8)}
# The first CUDA that has dropped cards below a capability: release notes of 12.0 (Kepler) and
# 13.0 (Maxwell, Pascal, Volta).
_DROPPED = (((13, 0), (7, 5)), ((12, 0), (5, 0)))


def version_tuple(text: str) -> Version | None:
    """`535.104.05` as numbers; None for what is no version."""
    match = re.match(r"\d{1,9}(?:\.\d{1,9}){0,3}", text)
    return None if match is None else tuple(int(part) for part in match[0].split("."))


def minimum_driver(cuda: str, platform: str = "linux") -> str | None:
    """The oldest driver that runs a program built with `cuda`; None where no table says it."""
    version = version_tuple(cuda)
    if version is None:
        return None
    needed = _OF_MAJOR.get(version[0]) or _OF_OLDER.get(version[:2])
    if needed is None:
        return None
    return needed.windows if platform == "win32" else needed.linux


def lacks_kernels(cuda: str, capability: str) -> str | None:
    """Why a build with `cuda` cannot have kernels for a card; None where it may."""
    built, card = version_tuple(cuda), version_tuple(capability)
    if built is None or card is None:
        return None
    first = _FIRST_CUDA.get(card[0])
    if first is not None and built < first:
        return f"compute capability {capability} needs CUDA {first[0]}.{first[1]} or newer"
    for since, oldest in _DROPPED:
        if built >= since and card < oldest:
            return f"CUDA {since[0]} has dropped cards below compute capability {_dotted(oldest)}"
    return None


def runs_on(arch_list: tuple[str, ...], capability: str) -> bool | None:
    """Whether torch's architectures (`sm_80`, `compute_90`) hold code for a card; None: untold.

    Machine code runs on cards of its own generation from its minor version on; `compute_` code
    is compiled on any newer card.
    """
    card = version_tuple(capability)
    if card is None or not arch_list:
        return None
    for each in arch_list:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", each)
        if match is None:
            continue
        built = (int(match[2]), int(match[3]))
        if match[1] == "sm" and built[0] == card[0] and built <= card:
            return True
        if match[1] == "compute" and not match[4] and built <= card:
            return True
    return False


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


class Dtypes(NamedTuple):
    """What a card makes of three dtypes, in words."""

    bf16: str
    fp8: str
    mxfp4: str


NATIVE = "native"
# (from capability, words). bf16 and FP8: NVIDIA, CUDA C++ Programming Guide, "Compute
# Capabilities" (bf16 from 8.0, FP8 tensor cores from 8.9, FP4 from 10.0). Below, what transformers
# does: its FP8 needs 8.9, its MXFP4 kernels 7.5, and else weights are dequantized to bf16.
_BF16 = (((8, 0), NATIVE), ((0, 0), "emulated, slow: use float16"))
_FP8 = (((8, 9), NATIVE), ((0, 0), "dequantized to bf16"))
_MXFP4 = (
    ((10, 0), NATIVE),
    ((7, 5), "4-bit weights by Triton kernels"),
    ((0, 0), "dequantized to bf16"),
)


def dtypes_of(capability: str) -> Dtypes | None:
    """What a card of that compute capability does with bf16, FP8 and MXFP4."""
    card = version_tuple(capability)
    if card is None:
        return None
    tables = (_BF16, _FP8, _MXFP4)
    return Dtypes(*(next(words for least, words in table if card >= least) for table in tables))
