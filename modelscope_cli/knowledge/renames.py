"""File names to module names, as transformers' `core_model_loading` does it on loading.

Each rule is a regular expression of the library's own mapping, its replacement, and the
operations between the two; `conversions.jsonl` holds them by class name or model type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from modelscope_cli.knowledge.lines import look_up

# A tensor name that is longer than that is nobody's: rules with `.*` take quadratic time.
LONGEST_NAME = 1000
_MERGING = ("MergeModulelist", "Concatenate", "ErnieFuseAndSplitTextVisionExperts")


class Renamed(NamedTuple):
    """Where a file's tensor goes.

    `name` is the first of the `targets`, of which there are several where it is cut into chunks;
    `merged`: several tensors of the file become that one parameter.
    """

    name: str
    targets: tuple[str, ...]
    merged: bool


class Rule:
    """One transform of the library's mapping, for the names below a scope.

    `data` has "p" the branches of its pattern, by number; "t" its targets; "o" the operations of
    a converter; "s" text of which some must be in a name that matches; "k" what it does
    otherwise: `group` or an index `offset`.
    """

    __slots__ = ("_data", "_pattern", "_texts", "guarded", "is_converter", "prefixes")

    def __init__(self, data: dict[str, Any], prefixes: tuple[str, ...] | None) -> None:
        self._data = data
        self._pattern: re.Pattern[str] | None = None
        self._texts: tuple[str, ...] = tuple(data.get("s", ()))
        self.prefixes = prefixes
        self.is_converter = "o" in data
        self.guarded = data.get("k") == "group"

    @property
    def is_merging(self) -> bool:
        """Whether several tensors become one."""
        return any(operation in _MERGING for operation in self._data["o"])

    def apply(self, name: str) -> str | None:
        """The name renamed; None where the rule does not match."""
        match = self._match(name)
        if match is None:
            return None
        scope, match_object = match
        rest = match_object.string
        replaced = rest.replace(match_object.group(0), self._replacement(match_object), 1)
        return scope + replaced

    def guards(self, name: str) -> bool:
        """Whether a rename of a group is set off by that name: one that only old files have."""
        match = self._match(name)
        return match is not None and _branch(match[1]) == 0

    def expand(self, name: str) -> tuple[str, ...]:
        """All targets, `name` having the first of them."""
        first, *others = self._data["t"]
        if not others:
            return (name,)
        before, _, after = name.partition(first)
        return tuple(f"{before}{target}{after}" for target in (first, *others))

    def _match(self, name: str) -> tuple[str, re.Match[str]] | None:
        scope = ""
        if self.prefixes is not None:
            found = next((p for p in self.prefixes if name.startswith(p)), None)
            if found is None:
                return None
            scope = found
        for text in self._texts:
            if text in name:
                break
        else:
            if self._texts:
                return None
        match = self._compiled().search(name[len(scope) :])
        return None if match is None else (scope, match)

    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            branches = self._data["p"]
            text = "|".join(f"(?P<g{number}>{branch})" for number, branch in branches)
            self._pattern = re.compile(text)
        return self._pattern

    def _replacement(self, match: re.Match[str]) -> str:
        """The target with what the match captured, as each kind of rule puts it in."""
        branch = _branch(match)
        at = match.re.groupindex[f"g{branch}"]
        if self.guarded:
            target = str(self._data["t"][branch])
            return re.sub(r"\\(\d+)", lambda m: match.group(at + int(m[1])), target)
        target = str(self._data["t"][0])
        if r"\1" not in target:
            return target
        captured = match.group(at + 1) or ""
        if "offset" in self._data:
            captured = str(int(captured) + int(self._data["offset"]))
        return target.replace(r"\1", captured)


def _branch(match: re.Match[str]) -> int:
    """The number of the branch that matched."""
    groups = match.re.groupindex
    return next(int(name[1:]) for name, at in groups.items() if match.group(at) is not None)


# A model within a model: its path of modules, its class and model type.
SubModel = tuple[str, str, str]


def rules_for(
    class_name: str, model_type: str, base_prefix: str, parts: Iterable[SubModel]
) -> list[Rule]:
    """The rules of a class and of the models within it (`get_model_conversion_mapping`).

    `parts` in the order of `named_modules`. A part's rules see names below it only, and it has
    none where a model around it brought the same.
    """
    rules: list[Rule] = []
    seen: dict[str, list[str]] = {}
    for path, name, kind in (("", class_name, model_type), *parts):
        if _is_claimed(path, seen.get(name, ())):
            continue
        key, data = name, look_up("conversions", name)
        if data is None and not _is_claimed(path, seen.get(kind, ())):
            key, data = kind, look_up("conversions", kind)
        if data is None:
            continue
        prefixes = _prefixes(path, base_prefix)
        rules += [Rule(each, prefixes) for each in data]
        seen.setdefault(name, []).append(path)
        if key != name:
            seen.setdefault(kind, []).append(path)
    rules += [Rule(each, None) for each in look_up("conversions", "legacy") or ()]
    return rules


def _is_claimed(path: str, owners: Sequence[str]) -> bool:
    return any(owner == "" or path.startswith(f"{owner}.") for owner in owners)


def _prefixes(path: str, base_prefix: str) -> tuple[str, ...] | None:
    """How names begin that a rule of the model at `path` sees; None for the root's: all."""
    if not path:
        return None
    scope = path.removeprefix(base_prefix).removeprefix(".")
    scope = f"{scope}." if scope else ""
    base = f"{base_prefix}." if base_prefix else ""
    return (base + scope, scope)


class Renamer:
    """Applies the rules of a class to the names of a file."""

    def __init__(self, rules: Sequence[Rule], base_prefix: str, has: Callable[[str], bool]) -> None:
        self._renamings = [rule for rule in rules if not rule.is_converter]
        self._converters = [rule for rule in rules if rule.is_converter]
        self._base_prefix = base_prefix
        self._has = has
        self._idle = {id(rule) for rule in rules if rule.guarded}

    def look_at(self, names: Iterable[str]) -> None:
        """Tell which names a file has: some renames only concern files with the old ones."""
        for name in names if self._idle else ():
            if len(name) <= LONGEST_NAME:
                self._wake(name)

    def _wake(self, name: str) -> None:
        for rule in self._renamings:
            if id(rule) in self._idle:
                if not rule.guards(name):
                    continue
                self._idle.remove(id(rule))
            name = rule.apply(name) or name

    def rename(self, file_name: str) -> Renamed:
        """The name in the module tree."""
        if len(file_name) > LONGEST_NAME:
            return Renamed(file_name, (file_name,), merged=False)
        name = self._renamed(file_name)
        converter: Rule | None = None
        for rule in self._converters:
            converted = rule.apply(name)
            if converted is not None:
                name, converter = converted, rule
                break
        name = self._with_base(name)
        if name != file_name and not self._has(name) and self._has(file_name):
            # As it is loaded: a name that is right is not to be renamed.
            name, converter = self._with_base(file_name), None
        if converter is None:
            return Renamed(name, (name,), merged=False)
        return Renamed(name, converter.expand(name), converter.is_merging)

    def _renamed(self, name: str) -> str:
        for rule in self._renamings:
            if id(rule) not in self._idle:
                name = rule.apply(name) or name
        return name

    def _with_base(self, name: str) -> str:
        """With or without the base model's prefix, as the class has it.

        A class that has both could not load its own files: they are of two configurations.
        """
        prefix = self._base_prefix
        if self._has(name):
            return name
        if name.startswith(prefix) and self._has(name[len(prefix) + 1 :]):
            return name[len(prefix) + 1 :]
        longer = f"{prefix}.{name}"
        return longer if self._has(longer) else name
