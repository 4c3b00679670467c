"""The modules of a class as a folded tree: what parameter a name is, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

# One letter a kind of module; the letters behind it are its parameters beside `weight`.
KINDS = {
    "L": "linear",
    "D": "conv1d",
    "S": "sublinear",
    "E": "embedding",
    "C": "conv",
    "N": "norm",
    "": "raw",
}
BUFFER = "buffer"
ANY_NUMBER = "*"
_DIGITS = "0123456789"
_REFERENCE = "@"


class Parameter(NamedTuple):
    """A parameter (or persistent buffer) of a class.

    `kind` is that of its module: linear (exactly nn.Linear), conv1d (transformers' Conv1D),
    sublinear (a subclass of Linear), embedding, conv, norm, raw; or buffer. `dtype` is what the
    class declares where that is not the dtype it is built in, in safetensors' spelling.
    """

    kind: str
    dtype: str | None


class Module:
    """One module: its own parameters in the order they were registered, and the modules in it.

    Those are Modules, or what `home`, the tree that they were written in, has not opened yet.
    """

    __slots__ = ("home", "modules", "parameters")

    def __init__(
        self, home: Tree, parameters: dict[str, Parameter], modules: dict[str, Any]
    ) -> None:
        self.home = home
        self.parameters = parameters
        self.modules = modules


# Gives the node that a reference names (`@Class`, `@type/Class`), None where nothing is known.
Opener = Callable[[str], Any]


class Tree:
    """A class's modules; nodes are opened when a name leads through them."""

    def __init__(self, node: Any, opener: Opener) -> None:
        self._opener = opener
        self.root = self._open(node)

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that full name; None where there is none."""
        *path, last = name.split(".")
        module = self.root
        for part in path:
            child = self._child(module, part)
            if child is None:
                return None
            module = child
        return module.parameters.get(_key(module.parameters, last))

    def templates(self) -> Iterator[str]:
        """Full names with `*` for numbers, in the order of `named_parameters`; buffers too."""
        return self._templates(self.root, "")

    def position(self, name: str) -> tuple[int, ...]:
        """Sorts names as `named_parameters` has them: own parameters, then module by module."""
        *path, last = name.split(".")
        module, place = self.root, []
        for part in path:
            key = _key(module.modules, part)
            child = self._child(module, part)
            if child is None:
                break
            place += [1, list(module.modules).index(key), _number(part) if key != part else 0]
            module = child
        own = list(module.parameters)
        key = _key(module.parameters, last)
        at = own.index(key) if key in module.parameters else len(own)
        return (*place, 0, at, _number(last) if key != last else 0)

    def _templates(self, module: Module, prefix: str) -> Iterator[str]:
        yield from (prefix + name for name in module.parameters)
        for name in module.modules:
            child = self._child(module, name)
            if child is not None:
                yield from self._templates(child, f"{prefix}{name}.")

    def _child(self, module: Module, part: str) -> Module | None:
        key = _key(module.modules, part)
        child = module.modules.get(key)
        if child is not None and not isinstance(child, Module):
            child = module.modules[key] = module.home._open(child)
        return child

    def _open(self, node: Any) -> Module:
        if isinstance(node, Tree):
            return node.root
        if isinstance(node, str):
            return (
                self._open(self._opener(node)) if node.startswith(_REFERENCE) else self._leaf(node)
            )
        return self._branch(node or {})

    def _branch(self, node: Mapping[str, Any]) -> Module:
        parameters: dict[str, Parameter] = {}
        modules: dict[str, Any] = {}
        kind = KINDS.get(node.get("", ""), "raw")
        for key, value in node.items():
            if key == _REFERENCE:
                base = self._open(value)
                parameters.update(base.parameters)
                modules.update(base.modules)
            elif key == "-":
                _remove(modules, value)
            elif key.startswith("."):
                parameters[key[1:]] = _parameter(kind, value)
            elif key:
                modules[key] = value
        return Module(self, parameters, modules)

    def _leaf(self, code: str) -> Module:
        """`L` has a weight, `Lb` a bias too, `Nb:F32` both in float32, an empty one nothing."""
        letters, _, dtype = code.partition(":")
        if not letters:
            return Module(self, {}, {})
        one = Parameter(KINDS[letters[0]], dtype or None)
        names = ("weight", "bias") if letters.endswith("b") else ("weight",)
        return Module(self, dict.fromkeys(names, one), {})


def _key(entries: Mapping[str, Any], part: str) -> str:
    """What an entry is called that may stand for all numbers: `*`, or `expert_*`."""
    if part in entries:
        return part
    return part.rstrip(_DIGITS) + ANY_NUMBER if part and part[-1] in _DIGITS else part


def _number(part: str) -> int:
    return int(part[len(part.rstrip(_DIGITS)) :] or 0)


def _parameter(kind: str, code: str) -> Parameter:
    if code.startswith("b"):
        return Parameter(BUFFER, code[2:] or None)
    return Parameter(kind, code or None)


def _remove(modules: dict[str, Any], names: list[str]) -> None:
    for name in names:
        modules.pop(name, None)
