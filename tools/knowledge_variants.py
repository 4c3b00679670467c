"""Other configurations of a class: what its default does not build, a sibling's file may have."""

from __future__ import annotations

import ast
import copy
import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tools import knowledge_build as building
from tools.knowledge_trees import Node

# Keys that only say how many of the same there are.
_LAYERS = re.compile(r"(^|_)(n_layers?|layers|depth|num_blocks|n_blocks|num_groups)$")
_EXPERTS = re.compile(r"^(num|n|moe_num)_(\w+_)?experts$")
_TRIED_LAYERS = (2, 4, 6, 8, 12)
_FEW_EXPERTS = 4
_SMALL = 2  # of what may be missing, where a number says how much
_LONGEST = 64  # characters of a text that chooses something


class Change(NamedTuple):
    """One key of the configuration at `path`, and another value."""

    path: str
    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.path}.{self.key}={self.value!r}"[:80].removeprefix(".")


class Small:
    """The configurations of a class that are quick to build and still have all kinds of layers."""

    def __init__(self, default: Any, whole: Node, tree: Callable[[Any], Node]) -> None:
        self._default = default
        names = set(whole.names())
        self.config = default
        for layers in _TRIED_LAYERS:
            for experts in (_FEW_EXPERTS, None):
                config = self._shrunk(layers, experts)
                if config is not None and _has(names, config, tree):
                    self.config = config
                    return

    def _shrunk(self, layers: int, experts: int | None) -> Any | None:
        config = copy.deepcopy(self._default)
        for level in building.config_paths(config).values():
            try:
                _shrink(level, layers, experts)
            except Exception:  # a configuration that checks itself
                return None
        return config

    def changed(self, *changes: Change) -> Any | None:
        """With other values; None where the configuration does not take them."""
        try:
            config = copy.deepcopy(self.config)
            for change in changes:
                setattr(building.config_paths(config)[change.path], change.key, change.value)
        except Exception:
            return None
        return config


def _has(names: set[str], config: Any, tree: Callable[[Any], Node]) -> bool:
    try:
        return set(tree(copy.deepcopy(config)).names()) == names
    except Exception:
        return False


def _shrink(level: Any, layers: int, experts: int | None) -> None:
    values = _values(level)
    for key, value in values.items():
        if type(value) is not int or value <= layers:
            continue
        if _LAYERS.search(key):
            setattr(level, key, layers)
            for other, entries in values.items():
                if isinstance(entries, (list, tuple)) and len(entries) == value:
                    setattr(level, other, type(entries)(entries[:layers]))
        elif experts and _EXPERTS.search(key):
            setattr(level, key, experts)


def _values(level: Any) -> dict[str, Any]:
    inner = {"model_type", *(getattr(level, "sub_configs", None) or {})}
    return {key: value for key, value in vars(level).items() if key not in inner and key[0] != "_"}


def changes(model: Any, config: Any) -> Iterator[Change]:
    """What could matter to which modules there are: in one key each."""
    words = _words(type(model).__module__)
    for path, level in building.config_paths(config).items():
        known = words | _words(_modeling_of(level))
        for key, value in _values(level).items():
            for other in _others(key, value, known):
                yield Change(path, key, other)


def _others(key: str, value: Any, words: Words) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        if key in words.tested:
            yield from (other for other in (0, None) if value)
            yield from (1, _SMALL) if not value else ()
    elif value is None:
        if key in words.tested:
            yield from (_SMALL, True)
        yield from words.texts.get(key, ())
    elif isinstance(value, str):
        yield from sorted(words.texts.get(key, set()) - {value})
        if key in words.tested:
            yield None
    elif isinstance(value, (list, tuple)):
        yield from _lists(key, value, words)


def _lists(key: str, value: Any, words: Words) -> Iterator[Any]:
    """With another first and last entry; a list of layers may leave one kind out by default."""
    if value and all(isinstance(entry, str) for entry in value):
        for text in sorted(words.kinds | words.texts.get(key, set())):
            if text not in value:
                yield type(value)([text, *value[1:]])
                yield type(value)([*value[:-1], text])
    elif key in words.tested:
        yield type(value)() if value else type(value)([0])


class Words(NamedTuple):
    """What a source file asks of configurations.

    `tested` are names that conditions look at, `texts` what they are compared with, `kinds` all
    texts that something called a type is compared with or looked up in a table.
    """

    tested: frozenset[str]
    texts: dict[str, set[str]]
    kinds: frozenset[str]

    def __or__(self, other: Words) -> Words:
        texts = {key: set(found) for key, found in self.texts.items()}
        for key, found in other.texts.items():
            texts.setdefault(key, set()).update(found)
        return Words(self.tested | other.tested, texts, self.kinds | other.kinds)


def _modeling_of(level: Any) -> str:
    package, _, file = type(level).__module__.rpartition(".")
    return f"{package}.{file.replace('configuration_', 'modeling_', 1)}"


@cache
def _words(module: str) -> Words:
    """Of the source of a module, and of the configuration beside it."""
    package, _, file = module.rpartition(".")
    try:
        folder = Path(importlib.import_module(package).__file__ or "").parent
    except ImportError:
        return Words(frozenset(), {}, frozenset())
    tested: set[str] = set()
    texts: dict[str, set[str]] = {}
    kinds: set[str] = set()
    for name in (file, file.replace("modeling_", "configuration_", 1)):
        path = folder / f"{name}.py"
        if path.exists():
            _read_words(ast.parse(path.read_text(encoding="utf-8")), tested, texts, kinds)
    return Words(frozenset(tested), texts, frozenset(kinds))


def _read_words(
    tree: ast.AST, tested: set[str], texts: dict[str, set[str]], kinds: set[str]
) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            tested.update(_names(node.test))
        elif isinstance(node, ast.comprehension):
            tested.update(name for test in node.ifs for name in _names(test))
            tested.update(_names(node.iter))
        elif isinstance(node, (ast.BoolOp, ast.For)):
            tested.update(_names(node.iter if isinstance(node, ast.For) else node))
        elif isinstance(node, ast.Compare):
            tested.update(_names(node))
            said = {text for side in (node.left, *node.comparators) for text in _texts(side)}
            for name in _names(node):
                texts.setdefault(name, set()).update(said)
                if name.endswith(("type", "types", "pattern")):
                    kinds.update(said)
        elif isinstance(node, ast.Dict) and not all(map(_is_text, node.values)):
            # A table of classes by what the configuration calls them.
            keys = {text for key in node.keys if key is not None for text in _texts(key)}
            if all(isinstance(value, ast.Name) for value in node.values):
                kinds.update(keys)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def _names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "getattr":
            yield from (t for argument in inner.args[1:2] for t in _texts(argument))


def _texts(node: ast.AST) -> Iterator[str]:
    entries = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else [node]
    for entry in entries:
        text = entry.value if isinstance(entry, ast.Constant) else None
        if isinstance(text, str) and 0 < len(text) <= _LONGEST:
            yield text
