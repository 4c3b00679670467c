"""The GPUs of this machine, as nvidia-smi lists them."""

from __future__ import annotations

import csv
from typing import NamedTuple

from modelscope_cli.analysis.memory.cards.devices import FLAG, MOST_BYTES, MOST_CARDS, Cards
from modelscope_cli.errors import UsageError

FIELDS = ("index", "uuid", "name", "memory.total", "memory.reserved", "memory.used")
QUERY = (
    "nvidia-smi",
    f"--query-gpu={','.join(FIELDS)}",
    "--format=csv,noheader,nounits",
)
_MIB = 2**20


class Listed(NamedTuple):
    """One GPU; sizes in bytes. `reserved`: by the driver, which CUDA cannot hand out."""

    number: str
    uuid: str
    name: str
    total: int
    reserved: int
    used: int

    @property
    def free(self) -> int:
        """What can be had now."""
        return max(self.total - self.reserved - self.used, 0)


def read(text: str) -> list[Listed]:
    """The rows of `QUERY`'s answer; those of no such form are left out."""
    rows = csv.reader(text.splitlines()[:MOST_CARDS], skipinitialspace=True)
    return [gpu for row in rows if (gpu := _gpu(row))]


def _gpu(row: list[str]) -> Listed | None:
    cells = [cell.strip() for cell in row]
    if len(cells) != len(FIELDS) or not cells[3].isdecimal():
        return None
    # "[N/A]" of older drivers, which keep nothing apart
    total, reserved, used = (_MIB * int(c) if c.isdecimal() else 0 for c in cells[3:])
    return Listed(cells[0], cells[1], cells[2], total, reserved, used)


def visible(gpus: list[Listed], devices: str | None) -> list[Listed]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in its order, up to the first that is none."""
    if devices is None:
        return gpus
    found = []
    for word in devices.split(","):
        name = word.strip()
        match = [g for g in gpus if name == g.number or (name[4:] and g.uuid.startswith(name))]
        if not match:
            break
        found.append(match[0])
    return found


def cards(gpus: list[Listed]) -> Cards:
    """What is free on them. Raises UsageError where there is none."""
    each = tuple(min(gpu.free, MOST_BYTES) for gpu in gpus)
    if not any(each):
        raise UsageError(f"{FLAG} auto: no GPU is visible here", "name the cards: 4x80GiB")
    alike: dict[str, int] = {}
    for gpu in gpus:
        alike[gpu.name] = alike.get(gpu.name, 0) + 1
    used = sum(gpu.used for gpu in gpus)
    notes = (f"{used // _MIB:,} MiB of these cards are in use",) if used // _MIB > 0 else ()
    return Cards(
        " + ".join(f"{count} x {name}" for name, count in alike.items()), each, None, notes
    )
