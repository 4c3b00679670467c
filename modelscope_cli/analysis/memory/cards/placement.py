"""Which device holds which module under `device_map="auto"`, as transformers 5 plans it.

The rules are those of `transformers.integrations.accelerate`: `get_balanced_memory` gives each
card its share, `infer_auto_device_map` fills them in turn. Tests hold this to both functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.memory.cards.tree import Leaf, Part, Tree, tree
from modelscope_cli.analysis.memory.cards.twins import Twins
from modelscope_cli.analysis.memory.cards.waiting import Waiting

LONE_CARD_SHARE = 0.9  # what transformers fills of a card that is alone, and of the CPU's memory
QUANTIZED_SHARE = 0.9  # of every limit, for what bitsandbytes needs while it quantizes
_MARGIN = 1.25  # of the largest module that must stay whole, added to every card's share

__all__ = ["Leaf", "Placed", "place"]


class Placed(NamedTuple):
    """What one device holds; `modules` are the entries of the device map, "" the whole model."""

    device: str  # cuda:0 … | cpu | disk
    bytes: int
    modules: tuple[str, ...]


def place(
    leaves: Sequence[Leaf],
    no_split: Collection[str],
    tied: Sequence[Sequence[str]],
    gpu_bytes: Sequence[int],
    *,
    cpu_bytes: int | None = None,
    planner_bytes: Mapping[str, float] | None = None,
    limits_given: bool = False,
    containers: Collection[str] = (),
) -> list[Placed]:
    """What each card holds, then the CPU and the disk where they hold anything.

    `leaves` are in registration order, module by module. Of each group in `tied` the first name
    has the bytes, whatever the others' leaves say. `cpu_bytes` None: as much as is needed.
    `planner_bytes` are the planner's bytes of what bitsandbytes converts: 0.5 or 1 a weight.
    `limits_given`: the user's `max_memory`, of which a lone card is filled wholly.
    """
    modules = tree(_without_twins(leaves, tied), no_split, planner_bytes, containers)
    cpu = float("inf") if cpu_bytes is None else cpu_bytes
    limits = [*_balanced(modules, gpu_bytes, limits_given=limits_given)]
    limits.append(cpu if limits_given else cpu * LONE_CARD_SHARE)
    if planner_bytes is not None:
        limits = [limit * QUANTIZED_SHARE for limit in limits]
    planner = _Planner(modules.root, limits, len(gpu_bytes), tied)
    planner.run()
    return _collected(modules.root, planner.placed, len(gpu_bytes))


def _without_twins(leaves: Iterable[Leaf], tied: Sequence[Sequence[str]]) -> Iterator[Leaf]:
    """The leaves with the bytes of tied tensors at the first of their names."""
    missing = {name: None for first, *others in tied for name in others}
    twins = set(missing)
    for leaf in leaves:
        missing.pop(leaf.name, None)
        yield leaf._replace(bytes=0) if leaf.name in twins else leaf
    for name in missing:
        yield Leaf(name, 0)


def _balanced(modules: Tree, gpu_bytes: Sequence[int], *, limits_given: bool) -> list[float]:
    """How much of each card is filled: of the last one all, so that nothing is left over."""
    cards = [index for index, size in enumerate(gpu_bytes) if size > 0]
    limits: list[float] = list(gpu_bytes)
    if not cards:
        return limits
    if len(cards) == 1 and not limits_given:
        limits[0] *= LONE_CARD_SHARE
    margin = int(_MARGIN * max(modules.largest_unsplit, modules.largest_own))
    share = modules.root.size // len(cards) + margin
    for index in cards[:-1]:
        limits[index] = min(share, limits[index])
    return limits


class _Planner:
    """Fills one device after the other; the last one, the disk, has no limit."""

    def __init__(
        self, root: Part, limits: Sequence[float], reserving: int, tied: Sequence[Sequence[str]]
    ) -> None:
        self.waiting = Waiting(root.roots())
        self.limits = [*limits, float("inf")]
        # The first card and the CPU keep room for a layer that comes back from the next device.
        self.reserving = {0, reserving}
        self.twins = Twins(tied)
        self.device = 0
        self.used: float = 0
        self.placed: list[Part] = []

    def run(self) -> None:
        """Give every part its device."""
        while self.waiting:
            part = self.waiting.pop()
            elsewhere = self.twins.elsewhere(part.name)
            companions = self._companions(elsewhere)
            reserved = self.waiting.largest if self.device in self.reserving else 0
            room = self.limits[self.device] - reserved
            used = self.used + part.size
            if used + sum(companion.size for companion in companions) <= room:
                self._put(part, companions)
            elif elsewhere and used <= room and self._split_one_of(companions, part):
                continue
            elif part.splits:
                self._split(part)
            else:
                self.device += 1
                self.used = 0
                self.waiting.push(part)

    def _companions(self, tied: Iterable[str]) -> list[Part]:
        """The parts that wait and hold those names: they go where their twins go."""
        found: dict[str, Part] = {}
        for name in tied:
            parent = name.rpartition(".")[0]
            while parent and parent not in self.waiting.names:
                parent = parent.rpartition(".")[0]
            if parent:
                found[parent] = self.waiting.names[parent]
        return list(found.values())

    def _put(self, part: Part, companions: Iterable[Part]) -> None:
        for other in (part, *companions):
            other.device = self.device
            self.used += other.size
            self.placed.append(other)
            if other is not part:
                self.waiting.take(other)

    def _split_one_of(self, companions: Iterable[Part], part: Part) -> bool:
        companion = next((other for other in companions if other.splits), None)
        if companion is None:
            return False
        self.waiting.push(part)
        self.waiting.split(companion)
        return True

    def _split(self, part: Part) -> None:
        for piece in reversed(list(part.pieces())):
            self.waiting.push(piece)
        self.waiting.look()


class _Entry(NamedTuple):
    """A row of the device map."""

    module: str
    device: int
    bytes: int


def _collected(root: Part, placed: Iterable[Part], cards: int) -> list[Placed]:
    tensors: dict[str, list[_Entry]] = {}  # of modules that were split, by module
    for part in placed:
        if part.layer is None and part.device is not None:
            entry = _Entry(part.name, part.device, part.bytes)
            tensors.setdefault(part.name.rpartition(".")[0], []).append(entry)
    left_behind: list[int] = []
    entries, _ = _map_of(root, tensors, left_behind)
    modules: list[list[str]] = [[] for _ in range(cards + 2)]
    sizes = [0] * (cards + 2)
    sizes[cards] += sum(left_behind)
    for entry in entries:
        modules[entry.device].append(entry.module)
        sizes[entry.device] += entry.bytes
    names = [*(f"cuda:{index}" for index in range(cards)), "cpu", "disk"]
    rows = map(Placed, names, sizes, map(tuple, modules))
    return [row for at, row in enumerate(rows) if at < cards or row.modules or row.bytes]


def _map_of(
    part: Part, tensors: Mapping[str, list[_Entry]], left_behind: list[int]
) -> tuple[list[_Entry], int]:
    """The rows for a part, and how many there were before those of one device became one.

    A buffer of a module that was split is in no row: transformers leaves it on the CPU.
    """
    if part.device is not None:
        return [_Entry(part.name, part.device, part.bytes)], 1
    entries = list(tensors.get(part.name, ()))
    rows = len(entries)
    buffers_left: list[int] = []
    for child in part.modules():
        inside, count = _map_of(child, tensors, buffers_left)
        entries += inside
        rows += count
    if part.name:
        buffers_left += [held for _, _, held, is_buffer in part.tensors if is_buffer]
    if rows > 1 and len({entry.device for entry in entries}) == 1:
        return [_Entry(part.name, entries[0].device, part.bytes)], rows
    left_behind += buffers_left
    return entries, rows
