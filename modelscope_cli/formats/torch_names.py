"""Names for the tensors of a walked pickle: where each lies in the object that was saved.

A state dict's tensors have its keys; what lies deeper has the keys on the way joined with
dots (`optimizer.state.0.exp_avg`); a module saved whole has the names of its state_dict.
A tensor saved alone is called `tensor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note
from modelscope_cli.formats.base import MAX_NAME_BYTES
from modelscope_cli.formats.pickles.nodes import FIRST_ENTRIES, Blob, Call, Global, Pairs
from modelscope_cli.formats.torch_globals import Lost, Sparse, Tensor, Wrapper
from modelscope_cli.units import counted

LONE_TENSOR = "tensor"
# A shared container is listed wherever it is met. These bound what sharing alone can add.
FREE_VISITS = 100_000
CONTAINER_VISITS = 5  # to look into one costs as much as so many of its items
FREE_CHARACTERS = 32_000_000
MAX_TRANSIENT = 1_000  # non-persistent buffers of one module

_TENSORS = frozenset((Tensor, Sparse, Wrapper, Lost))
_CONTAINERS = frozenset((Pairs, Call, Wrapper, list, tuple))
_TRANSIENT = "_non_persistent_buffers_set"
_GROUPS = frozenset(("_parameters", "_buffers", "_modules", _TRANSIENT))
_MAX_KEY_CHARACTERS = 200  # of keys that are no strings


class DuplicateTensor(FormatError):
    """A dict holds the same key twice, each time with a tensor: only one would be loaded."""


class NameTooLong(FormatError):
    """The path to a tensor is longer than any real name."""


class TooManyNames(FormatError):
    """Containers that hold each other many times over: the paths to their tensors explode."""


class Named(NamedTuple):
    """Tensors and their names in the order saved, with what is to be said about them."""

    names: list[str]
    tensors: list[Tensor | Sparse | Wrapper]
    notes: list[Note]


class Namer:
    """Walks the containers depth first, without recursion, within a budget."""

    def __init__(self, file: str, pickle_bytes: int) -> None:
        self.file = file
        self.visits = FREE_VISITS + 2 * pickle_bytes
        self.characters = FREE_CHARACTERS + 64 * pickle_bytes
        self.names: list[str] = []
        self.tensors: list[Tensor | Sparse | Wrapper] = []
        self.owners: list[object] = []
        self.lost = 0
        self.wrappers: list[str] = []

    def walk(self, root: object) -> None:
        """List every tensor under `root`."""
        if type(root) in _TENSORS and not _inner(root):
            self._tensor(LONE_TENSOR, root, None)
            return
        levels = [(root, "", children(root))]
        inside = {id(root)}
        while levels:
            node, prefix, rest = levels[-1]
            entered = self._until_container(node, prefix, rest, inside)
            if entered is None:
                levels.pop()
                inside.discard(id(node))
            else:
                path, child = entered
                inside.add(id(child))
                levels.append((child, path + ".", children(child)))

    def _until_container(
        self,
        node: object,
        prefix: str,
        rest: Iterator[tuple[object, object]],
        inside: set[int],
    ) -> tuple[str, object] | None:
        """List children of `node` up to one that has children itself; None at the end."""
        for key, value in rest:
            self.visits -= 1
            kind = type(value)
            if kind in _TENSORS and not (kind is Wrapper and _inner(value)):
                self._tensor(self._path(prefix, key), value, node)
            elif kind in _CONTAINERS and value and id(value) not in inside:
                self.visits -= CONTAINER_VISITS
                path = self._path(prefix, key)
                if kind is Wrapper:
                    self.wrappers.append(path)
                return path, value
        if self.visits < 0:
            raise TooManyNames(self.file, "containers hold each other too many times over")
        return None

    def _path(self, prefix: str, key: object) -> str:
        path = prefix + (key if type(key) is str else key_text(key))
        self.characters -= len(path)
        if len(path) > MAX_NAME_BYTES:
            raise NameTooLong(self.file, f"a name has {len(path):,} characters", tensor=path[:80])
        if self.characters < 0 or self.visits < 0:
            raise TooManyNames(self.file, "containers hold each other too many times over")
        return path

    def _tensor(self, name: str, tensor: object, owner: object) -> None:
        if isinstance(tensor, Tensor | Sparse | Wrapper):
            self.names.append(name)
            self.tensors.append(tensor)
            self.owners.append(owner)
        else:
            self.lost += 1

    def notes(self) -> list[Note]:
        """Warnings. Raises DuplicateTensor for a key that one dict has twice."""
        notes = []
        if len(set(self.names)) != len(self.names):
            twice = self._duplicates()
            notes.append(Note(f"{self.file}: several tensors are called {twice}", warning=True))
        if self.lost:
            what = f"{counted(self.lost, 'tensor')} not listed: made by calls that are never run"
            notes.append(Note(f"{self.file}: {what}", warning=True))
        if self.wrappers:
            what = f"{self.wrappers[0]!r} is a tensor subclass: the tensors in it are listed"
            notes.append(Note(f"{self.file}: {what}"))
        return notes

    def _duplicates(self) -> str:
        seen: dict[str, object] = {}
        twice = []
        for name, owner in zip(self.names, self.owners, strict=True):
            if name in seen:
                if type(owner) is Pairs and owner is seen[name] and _written_twice(owner, name):
                    raise DuplicateTensor(self.file, "is there twice", tensor=name)
                twice.append(name)
            seen[name] = owner
        return repr(twice[0])


def _written_twice(owner: Pairs, name: str) -> bool:
    """Whether a string key of `owner` that ends `name` is there twice."""
    keys = [key for key, _ in owner.entries() if type(key) is str and name.endswith(key)]
    return len(set(keys)) != len(keys)


def _inner(node: object) -> bool:
    """Whether a tensor subclass holds other tensors, or anything that could."""
    return type(node) is Wrapper and any(
        type(value) in _TENSORS or type(value) in (Pairs, Call, list)
        for _, value in islice(children(node), FIRST_ENTRIES)
    )


def children(node: object) -> Iterator[tuple[object, object]]:
    """Keys and values under a container, as the object's own state_dict would give them."""
    if type(node) is Pairs:
        return node.entries()
    if isinstance(node, Call):
        groups = _module_groups(node.state)
        return _call(node) if groups is None else _module(groups)
    return enumerate(node) if isinstance(node, list | tuple) else iter(())


def _module_groups(state: object) -> dict[str, object] | None:
    """The attributes of a torch.nn.Module that hold its tensors; None for other objects."""
    if type(state) is not Pairs:
        return None
    found = {key: value for key, value in state.first() if type(key) is str and key in _GROUPS}
    if type(found.get("_parameters")) is Pairs and type(found.get("_modules")) is Pairs:
        return found
    return None


def _module(groups: dict[str, object]) -> Iterator[tuple[object, object]]:
    """What torch.nn.Module.state_dict() gives: parameters, persistent buffers, modules."""
    transient = groups.get(_TRANSIENT)
    among = transient[:MAX_TRANSIENT] if type(transient) is list else []
    hidden = {name for name in among if type(name) is str}
    for group in ("_parameters", "_buffers", "_modules"):
        members = groups.get(group)
        if type(members) is not Pairs:
            continue
        for key, value in members.entries():
            if group != "_buffers" or type(key) is not str or key not in hidden:
                yield key, value


def _call(node: Call) -> Iterator[tuple[object, object]]:
    """What an unknown object was made from and given: arguments, attributes, items."""
    if type(node.args) is tuple:
        yield from enumerate(node.args)
    states = node.state if type(node.state) is tuple and len(node.state) == 2 else (node.state,)
    for state in states:  # (attributes, slots) or attributes alone
        if type(state) is Pairs:
            yield from state.entries()
    yield from enumerate(node.items or ())
    if node.pairs is not None:
        yield from node.pairs.entries()


def key_text(key: object, depth: int = 1) -> str:
    """A key that is no string, as a part of a name."""
    if key is None or type(key) in (int, float, bool):
        return repr(key)
    if type(key) is str:
        return key[:_MAX_KEY_CHARACTERS]
    if type(key) is Blob:
        return key.head.decode("utf-8", "replace")
    if type(key) is Global:
        return key.name
    if type(key) is tuple and depth:
        return f"({', '.join(key_text(part, 0) for part in key[:8])})"
    return "?"


def named_tensors(file: str, root: object, pickle_bytes: int) -> Named:
    """Every tensor under `root` with its name. Raises FormatError, named after the defect."""
    namer = Namer(file, pickle_bytes)
    namer.walk(root)
    return Named(namer.names, namer.tensors, namer.notes())
