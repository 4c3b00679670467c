"""What each class is made of: `classes.jsonl`, read by `modelscope_cli.knowledge.modules`."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tools import knowledge_build as building
from tools.knowledge_facts import facts
from tools.knowledge_parts import Parts as Parts  # read from here too
from tools.knowledge_trees import ConflictError, Node, encode, merge, read
from tools.knowledge_variants import Change, Small, changes

_MOST_PAIRS = 100  # configurations with two changes, for one class


def records(model_type: str) -> dict[str, Any]:
    """The lines of one model type: its own, and one a class.

    Raises ImportError where one of its classes needs a library that is not here.
    """
    names = building.class_names(model_type)
    seen: dict[str, Seen] = {}
    telling: list[Change] | None = None
    # The base model first: what changes it are the changes that the others are built with.
    base = building.auto_mappings()["BASE"].get(model_type, ())
    for name in sorted(names, key=lambda name: name not in base):
        found = see(model_type, name, telling)
        if found is not None:
            seen[name] = found
            if name in base:
                telling = [*(telling or ()), *found.telling]
    if not seen:
        return {}
    known = {name: found.tree for name, found in seen.items()}
    lines = {f"{model_type}/{name}": _record(found, known) for name, found in seen.items()}
    kinds = {"classes": [name for name in names if name in seen], "auto": _roles(model_type, seen)}
    return {model_type: kinds, **lines}


def _roles(model_type: str, seen: Iterable[str]) -> dict[str, str]:
    """What each auto class makes of the type."""
    found = {}
    for role, tag in building.ROLES.items():
        names = building.auto_mappings()[tag].get(model_type, ())
        name = next((name for name in names if name in seen), None)
        if name is not None:
            found[role] = name
    return found


class Seen(NamedTuple):
    """A class built, by default and otherwise; `telling` changes gave it other modules."""

    tree: Node
    facts: dict[str, Any]
    telling: list[Change]


def see(model_type: str, name: str, telling: Sequence[Change] | None) -> Seen | None:
    """A class in all its variants; None where not even the default is built.

    `telling` are changes that matter to the base model, None where it is not known yet: others
    are only tried where the source of the class has the key.
    """
    try:
        model_class = building.class_of(name)
        model = building.build(model_class, building.config_of(model_type, name))
    except ImportError:
        raise
    except Exception as error:
        _say(f"{model_type}/{name}: {type(error).__name__}: {_first_line(error)}")
        return None
    tree = read(model, Parts(model).of)
    small = Small(
        building.config_of(model_type, name), tree, lambda config: _tree(model_class, config)
    )
    tries = _Tries(model_class, small, tree)
    worth = list(_worth_trying(model, small.config, telling))
    for change in worth:
        tries.attempt(change)
    # A kind of layer that the default has none of has switches of its own; and there are switches
    # that need another one.
    kinds = [change for change in tries.telling if not isinstance(change.value, bool)]
    switches = [change for change in worth if isinstance(change.value, bool)]
    failing = [change for change in tries.failing if isinstance(change.value, bool)]
    pairs = (*itertools.product(kinds, switches), *itertools.product(failing, switches))
    for pair in pairs[:_MOST_PAIRS]:
        tries.attempt(*pair)
    return Seen(tries.tree, facts(model), tries.telling)


class _Tries:
    """Adds to the tree of a class what other configurations give it."""

    def __init__(self, model_class: Any, small: Small, tree: Node) -> None:
        self._class = model_class
        self._small = small
        self._names = set(tree.names())
        self.tree = tree
        self.telling: list[Change] = []
        self.failing: list[Change] = []

    def attempt(self, *changes: Change) -> None:
        """One more configuration: what does not build is nobody's checkpoint."""
        config = self._small.changed(*changes)
        other = None if config is None else _tree_if_built(self._class, config)
        if other is None:
            self.failing += changes
        if other is None or set(other.names()) <= self._names:
            return
        try:
            self.tree = merge(self.tree, other)
        except ConflictError as error:
            _say(f"{self._class.__name__} with {', '.join(map(str, changes))}: {error}")
            return
        self._names |= set(other.names())
        self.telling += [change for change in changes if change not in self.telling]


def _worth_trying(model: Any, config: Any, telling: Sequence[Change] | None) -> Iterator[Change]:
    source = inspect.getsource(type(model))
    for change in changes(model, config):
        if telling is None or change in telling or change.key in source:
            yield change


def _tree(model_class: Any, config: Any) -> Node:
    model = building.build(model_class, config)
    return read(model, Parts(model).of)


def _tree_if_built(model_class: Any, config: Any) -> Node | None:
    try:
        with building.time_limit():
            return _tree(model_class, config)
    except Exception:
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:150]


def _record(seen: Seen, known: dict[str, Node]) -> dict[str, Any]:
    others = {name: node for name, node in known.items() if node is not seen.tree}
    return {**seen.facts, "tree": encode(seen.tree, others)}
