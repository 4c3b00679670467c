"""What a walked pickle leaves behind: values that name things and never are them.

Numbers, strings, None, tuples and lists (sets too) are themselves. Nothing here is ever
hashed, compared or copied by content: nested and shared containers make each of these
exponential, or end the C stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

Builder = Callable[[tuple[object, ...]], object]

BLOB_HEAD_BYTES = 255
FIRST_ENTRIES = 64


class BadArguments(ValueError):
    """A builder's word for arguments that the named function cannot have."""


class CannotTake(ValueError):
    """A node's word for items or state that it cannot be given."""


class Global:
    """A module's attribute, by name. `build` imitates calling it; unknown ones have none."""

    __slots__ = ("build", "known", "name")

    def __init__(self, name: str, build: Builder | None, known: bool) -> None:
        self.name = name
        self.build = build
        self.known = known


class Blob(NamedTuple):
    """A bytes literal: where it lies in the pickle, and its first bytes."""

    offset: int
    length: int
    head: bytes


class Node:
    """Something that later opcodes may still add to."""

    __slots__ = ()

    def build(self, _state: object, /) -> None:
        """BUILD. Raises CannotTake."""
        raise CannotTake

    def extend(self, _items: list[object], /) -> None:
        """APPEND, APPENDS, ADDITEMS. Raises CannotTake."""
        raise CannotTake

    def update(self, _items: list[object], /) -> None:
        """SETITEM, SETITEMS: keys and values by turns. Raises CannotTake."""
        raise CannotTake


class Pairs(Node):
    """A dict: keys and values by turns, in the order written, after `source`'s pairs."""

    __slots__ = ("items", "source")

    def __init__(self, source: list[object] | None = None) -> None:
        self.items: list[object] | None = None
        self.source = source

    def build(self, _state: object, /) -> None:
        """Attributes of a dict (`_metadata` of a state dict) hold no tensors."""

    def update(self, items: list[object], /) -> None:
        """Add keys and values."""
        if self.items is None:
            self.items = items
        else:
            self.items += items

    def entries(self) -> Iterator[tuple[object, object]]:
        """Keys and values. Python 2's OrderedDict came as a list of pairs: `source`.

        What is no pair there comes as None and None: whoever counts steps counts it too.
        """
        for entry in self.source or ():
            if isinstance(entry, list | tuple) and len(entry) == 2:
                yield entry[0], entry[1]
            else:
                yield None, None
        if self.items is not None:
            turns = iter(self.items)
            yield from zip(turns, turns, strict=True)

    def first(self) -> Iterator[tuple[object, object]]:
        """The first entries: a module's own attributes come before what was added to it.

        Looking at all would take quadratic time where many objects share one state.
        """
        return islice(self.entries(), FIRST_ENTRIES)

    def get(self, name: str) -> object:
        """The value of a string key; None where it is not among the first entries."""
        return next(
            (value for key, value in self.first() if type(key) is str and key == name), None
        )


class Call(Node):
    """A call that was not made: the function, what it would get, what was added after."""

    __slots__ = ("args", "function", "items", "pairs", "state")

    def __init__(self, function: object, args: object) -> None:
        self.function = function
        self.args = args
        self.items: list[object] | None = None
        self.pairs: Pairs | None = None
        self.state: object = None

    def build(self, state: object, /) -> None:
        """Keep the state: a module's tensors lie there."""
        self.state = state

    def extend(self, items: list[object], /) -> None:
        """Add items, as to a subclass of list."""
        if self.items is None:
            self.items = items
        else:
            self.items += items

    def update(self, items: list[object], /) -> None:
        """Add keys and values, as to a subclass of dict."""
        if self.pairs is None:
            self.pairs = Pairs()
        self.pairs.update(items)
