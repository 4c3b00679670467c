"""One class built with one change of its configuration after the other: what follows what."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelscope_cli.knowledge.expressions import MISSING, look_up
from tools import knowledge_build as building
from tools import knowledge_configs as asking
from tools import knowledge_fitting as fitting
from tools.knowledge_builds import LAYERS, Buffer, Observed, Small
from tools.knowledge_nested import old_keys
from tools.knowledge_ropes import half_a_head

_COMBINATIONS = 10
_GROUP = 8  # keys changed at once
_SECONDS = 2.0  # for one expression


class Study:
    """One class, built with one change after the other, then with several."""

    def __init__(self, model_type: str, small: Small, name: str) -> None:
        self.small = small
        self.name = name
        self.random = random.Random(f"{model_type}/{name}")
        base = small.observe(name)
        assert base is not None
        self.base = base
        self.all = [base]
        self.depends: dict[Any, dict[str, None]] = {}
        self.values: dict[str, list[Any]] = {}
        self.tried = dict(tries(small, base, self.random))
        self.known: dict[str, Any] = {}
        paths = self.random.sample(list(self.tried), len(self.tried))
        for start in range(0, len(paths), _GROUP):
            self._test(paths[start : start + _GROUP])
        self._combine()

    def _test(self, paths: list[str]) -> None:
        """Change keys together: where nothing follows, none of them matters."""
        if len(paths) == 1:
            for item in self.tried[paths[0]]:
                self._note(paths[0], item)
            return
        changes = {path: _together(path, self.tried[path]) for path in paths}
        found = self.small.observe(self.name, changes)
        if found is not None and found[1:] == self.base[1:]:
            self.all.append(found)
            return
        half = len(paths) // 2
        self._test(paths[:half])
        self._test(paths[half:])

    def _note(self, path: str, item: Any) -> None:
        found = self.small.observe(self.name, {path: item})
        if found is None and isinstance(item, list):
            found = self.small.observe(self.name, alongside(path, item, self.base.scope))
        if found is None:
            return
        self.all.append(found)
        self.values.setdefault(path, []).append(item)
        for what in ("shapes", "counts", "lists"):
            before, after = getattr(self.base, what), getattr(found, what)
            for key in before:
                if before[key] != after.get(key):
                    self.depends.setdefault(key, {})[path] = None

    def _combine(self) -> None:
        paths = list(dict.fromkeys(path for each in self.depends.values() for path in each))
        for _ in range(_COMBINATIONS if len(paths) > 1 else 0):
            chosen = self.random.sample(paths, self.random.randint(2, min(4, len(paths))))
            found = self.small.observe(
                self.name, {path: self.random.choice(self.values[path]) for path in chosen}
            )
            if found is not None:
                self.all.append(found)

    def shape(self, key: Buffer) -> tuple[list[Any], Any]:
        """Expressions for the sizes of a buffer, and for how many of it there are."""
        there = [each for each in self.all if key in each.shapes]
        usual = self.base.shapes[key]
        alike = [each for each in there if len(each.shapes[key]) == len(usual)]
        sizes = [
            self._fitted(
                key, [fitting.Example(each.scope, each.shapes[key][place]) for each in alike]
            )
            for place in range(len(usual))
        ]
        times = [fitting.Example(each.scope, each.counts.get(key, 0)) for each in self.all]
        return sizes, self._fitted(key, times)

    def length(self, name: str) -> Any:
        """An expression for the entries of a module list."""
        return self._fitted(
            name, [fitting.Example(each.scope, each.lists.get(name, 0)) for each in self.all]
        )

    def _fitted(self, key: Any, examples: list[fitting.Example]) -> Any:
        paths = list(self.depends.get(key, ()))
        alike = str((paths, [each.value for each in examples]))
        if alike not in self.known:
            self.known[alike] = self._searched(key, paths, examples)
        return self.known[alike]

    def _searched(self, key: Any, paths: list[str], examples: list[fitting.Example]) -> Any:
        derived = [path for path in _OFTEN if look_up(self.base.scope, path) is not MISSING]
        fitting.until(time.process_time() + _SECONDS)
        shuffled = self.random.sample(examples, len(examples))
        refused = self._refused(examples[0].value) if not paths else {}
        if refused:
            return ["same", refused, examples[0].value]
        if paths and (found := half_a_head(examples)) is not None:
            return found
        found = fitting.fit(shuffled, paths)
        if found is None:
            fitting.until(time.process_time() + _SECONDS)
            near = [*derived, *(self._near(paths))]
            found = fitting.fit(shuffled, list(dict.fromkeys([*near, *paths])), 1)
        if found is not None:
            return found
        usual = {path: _or_none(look_up(self.base.scope, path)) for path in paths}
        print(f"{self.name} {key}: {examples[0].value} depends on {paths}", file=sys.stderr)
        return ["same", usual, examples[0].value]

    def _refused(self, number: Any) -> dict[str, Any]:
        """Numbers of layers that are the same, where the class took no other."""
        return {
            path: number
            for path in self.tried
            if path not in self.values
            and LAYERS.search(path)
            and look_up(self.base.scope, path) == number
        }

    def _near(self, paths: Iterable[str]) -> Iterator[str]:
        """Derived values beside the keys that something depends on."""
        for parent in dict.fromkeys(path.rpartition(".")[0] for path in paths):
            for name in _OFTEN:
                path = f"{parent}.{name}" if parent else name
                if look_up(self.base.scope, path) is not MISSING:
                    yield path


_OFTEN = ("head_dim", "layer_types", "rope_parameters.partial_rotary_factor", "num_hidden_layers")


def alongside(path: str, item: list[Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """A list with those that were as long beside it: a class may take them of one length only."""
    parent, dot, _ = path.rpartition(".")
    beside: Any = look_up(scope, parent) if parent else scope
    usual = look_up(scope, path)
    changes = {
        f"{parent}{dot}{key}": (other * (len(item) // len(other) + 1))[: len(item)]
        for key, other in beside.items()
        if isinstance(other, list) and other and len(other) == len(usual)
    }
    return {**changes, path: item}


def _together(path: str, values: list[Any]) -> Any:
    """A value to try with others: heads the other way than widths, or the two would cancel out."""
    return values[1] if _DIVISORS.search(path) and len(values) > 1 else values[0]


_DIVISORS = re.compile(r"head|patch|stride|group")


def _or_none(found: Any) -> Any:
    return None if found is MISSING else found


_IDLE = re.compile(
    r"_id$|_ids$|token|dropout|drop_|_eps|^eps|initial|loss|prob|_act$|activation|_std|temperature"
    r"|label|vocab|output_|use_cache|return_|pretraining_tp|_penalty|_coef|alpha|beta|gamma"
)
_FACTORS = re.compile(r"ratio|factor|percent|pct|expand|multiplier|rotary")


def tries(small: Small, base: Observed, rng: random.Random) -> Iterator[tuple[str, list[Any]]]:
    """Keys and other values for them: sizes, switches, lists and kinds of rope."""
    model = small.config({})
    for at, level in building.config_paths(model).items():
        if any(at == each or at.startswith(f"{each}.") for each in base.parts):
            continue
        cls = type(level)
        scope: Any = look_up(base.scope, at) if at else base.scope
        for key, usual in {**old_keys(cls), **asking.fields(cls)}.items():
            path = f"{at}.{key}" if at else key
            if key == "rope_parameters" or _IDLE.search(key):
                continue
            values = list(_values(key, scope.get(key), usual, asking.annotation(cls, key), rng))
            if values:
                yield path, values
        yield from _ropes(at, scope)


def _values(key: str, now: Any, usual: Any, said: str, rng: random.Random) -> Iterator[Any]:
    now = usual if now is None else now
    if isinstance(now, bool) or (now is None and "bool" in said):
        yield not now
    elif isinstance(now, int) or (now is None and "int" in said and "list" not in said):
        now = now or 8
        if LAYERS.search(key):
            yield from (now * 2, now + 1, now * 3)
        elif now > 64:
            yield from (now * 2, now // 2)
        else:
            yield from (now * 2, max(1, now // 2), now + rng.randint(1, 3))
    elif isinstance(now, float) and _FACTORS.search(key):
        yield from (now * 2, now / 2)
    elif isinstance(now, list) and now:
        if all(type(item) is int for item in now):
            # A shorter one first: it alone is tried in company, and lengths decide more.
            yield from (now[:-1], [item * 2 for item in now], now[::-1], [*now, now[-1]])
        elif all(isinstance(item, str) for item in now) and len(set(now)) > 1:
            yield from ([kind] * len(now) for kind in dict.fromkeys(now))
            yield now[::-1]


def _ropes(at: str, scope: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Parts of heads that turn, and other kinds of rope, for each label where there are some."""
    found = scope.get("rope_parameters")
    if not isinstance(found, Mapping) or not found:
        return
    prefix = f"{at}.rope_parameters" if at else "rope_parameters"
    labels = {k: v for k, v in found.items() if isinstance(v, Mapping)}
    if not labels:
        yield prefix, [{**found, **kind} for kind in _KINDS]
    for label in labels:
        yield prefix, [{**found, label: {**labels[label], **kind}} for kind in _KINDS]


_KINDS: list[dict[str, Any]] = [
    {"partial_rotary_factor": 0.5},
    {"partial_rotary_factor": 0.25},
    {"rope_type": "linear", "factor": 2.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
]
