"""A model's tensors as the tree of modules that a device map is made for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

# Real models have about 15; a name cut here keeps the time linear whatever a file claims.
_DEEPEST = 32


class Leaf(NamedTuple):
    """One parameter or buffer of the module tree, by its full name."""

    name: str
    bytes: int
    is_buffer: bool = False


_Tensor = tuple[str, float, int, bool]  # last part of its name, size, bytes, whether a buffer


class Part:
    """A module, or one tensor of a module that was split.

    `size` is what the planner counts for it, `bytes` what it holds, `own` the planner's size of
    the tensors that are its own. `layer` is the largest layer in it: a module without modules,
    or one that must not be split; None of a tensor, which is no layer.
    """

    __slots__ = (
        "bytes", "children", "device", "has_modules", "layer", "name", "own", "size", "tensors",
        "whole",
    )  # fmt: skip

    def __init__(
        self, name: str = "", size: float = 0, held: int = 0, *, is_tensor: bool = False
    ) -> None:
        self.name = name
        self.size = self.own = size
        self.bytes = held
        self.children: dict[str, Part] | None = None  # as most have none
        self.tensors: list[_Tensor] = []
        self.whole = False
        self.has_modules = False
        self.layer: float | None = None if is_tensor else 0
        self.device: int | None = None

    @property
    def splits(self) -> bool:
        """Whether its modules may go to different devices."""
        return self.has_modules and not self.whole

    def pieces(self) -> Iterator[Part]:
        """What it is split into: its parameters, then its modules; its buffers are left behind."""
        yield from self._tensors(buffers=False)
        yield from self.modules()

    def roots(self) -> Iterator[Part]:
        """What the planner starts from: of the whole model, buffers are not left behind."""
        yield from self.pieces()
        yield from self._tensors(buffers=True)

    def modules(self) -> Iterator[Part]:
        """The modules that it is made of, each with its full name."""
        for key, child in (self.children or {}).items():
            child.name = self._named(key)
            yield child

    def _tensors(self, *, buffers: bool) -> Iterator[Part]:
        for name, size, held, is_buffer in self.tensors:
            if is_buffer is buffers:
                yield Part(self._named(name), size, held, is_tensor=True)

    def _named(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


class Tree(NamedTuple):
    """The modules of a model, and the sizes that a planner's margin is taken from."""

    root: Part
    largest_unsplit: float
    largest_own: float


def tree(
    leaves: Iterable[Leaf],
    no_split: Collection[str],
    planner_bytes: Mapping[str, float] | None = None,
    containers: Collection[str] = (),
) -> Tree:
    """The tree of `leaves`, whose modules stand in the order in which they first appear.

    `planner_bytes` is what the planner counts for a name where it is not what it weighs.
    `containers` are modules whose only modules hold nothing, so that no leaf tells of them.
    """
    root, made = Part(), list[tuple[Part, Part]]()
    found = {"": root}
    sizes = planner_bytes or {}
    for name, held, is_buffer in leaves:
        path, _, last = name.rpartition(".")
        part = found.get(path)
        if part is None:
            part = found[path] = _made(root, path, made)
        size = sizes.get(name, held) if sizes else held
        part.own += size
        part.bytes += held
        part.tensors.append((last, size, held, is_buffer))
    unsplit = _marked(root, no_split, containers)
    largest_own = max((child.own for _, child in made), default=0)
    _add_up(root, made)
    return Tree(root, max((part.size for part in unsplit), default=0), largest_own)


def _made(root: Part, path: str, made: list[tuple[Part, Part]]) -> Part:
    """The module of that name; what is new on the way is added to `made`, parents first."""
    part = root
    for key in path.split(".", _DEEPEST):
        if part.children is None:
            part.children = {}
        child = part.children.get(key)
        if child is None:
            child = part.children[key] = Part()
            made.append((part, child))
        part = child
    return part


def _marked(root: Part, no_split: Iterable[str], containers: Iterable[str]) -> list[Part]:
    for name in containers:
        if (part := _find(root, name)) is not None:
            part.has_modules = True
    unsplit = [part for name in no_split if (part := _find(root, name)) is not None]
    for part in unsplit:
        part.whole = True
    return unsplit


def _find(root: Part, name: str) -> Part | None:
    part: Part | None = root
    for key in name.split(".", _DEEPEST):
        part = part.children.get(key) if part is not None and part.children else None
    return part


def _add_up(root: Part, made: list[tuple[Part, Part]]) -> None:
    """Sizes of modules from those inside them: parents were made before their children."""
    root.size = root.own
    for _, child in made:
        child.size = child.own
    for parent, child in reversed(made):
        parent.size += child.size
        parent.bytes += child.bytes
        parent.has_modules = True
        if not child.splits:
            child.layer = child.size
        parent.layer = max(parent.layer or 0, child.layer or 0)
