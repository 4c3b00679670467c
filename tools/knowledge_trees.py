"""A model's modules as folded trees, written as `modelscope_cli.knowledge.trees` reads them."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from typing import Any

from modelscope_cli.dtypes import TORCH
from modelscope_cli.knowledge.trees import ANY_NUMBER, KINDS

_NORM = re.compile("norm", re.IGNORECASE)
_LETTERS = {kind: letter for letter, kind in KINDS.items()}
BUILT_IN = "BF16"  # the dtype that models are built in: what has it declares none

Encoded = str | dict[str, Any]


class ConflictError(Exception):
    """Two modules that cannot be written as one."""


class Node:
    """A module: kind, own parameters by name, modules within.

    `model` is its class's name where it is a model of its own; `part` says which where that
    depends on the configuration, and then it has no content.
    """

    def __init__(self, kind: str = "raw", model: str | None = None) -> None:
        self.kind = kind
        self.model = model
        self.part: str | None = None
        self.own: dict[str, str] = {}
        self.children: dict[str, Node] = {}

    @property
    def is_empty(self) -> bool:
        """Nothing is in it: a dropout, an activation."""
        return not (self.own or self.children or self.part)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Full names of all parameters."""
        yield from (prefix + name for name in self.own)
        for name, child in self.children.items():
            yield from child.names(f"{prefix}{name}.")


def read(module: Any, part_of: Callable[[Any], str | None]) -> Node:
    """The tree of a built model; `part_of` tells a model that the configuration chooses."""
    from torch import nn
    from transformers import PreTrainedModel

    node = Node(kind_of(module))
    if isinstance(module, PreTrainedModel):
        node.model = type(module).__name__
        node.part = part_of(module)
        if node.part:
            return node
    kept_out = module._non_persistent_buffers_set
    for name, value in module._parameters.items():
        if value is not None:
            node.own[name] = _dtype(value)
    for name, value in module._buffers.items():
        if value is not None and name not in kept_out:
            node.own[name] = f"b:{_dtype(value)}".removesuffix(":")
    for name, child in module._modules.items():
        found = read(child, part_of) if child is not None else Node()
        if not found.is_empty:
            node.children[name] = found
    _fold(node)
    if isinstance(module, nn.ModuleDict):
        _fold_stems(node)
    return node


def merge(one: Node, other: Node) -> Node:
    """A module with all that is in either. Raises ConflictError where they contradict."""
    if one.is_empty or other.is_empty:
        return other if one.is_empty else one
    if one.part != other.part or (one.kind != other.kind and one.own and other.own):
        raise ConflictError(f"{one.kind} and {other.kind}")
    node = Node(one.kind if one.own else other.kind, one.model)
    node.part = one.part
    for name in _merged_order(list(one.own), list(other.own)):
        codes = {each.own[name] for each in (one, other) if name in each.own}
        if len(codes) > 1:
            raise ConflictError(f"{name}: {codes}")
        node.own[name] = codes.pop()
    for name in _merged_order(list(one.children), list(other.children)):
        found = [each.children[name] for each in (one, other) if name in each.children]
        node.children[name] = found[0] if len(found) == 1 else merge(*found)
    _fold(node)
    return node


def _merged_order(one: list[str], other: list[str]) -> list[str]:
    """All of both; what only the other has follows what it follows there."""
    result = list(one)
    for place, name in enumerate(other):
        if name not in result:
            before = [result.index(earlier) for earlier in other[:place]]
            result.insert(max(before, default=-1) + 1, name)
    return result


def _fold(node: Node) -> None:
    """Make one entry of numbered modules, or parameters, where they are alike."""
    numbers = [name for name in node.children if name.isdecimal()]
    if numbers:
        try:
            both = node.children.get(ANY_NUMBER, Node())
            for name in numbers:
                both = merge(both, node.children[name])
        except ConflictError:
            return
        node.children = _replaced(node.children, numbers, both)
    numbers = [name for name in node.own if name.isdecimal()]
    codes = {node.own[name] for name in numbers}
    if len(codes) == 1:
        node.own = _replaced(node.own, numbers, codes.pop())


def _fold_stems(node: Node) -> None:
    """Make one entry of modules that are called `expert_0`, `expert_1` and so on."""
    for stem in {name.rstrip(string.digits) for name in node.children}:
        names = [name for name in node.children if re.fullmatch(re.escape(stem) + r"\d+", name)]
        try:
            both = Node()
            for name in names:
                both = merge(both, node.children[name])
        except ConflictError:
            continue
        if stem and names:
            node.children = _replaced(node.children, names, both, stem)


def _replaced(
    entries: dict[str, Any], numbers: list[str], value: Any, stem: str = ""
) -> dict[str, Any]:
    key = stem + ANY_NUMBER
    kept: dict[str, Any] = {}
    for name, entry in entries.items():
        if name in numbers or name == key:
            kept.setdefault(key, value)
        else:
            kept[name] = entry
    return kept


def kind_of(module: Any) -> str:
    """What the quantizers see in it: they ask for the exact type of nn.Linear."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if type(module) is nn.Linear:
        return "linear"
    kinds = (
        (Conv1D, "conv1d"),
        (nn.Linear, "sublinear"),
        (nn.Embedding, "embedding"),
        (nn.modules.conv._ConvNd, "conv"),
    )
    found = next((kind for of, kind in kinds if isinstance(module, of)), None)
    return found or ("norm" if _NORM.search(type(module).__name__) else "raw")


def _dtype(value: Any) -> str:
    name = TORCH[str(value.dtype).removeprefix("torch.")].name
    return "" if name == BUILT_IN else name


def encode(node: Node, known: dict[str, Node], *, root: bool = True) -> Encoded:
    """As it is written; a model within it that is `known` by its class is referred to."""
    if node.part:
        return f"@={node.part}"
    short = _short(node)
    if short is not None:
        return short
    whole = _spelled(node, known, {})
    if root or node.model not in known:
        return whole
    referring = _referring(node, known[node.model], known)
    return whole if referring is None or _size(referring) > _size(whole) else referring


def _short(node: Node) -> str | None:
    names, codes = list(node.own), set(node.own.values())
    plain = names in (["weight"], ["weight", "bias"]) and not node.children
    if not plain or len(codes) > 1 or node.kind == "raw" or any(c.startswith("b") for c in codes):
        return None
    letters = _LETTERS[node.kind] + ("b" if len(names) > 1 else "")
    return f"{letters}:{codes.pop()}".removesuffix(":")


def _spelled(node: Node, known: dict[str, Node], start: dict[str, Any]) -> dict[str, Any]:
    entries = dict(start)
    if node.own and node.kind != "raw":
        entries[""] = _LETTERS[node.kind]
    entries |= {f".{name}": code for name, code in node.own.items()}
    for name, child in node.children.items():
        entries[name] = encode(child, known, root=False)
    return entries


def _referring(node: Node, base: Node, known: dict[str, Node]) -> Encoded | None:
    """What is different from the tree of its class alone; None where a reference cannot say."""
    keys = [*base.own, *base.children]
    if any(name not in keys for name in (*node.own, *node.children)) or node.own != base.own:
        return None
    entries: dict[str, Any] = {"@": f"@{node.model}"}
    gone = [name for name in base.children if name not in node.children]
    if gone:
        entries["-"] = gone
    for name, child in node.children.items():
        code = encode(child, known, root=False)
        if code != encode(base.children[name], known, root=False):
            entries[name] = code
    return entries if len(entries) > 1 else entries["@"]


def _size(code: Encoded) -> int:
    return len(str(code))
