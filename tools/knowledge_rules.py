"""Which values of a configuration follow from others, found by changing them one by one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.knowledge import configs
from modelscope_cli.knowledge.expressions import MISSING, look_up
from tools import knowledge_configs as asking
from tools import knowledge_fitting as fitting
from tools.knowledge_perturbing import Inputs, nested

_COMBINATIONS = 50  # random settings to fit on, and as many fresh ones to check
_ROUNDS = 3
_MOST_SWITCHES = 3
_FEW_CAUSES = 3
# Numbers that much follows from, though a class may take no other when all else is as usual.
_WIDTHS = ("hidden_size", "d_model", "embed_dim", "num_attention_heads", "num_hidden_layers")
_SECONDS = 2.0  # for one value
_MOST_SECONDS = 12.0  # for one class


class Sample(NamedTuple):
    """Settings by dotted path, as a file has them, and what the class makes of them."""

    changed: Mapping[str, Any]
    said: Mapping[str, Any]
    truth: Mapping[str, Any]


def records(types: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The lines of `configs.jsonl` for these model types, and for what they nest."""
    found: dict[str, dict[str, Any]] = {"": asking.shared()}
    for key in types:
        _add(key, found)
    return {key: each for key, each in found.items() if each}


def _add(key: str, found: dict[str, dict[str, Any]]) -> None:
    """A record and its rules; those it nests come first."""
    if key in found:
        return
    found[key] = {}
    try:
        record = asking.record(key)
    except KeyError:  # the default of a sub-configuration that transformers does not have
        return
    found[key] = record
    for spec in record.get("subs", {}).values():
        _add(spec["type"], found)
    start = time.monotonic()
    _Search(key, found).run()
    print(f"{key} {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def predicted(key: str, records: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the reader makes of a file with these records."""
    configs._lines = lambda name: records.get(name, {})  # type: ignore[assignment]
    return configs._filled(said, key, 0)


def wrong(truth: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Paths at which the two differ; what is only in `found` does not count."""
    for path, item in asking.flat(truth):
        if (
            any(part in (*asking.OF_ALL, "model_type") for part in path.split("."))
            or "_token_id" in path
        ):
            continue
        if _stray(truth, path):
            continue
        other = look_up(found, path)
        if not fitting.same(None if other is MISSING else other, item):
            yield path


def _stray(truth: Mapping[str, Any], path: str) -> bool:
    """What a class writes beside nested rope parameters whose names it does not see."""
    outer, _, _ = path.rpartition(".")
    if not outer.endswith("rope_parameters"):
        return False
    return any(isinstance(item, Mapping) for item in look_up(truth, outer).values())


class _Search:
    def __init__(self, key: str, records: dict[str, dict[str, Any]]) -> None:
        self.key = key
        self.records = records
        self.record = records[key]
        self.cls = asking.class_for(key)
        self.default = asking.ask(self.cls, {}) or {}
        self.inputs = Inputs(key, self.record, self.default)
        self.samples = [Sample({}, {}, self.default)] if self.default else []
        self.depends: dict[str, dict[str, None]] = {}
        self.failures: dict[str, int] = {}
        self.rules: list[list[Any]] = self.record.setdefault("rules", [])

    def run(self) -> None:
        self.end = time.process_time() + _MOST_SECONDS
        self._one_by_one({}, self.default)
        for switch in self._switches()[:_MOST_SWITCHES]:
            sample = self._asked(switch)
            if sample is not None:
                self._one_by_one(switch, sample.truth)
        telling = {*self._busy(), *self.depends}
        self.samples = [
            each for each in self.samples if not each.changed or telling & {*each.changed}
        ]
        self._combine(self._busy(), _COMBINATIONS)
        for _ in range(_ROUNDS):
            self._improve()
            before = len(self.samples)
            self._combine(self._busy(), _COMBINATIONS // 2)
            self._combine(self.inputs.paths, _COMBINATIONS // 2)
            if not any(any(self._wrong(each)) for each in self.samples[before:]):
                break
        else:
            self._improve()
        for path in self._mistaken():
            self._give_up(path)
        self.find_empty()
        if not self.rules:
            del self.record["rules"]

    def _one_by_one(self, start: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Change each key alone, from a configuration that has a switch set or not."""
        busy = self._busy() if start else self.inputs.paths
        for path in self.inputs.paths:
            most = 0 if path in start else 6 if path in busy else 1
            for item in self._tries(path)[:most]:
                sample = self._asked({**start, path: item})
                if sample is not None:
                    self.samples.append(sample)
                    self._note_dependence([path, *start], sample, before)

    def _switches(self) -> list[dict[str, Any]]:
        """Settings that may let others count: what is true or false, and null."""
        busy = self._busy()
        found: list[dict[str, Any]] = []
        for path in busy:
            usual = look_up(self.default, path)
            if isinstance(usual, bool):
                found.append({path: not usual})
        for sample in self.samples:  # null given, something else held
            for path, item in sample.changed.items():
                if item is None and look_up(sample.truth, path) is not None:
                    found.append({path: None})
        return found

    def _tries(self, path: str) -> list[Any]:
        most = 2 if "." in path else 6
        return list(self.inputs.values(path))[:most]

    def _asked(self, changed: Mapping[str, Any]) -> Sample | None:
        said = nested(changed, self.default)
        truth = asking.ask(self.cls, said)
        return None if truth is None else Sample(changed, said, truth)

    def _note_dependence(self, causes: list[str], sample: Sample, start: Mapping[str, Any]) -> None:
        before, after = dict(asking.flat(start)), dict(asking.flat(sample.truth))
        for other in before | after:
            if other != causes[0] and not fitting.same(before.get(other), after.get(other)):
                known = self.depends.setdefault(other, {})
                if causes[0] not in known:  # else it matters without the switch too
                    known.update({path: None for path in causes if path != other})

    def _busy(self) -> list[str]:
        """Inputs that others depend on, and those that depend."""
        found = dict.fromkeys(path for each in self.depends.values() for path in each)
        found |= dict.fromkeys(path for path in self.depends if path in self.inputs.paths)
        return list(found)

    def _combine(self, paths: Sequence[str], count: int) -> None:
        for _ in range(count if paths else 0):
            changed = self.inputs.several(paths, self.inputs.random.randint(2, 5))
            sample = self._asked(changed)
            if sample is not None:
                self.samples.append(sample)

    def _wrong(self, sample: Sample) -> list[str]:
        """What is to be mended; what a nested record leaves out as not known stays so."""
        found = predicted(self.key, self.records, sample.said)
        paths = wrong(sample.truth, found)
        return [p for p in paths if "." not in p or look_up(found, p) is not MISSING]

    def _mistaken(self) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            for path in self._wrong(sample):
                found.setdefault(path, []).append(sample)
        return found

    def _improve(self) -> None:
        """Fit whatever is wrong, what depends on least first, until nothing more fits."""
        for _ in range(3):
            progress = False
            mistaken = self._mistaken()
            for path in sorted(mistaken, key=lambda p: (len(self.depends.get(p, ())), p)):
                known = len(self.depends.get(path, ()))
                for sample in mistaken[path][:6]:
                    self._blame(path, sample)
                if len(self.depends.get(path, ())) > known:
                    self.failures.pop(path, None)
                if self.failures.get(path, 0) > 1 or time.process_time() > self.end:
                    continue
                fitted = self._fit(path)
                progress |= fitted
                self.failures[path] = self.failures.get(path, 0) + (not fitted)
            if not progress:
                return

    def _blame(self, path: str, sample: Sample) -> None:
        """Find the settings without which the mistake is not made."""
        known = self.depends.setdefault(path, {})
        changed = dict(sample.changed)
        if set(changed) <= {*known, path}:
            return
        for each in list(changed):
            less = {k: v for k, v in changed.items() if k != each}
            smaller = self._asked(less)
            if smaller is not None and path in self._wrong(smaller):
                changed = less
        known.update(dict.fromkeys(each for each in changed if each != path))

    def _fit(self, path: str) -> bool:
        place = next((i for i, rule in enumerate(self.rules) if rule[0] == path), len(self.rules))
        old = self.rules[place:]
        del self.rules[place:]
        examples = []
        for sample in self.samples:
            scope = self._scope(sample)
            truth = look_up(sample.truth, path)
            if truth is not MISSING:
                examples.append((path in sample.changed, fitting.Example(scope, truth)))
        self.inputs.random.shuffle(examples)
        rest = old[1:] if old and old[0][0] == path else old
        fitting.until(time.process_time() + _SECONDS)
        expression = self._expression(path, examples)
        rule = [] if expression is None else [[path, expression]]
        self.rules += [*(rule or old[: len(old) - len(rest)]), *rest]
        return expression is not None

    def _scope(self, sample: Sample) -> Mapping[str, Any]:
        """What an expression sees: values so far, and as they were said."""
        found = predicted(self.key, self.records, sample.said)
        rules, self.record["rules"] = self.record["rules"], []
        said = predicted(self.key, self.records, sample.said)
        self.record["rules"] = rules
        return {**found, configs.SAID: said}

    def _atoms(self, path: str) -> list[str]:
        """What to look for it in: its causes, as they are said and as rules make them."""
        causes = dict.fromkeys(self.depends.get(path, ()))
        derived = [
            rule[0]
            for rule in self.rules
            if self.depends.get(rule[0], {}).keys() <= causes.keys() and rule[0] != path
        ]
        ruled = {rule[0] for rule in self.rules}
        said = [f"{configs.SAID}.{cause}" for cause in causes if cause in ruled]
        return list(dict.fromkeys([*causes, *derived, *said]))

    def _expression(self, path: str, examples: list[tuple[bool, fitting.Example]]) -> Any:
        atoms = self._atoms(path)
        examples = _distinct(examples, [path, *atoms])
        given = [each for said, each in examples if said and look_up(each.scope, path) is not None]
        absent = [each for said, each in examples if not said]
        kept = [each for each in given if fitting.same(look_up(each.scope, path), each.value)]
        usual = look_up(absent[0].scope, path) if absent else MISSING
        if given and usual in (None, MISSING):
            found = None
            if len(kept) == len(given):
                others = [e for _, e in examples if look_up(e.scope, path) in (None, MISSING)]
                found = self._derived(others, atoms) if others else None
                if found is not None:
                    return ["??", path, found]
            true = [each for each in given if look_up(each.scope, path)]
            if found is None and all(e in kept for e in true):
                others = [each for _, each in examples if each not in true]
                found = self._derived(others, atoms) if others else None
                if found is not None:
                    return ["or", path, found]
            ending = self._ending(path, given, absent, atoms)
            if ending is not None:
                return ending
        whole = [each for _, each in examples]
        return fitting.fit(whole, [path, *atoms]) if whole else None

    def _derived(self, examples: list[fitting.Example], atoms: list[str]) -> Any:
        """What follows when the file does not say it."""
        found = fitting.fit(examples, atoms)
        if found is None and len(atoms) < _FEW_CAUSES:
            widths = [name for name in _WIDTHS if isinstance(self.default.get(name), int)]
            found = fitting.fit(examples, list(dict.fromkeys([*atoms, *widths])), 0)
        return found

    def _ending(
        self,
        path: str,
        given: list[fitting.Example],
        absent: list[fitting.Example],
        atoms: list[str],
    ) -> Any:
        """A list whose last item is always the same, whatever the file says."""
        lists = [each.value for each in (*given, *absent)]
        if not absent or not all(isinstance(each, list) and each for each in lists):
            return None
        last = lists[0][-1]
        said = [look_up(each.scope, path) for each in given]
        kept = all(
            isinstance(one, list) and [*one[:-1], last] == each.value
            for one, each in zip(said, given, strict=True)
        )
        if not kept or any(each[-1] != last for each in lists):
            return None
        found = fitting.fit(absent, atoms)
        return None if found is None else ["ending", ["??", path, found], fitting.quoted(last)]

    def _give_up(self, path: str) -> None:
        """A value that is right only while all it depends on is as usual."""
        self.rules[:] = [rule for rule in self.rules if rule[0] != path]
        causes = [each for each in self.depends.get(path, {}) if each != path]
        usual = {each: _or_none(look_up(self.default, each)) for each in causes}
        known = ["same", usual, fitting.quoted(_or_none(look_up(self.default, path)))]
        kept = [s for s in self.samples if s.changed.get(path)]
        alike = [s for s in kept if fitting.same(look_up(s.truth, path), s.changed[path])]
        own = kept and len(alike) >= len(kept) / 2
        self.rules.append([path, ["??", path, known] if own else known])
        print(f"{self.key} {path}: depends on {', '.join(causes)}", file=sys.stderr)

    def find_empty(self) -> None:
        """Where a class takes an empty value for none, `or` is its rule, and not `??`."""
        for place, (path, expression) in enumerate(self.rules):
            if not isinstance(expression, list) or expression[:2] != ["??", path]:
                continue
            empty: Any
            for empty in ([], 0):
                sample = self._asked({path: empty})
                if sample is None or path not in self._wrong(sample):
                    continue
                self.rules[place] = [path, ["or", *expression[1:]]]
                if path not in self._wrong(sample):
                    break
                self.rules[place] = [path, expression]


def _distinct(
    examples: list[tuple[bool, fitting.Example]], paths: list[str]
) -> list[tuple[bool, fitting.Example]]:
    """One of those that are alike in all that could matter."""
    found: dict[tuple[Any, ...], tuple[bool, fitting.Example]] = {}
    for said, each in examples:
        seen = [str(look_up(each.scope, path)) for path in paths]
        found.setdefault((said, str(each.value), *seen), (said, each))
    return list(found.values())


def _or_none(found: Any) -> Any:
    return None if found is MISSING else found
