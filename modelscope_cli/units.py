"""Numbers as text: bytes in the unit asked for, counts with separators."""

from __future__ import annotations

UNITS = ("iec", "si", "bytes")

_STEPS = {
    "iec": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")),
    "si": (1000, ("B", "kB", "MB", "GB", "TB", "PB", "EB")),
}
_COUNT_SUFFIXES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def size_text(count: int, units: str = "iec") -> str:
    """Bytes for people: `86.65 MiB` (iec, powers of 1024), `90.86 MB` (si) or `90,856,960 B`."""
    if units == "bytes":
        return f"{count:,} B"
    step, names = _STEPS[units]
    value: float = count
    for name in names:
        if abs(value) < step or name == names[-1]:
            break
        value /= step
    return f"{count} B" if name == "B" else f"{value:.2f} {name}"


def count_text(count: int) -> str:
    """A count with thousands separators: `22,713,216`."""
    return f"{count:,}"


def short_count(count: int, digits: int = 3) -> str:
    """A count to three digits (or more), as the field writes model sizes: `22.7M`, `8.03B`."""
    for unit, suffix in _COUNT_SUFFIXES:
        if abs(count) >= unit:
            value = count / unit
            decimals = max(0, digits - len(str(int(abs(value)))))
            return f"{value:.{decimals}f}{suffix}"
    return str(count)


def counted(count: int, noun: str) -> str:
    """A count and its noun: `1 tensor`, `1,000 tensors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
