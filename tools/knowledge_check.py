"""How often the reader is right: configurations and builds that the generator has not seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.knowledge import buffers, configs
from modelscope_cli.knowledge.expressions import MISSING, look_up
from tools import knowledge_build as building
from tools import knowledge_configs as asking
from tools import knowledge_rules, knowledge_tables
from tools.knowledge_builds import Small
from tools.knowledge_perturbing import Inputs, nested
from tools.knowledge_study import tries


class Miss(NamedTuple):
    """One value that is not what the library has."""

    model_type: str
    said: Mapping[str, Any]
    where: str
    truth: Any
    found: Any

    def __str__(self) -> str:
        said = ", ".join(f"{k}={v}" for k, v in self.said.items())
        return f"{self.model_type}({said[:200]}) {self.where}: {self.truth}, not {self.found}"


def configuration_misses(model_type: str, count: int) -> list[Miss]:
    """Values of random configurations that the reader has otherwise; one it leaves out is none.

    Each is read twice: as it was given to the class, and as the class would save it.
    """
    found = []
    for changed, said, made in configurations(model_type, count):
        truth = asking.snapshot(made)
        for file in filter(None, (said, _saved(made))):
            effective = configs.effective({**file, "model_type": model_type})
            found += [
                Miss(model_type, changed, path, look_up(truth, path), look_up(effective, path))
                for path in knowledge_rules.wrong(truth, effective)
                if _matters(look_up(truth, path)) and _claimed(effective, path)
            ]
    return found


def _saved(made: Any) -> dict[str, Any]:
    """As the class writes it to a file; nothing where it cannot write what it took."""
    try:
        found: dict[str, Any] = made.to_diff_dict()
    except Exception:
        return {}
    return found


def _matters(truth: Any) -> bool:
    """Numbers that are whole, truth, and lists: what sizes follow from."""
    return isinstance(truth, (bool, int, list))


def _claimed(effective: Mapping[str, Any], path: str) -> bool:
    """Whether a value is given at all: what is left out is not known, not wrong."""
    return look_up(effective, path) not in (None, MISSING)


def configurations(
    model_type: str, count: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Random changes, what a file with them says, and the configuration they make."""
    cls = asking.class_for(model_type)
    default = asking.ask(cls, {})
    if default is None:
        return
    inputs = Inputs(model_type, asking.record(model_type), default)
    inputs.random = random.Random(f"check {model_type}")
    made = 0
    for _ in range(count * 4):
        changed = inputs.several(inputs.paths, inputs.random.randint(1, 4))
        changed = {path: item for path, item in changed.items() if item != 0 or item is False}
        said = nested(changed, default)
        config = asking.made(cls, said)
        if config is not None:
            made += 1
            yield changed, said, config
        if made >= count:
            return


def build_misses(model_type: str, names: list[str], count: int) -> list[Miss]:
    """Buffers and lists of random small builds that the reader has otherwise."""
    small = Small(model_type)
    found: list[Miss] = []
    for name in names:
        small.layers = 6
        base = small.observe(name)
        if base is None:
            continue
        rng = random.Random(f"check {name}")
        possible = dict(tries(small, base, rng))
        for number in range(count):
            paths = rng.sample(list(possible), min(len(possible), number % 4))
            changed = {path: rng.choice(possible[path]) for path in paths}
            found += _misses_of_one(small, name, changed)
    return found


def _misses_of_one(small: Small, name: str, changed: Mapping[str, Any]) -> Iterator[Miss]:
    observed = small.observe(name, changed, whole=True)
    if observed is None:
        return
    said = {**small.config(changed).to_diff_dict(), "model_type": small.model_type}
    effective = configs.effective(said)
    facts = buffers.non_persistent(small.model_type, name, effective)
    if facts is None:
        yield Miss(small.model_type, changed, name, "a class", None)
        return
    truth: dict[Any, int] = {}
    for (template, dtype, ordinal), times in observed.counts.items():
        key = template, dtype, observed.shapes[template, dtype, ordinal]
        truth[key] = truth.get(key, 0) + times
    claimed: dict[Any, int] = {}
    for fact in facts:
        if isinstance(fact.shape, tuple) and isinstance(fact.times, int) and fact.times:
            key = fact.name, fact.dtype, fact.shape
            claimed[key] = claimed.get(key, 0) + fact.times
    unknown = {
        f.name for f in facts if not isinstance(f.shape, tuple) or not isinstance(f.times, int)
    }
    for key in {**truth, **claimed}:
        if key[0] not in unknown and truth.get(key) != claimed.get(key):
            yield Miss(small.model_type, changed, f"{name} {key}", truth.get(key), claimed.get(key))
    counts = buffers.index_counts(small.model_type, name, effective)
    for path, count in counts.items():
        if observed.lists.get(path, 0) != count:
            yield Miss(
                small.model_type, changed, f"{name} {path}", observed.lists.get(path, 0), count
            )


def main(what: str, only: list[str] | None) -> None:
    """Check every model type, or some; prints the misses and a summary."""
    types = only or (asking.model_types() if what == "configs" else building.model_types())
    right = 0
    for model_type in types:
        misses = _checked(what, model_type)
        right += not misses
        for miss in misses[:3]:
            print(miss)
    print(f"{what}: {right} of {len(types)} model types without a miss")


def _checked(what: str, model_type: str) -> list[Miss]:
    if what == "configs":
        return configuration_misses(model_type, 20)
    known = knowledge_tables.read("buffers").get(model_type, {}).get("classes", {})
    return build_misses(model_type, list(known)[:2], 8)
