"""Non-persistent buffers and module lists of every class: `buffers.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tools import knowledge_build as building
from tools.knowledge_builds import Observed, Small
from tools.knowledge_study import Study


def record(model_type: str) -> dict[str, Any]:
    """The line of one model type; empty where no class of it can be built."""
    names = building.class_names(model_type)
    small = Small(model_type)
    small.shrink(names[:1])
    seen = {}
    for name in names:
        observed = small.observe(name)
        if observed is not None:
            seen[name] = (_prefix(building.class_of(name), observed), observed)
    if not seen:
        return {}
    return _Table(model_type, small, seen).record()


class _Table:
    """The rows that a type's classes share, and which class has which."""

    def __init__(
        self, model_type: str, small: Small, seen: Mapping[str, tuple[str, Observed]]
    ) -> None:
        self.model_type = model_type
        self.small = small
        self.seen = seen
        self.rows: dict[str, list[list[Any]]] = {"buffers": [], "lists": []}
        self.places: dict[tuple[str, Any], int] = {}

    def record(self) -> dict[str, Any]:
        todo = dict(self.seen)
        while todo:
            # The class with most that no other has shown yet is looked at closely.
            name = max(todo, key=lambda each: len(self._new(*todo[each])))
            prefix, base = todo.pop(name)
            new = self._new(prefix, base)
            if new:
                self._fit(name, prefix, new)
        classes = {name: self._of(prefix, base) for name, (prefix, base) in self.seen.items()}
        return {"classes": classes, **{key: rows for key, rows in self.rows.items() if rows}}

    def _keys(self, prefix: str, base: Observed) -> Iterator[tuple[tuple[str, Any], Any]]:
        """What a class has under names that its siblings share, with its own key for it."""
        for buffer, count in base.counts.items():
            shape = base.shapes[buffer]
            yield ("buffers", (_short(prefix, buffer[0]), buffer[1], shape, count)), buffer
        for name, count in base.lists.items():
            yield ("lists", (_short(prefix, name), count)), name

    def _new(self, prefix: str, base: Observed) -> list[tuple[tuple[str, Any], Any]]:
        return [each for each in self._keys(prefix, base) if each[0] not in self.places]

    def _fit(self, name: str, prefix: str, new: list[tuple[tuple[str, Any], Any]]) -> None:
        study = Study(self.model_type, self.small, name)
        for (kind, shared), own in new:
            if kind == "lists":
                row = [shared[0], study.length(own)]
            else:
                row = [shared[0], shared[1], *study.shape(own)]
            self.places[kind, shared] = len(self.rows[kind])
            self.rows[kind].append(row)

    def _of(self, prefix: str, base: Observed) -> dict[str, Any]:
        has: dict[str, list[int]] = {"buffers": [], "lists": []}
        for (kind, shared), _ in self._keys(prefix, base):
            has[kind].append(self.places[kind, shared])
        found: dict[str, Any] = {}
        if prefix:
            found["prefix"] = prefix
        for kind, places in has.items():
            if sorted(places) != list(range(len(self.rows[kind]))):
                found[kind] = sorted(places)
        return found


def _prefix(model_class: Any, base: Observed) -> str:
    """Where a class has its base model; "" for a base model itself."""
    prefix = model_class.base_model_prefix or ""
    names = [*base.lists, *(each[0] for each in base.counts)]
    return prefix if prefix and any(name.startswith(f"{prefix}.") for name in names) else ""


def _short(prefix: str, name: str) -> str:
    """A name below the base model, or `/` and one beside it; of a base model as it is."""
    if not prefix:
        return name
    return name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else f"/{name}"
