"""TorchScript archives: which attributes are in the state_dict, and their names.

data.pkl holds objects of classes `__torch__.…`, whose source lies under `code/`. The class
says which attributes are parameters and buffers (`__parameters__`, `__buffers__`); a tensor
that is neither is not in `torch.jit.load(…).state_dict()`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.base import MAX_NAME_BYTES
from modelscope_cli.formats.pickles.nodes import Call, Global, Pairs
from modelscope_cli.formats.torch_globals import SCRIPT_PREFIX, Sparse, Tensor, Wrapper
from modelscope_cli.formats.torch_names import FREE_CHARACTERS, Named, TooManyNames
from modelscope_cli.formats.torch_zip import Archive

MAX_VISITS = 1_000_000
MAX_SOURCE_BYTES = 20_000_000  # of all classes together
_NATIVE = "__torch__.torch.classes."  # C++ objects: their state is no module's

_CLASS = re.compile(r"^class (\w+)\((\w+)\):\n((?:  (?!def ).*\n|\n)*)", re.MULTILINE)
_LISTED = re.compile(r"^  __(parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)
_NAME = re.compile(r'"([^"]*)"')


class Fields(NamedTuple):
    """What a class's source says of its attributes."""

    parameters: frozenset[str]
    buffers: frozenset[str]


class Sources:
    """The classes of one archive, each source file read when one of its classes is met."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.left = MAX_SOURCE_BYTES
        self._files: dict[str, dict[str, Fields]] = {}

    def fields(self, qualified: str) -> Fields | None:
        """The fields of a class by its full name; None where it is no module or unreadable."""
        module, _, name = qualified.rpartition(".")
        path = f"code/{module.replace('.', '/')}.py"
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path].get(name)

    def _read(self, path: str) -> dict[str, Fields]:
        entry = self.archive.find(path)
        if entry is None or entry.size > self.left:
            return {}
        self.left -= entry.size
        try:
            text = self.archive.read(entry)[0].decode("utf-8", "replace")
        except FormatError:  # the tensors can be listed without their classes' source
            return {}
        return {
            found[1]: _fields(found[3]) for found in _CLASS.finditer(text) if found[2] == "Module"
        }


def _fields(body: str) -> Fields:
    listed = {found[1]: frozenset(_NAME.findall(found[2])) for found in _LISTED.finditer(body)}
    return Fields(listed.get("parameters", frozenset()), listed.get("buffers", frozenset()))


class _Walk:
    def __init__(self, file: str, sources: Sources) -> None:
        self.file = file
        self.sources = sources
        self.named = Named([], [], [])
        self.visits = MAX_VISITS
        self.characters = FREE_CHARACTERS

    def module(self, module: Call, prefix: str) -> Iterator[tuple[str, Call]]:
        """List a module's own tensors; give back its submodules with their prefixes."""
        attributes = list(module.state.entries()) if type(module.state) is Pairs else []
        self._spend(1 + len(attributes), prefix)
        for name, tensor in self._own(module, attributes):
            self._spend(0, prefix + name)
            self.named.names.append(prefix + name)
            self.named.tensors.append(tensor)
        for key, value in attributes:
            if type(value) is Call and type(key) is str and self._is_module(value):
                yield f"{prefix}{key}.", value

    def _spend(self, visits: int, path: str) -> None:
        self.visits -= visits
        self.characters -= len(path)
        if min(self.visits, self.characters) < 0 or len(path) > MAX_NAME_BYTES:
            raise TooManyNames(self.file, "modules hold each other too many times over")

    def _own(
        self, module: Call, attributes: list[tuple[object, object]]
    ) -> Iterator[tuple[str, Tensor | Sparse | Wrapper]]:
        fields = self.sources.fields(_class_name(module)) or _told_by_order(attributes)
        tensors = [
            (key, value)
            for key, value in attributes
            if type(key) is str and isinstance(value, Tensor | Sparse | Wrapper)
        ]
        for group in fields:  # parameters first, then buffers
            yield from ((name, tensor) for name, tensor in tensors if name in group)

    def _is_module(self, value: Call) -> bool:
        name = _class_name(value)
        if not name.startswith(SCRIPT_PREFIX) or name.startswith(_NATIVE):
            return False
        if self.sources.fields(name) is not None:
            return True
        return type(value.state) is Pairs and value.state.get("training") is not None


def _class_name(value: Call) -> str:
    return value.function.name if type(value.function) is Global else ""


def _told_by_order(attributes: list[tuple[object, object]]) -> Fields:
    """Without a source: parameters and buffers are written before `training`."""
    names = [key for key, _ in attributes if type(key) is str]
    before = names[: names.index("training")] if "training" in names else names
    return Fields(frozenset(before), frozenset())


def script_tensors(archive: Archive, root: object) -> Named:
    """Names and tensors as in `torch.jit.load(…).state_dict()`. Raises TooManyNames."""
    walk = _Walk(archive.file.path, Sources(archive))
    if type(root) is not Call:
        return walk.named
    levels = [(id(root), walk.module(root, ""))]
    inside = {id(root)}
    while levels:
        step = next(levels[-1][1], None)
        if step is None:
            inside.discard(levels.pop()[0])
        elif id(step[1]) not in inside:
            levels.append((id(step[1]), walk.module(step[1], step[0])))
            inside.add(id(step[1]))
    return walk.named
