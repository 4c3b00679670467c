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

    Those are Modules, or what `Tree` has not opened yet.
    """

    __slots__ = ("modules", "parameters")

    def __init__(self, parameters: dict[str, Parameter], modules: dict[str, Any]) -> None:
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
        return module.parameters.get(last) or _any_number(module.parameters, last)

    def templates(self) -> Iterator[str]:
        """Full names with `*` for numbers, in the order of `named_parameters`; buffers too."""
        return self._templates(self.root, "")

    def position(self, name: str) -> tuple[int, ...]:
        """Sorts names as `named_parameters` has them: own parameters, then module by module."""
        *path, last = name.split(".")
        module, place = self.root, []
        for part in path:
            keys = list(module.modules)
            key = part if part in module.modules else ANY_NUMBER
            child = self._child(module, part)
            if child is None:
                break
            place += [1, keys.index(key), int(part) if key == ANY_NUMBER else 0]
            module = child
        own = list(module.parameters)
        return (*place, 0, own.index(last) if last in own else 0)

    def _templates(self, module: Module, prefix: str) -> Iterator[str]:
        yield from (prefix + name for name in module.parameters)
        for name in module.modules:
            child = self._child(module, name)
            if child is not None:
                yield from self._templates(child, f"{prefix}{name}.")

    def _child(self, module: Module, part: str) -> Module | None:
        modules = module.modules
        key = part if part in modules else ANY_NUMBER
        child = modules.get(key)
        if child is None or (key is ANY_NUMBER and part != key and not part.isdecimal()):
            return None
        if not isinstance(child, Module):
            child = modules[key] = self._open(child)
        return child

    def _open(self, node: Any) -> Module:
        if isinstance(node, Tree):
            return node.root
        if isinstance(node, str):
            return self._open(self._opener(node)) if node.startswith(_REFERENCE) else _leaf(node)
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
        return Module(parameters, modules)


def _any_number(parameters: Mapping[str, Parameter], last: str) -> Parameter | None:
    """Of a list of parameters."""
    return parameters.get(ANY_NUMBER) if last.isdecimal() else None


def _parameter(kind: str, code: str) -> Parameter:
    if code.startswith("b"):
        return Parameter(BUFFER, code[2:] or None)
    return Parameter(kind, code or None)


def _leaf(code: str) -> Module:
    """`L` has a weight, `Lb` a bias too, `Nb:F32` both in float32, an empty one nothing."""
    letters, _, dtype = code.partition(":")
    if not letters:
        return Module({}, {})
    one = Parameter(KINDS[letters[0]], dtype or None)
    names = ("weight", "bias") if letters.endswith("b") else ("weight",)
    return Module(dict.fromkeys(names, one), {})


def _remove(modules: dict[str, Any], names: list[str]) -> None:
    for name in names:
        modules.pop(name, None)
