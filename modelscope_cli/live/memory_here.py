"""What memory this process takes, and what this machine's devices hold."""

from __future__ import annotations

import os
from typing import Any, NamedTuple


class OnDevice(NamedTuple):
    """A CUDA card as torch's allocator sees it, in bytes: tensors, and what it keeps for them."""

    device: str
    allocated: int
    reserved: int


def devices(torch: Any) -> tuple[OnDevice, ...]:
    """Every CUDA card; none on a machine without."""
    if not torch.cuda.is_available():
        return ()
    return tuple(
        OnDevice(f"cuda:{n}", torch.cuda.memory_allocated(n), torch.cuda.memory_reserved(n))
        for n in range(torch.cuda.device_count())
    )


def available(torch: Any) -> int | None:
    """Bytes that may be filled: of all cards and the machine; None where it does not tell."""
    cards = 0
    if torch.cuda.is_available():
        cards = sum(torch.cuda.mem_get_info(n)[0] for n in range(torch.cuda.device_count()))
    here = _available_here()
    return None if here is None else cards + here


def _available_here() -> int | None:
    """Linux says what could be freed too; other systems what is free now."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next((line for line in lines if line.startswith("MemAvailable:")), None)
        if found is not None:
            return int(found.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def resident() -> int | None:
    """Bytes of this process in memory; None where there is no /proc."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None
