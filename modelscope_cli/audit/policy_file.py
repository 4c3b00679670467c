"""A policy as TOML says it: keys checked, contradictions refused, overrides for some models."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.audit import policy_values as values
from modelscope_cli.audit import rules
from modelscope_cli.audit.finding import ERROR, SEVERITIES
from modelscope_cli.audit.policy import Memory, Policy
from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.errors import UsageError, did_you_mean
from modelscope_cli.facts import ModelRef

TYPED = "the command line"
TOP_KEYS = ("fail_on", "strict", "models")
Set = Callable[[Policy, str, Any], Policy]  # the policy with what a key says, at a place


class Typed(NamedTuple):
    """Rules that the command line selects and ignores."""

    select: Sequence[str] = ()
    ignore: Sequence[str] = ()


class Policies(NamedTuple):
    """The policy of every model. `overrides` are globs and what holds where they fit, in order.

    `typed` is what the command line says: stronger than all of it.
    """

    base: Policy = Policy()
    overrides: Sequence[tuple[str, Mapping[str, Any], str]] = ()
    fail_on: str = ERROR
    path: str | None = None
    typed: Typed = Typed()

    def of(self, ref: ModelRef) -> Policy:
        """What holds for one model: the base, then each override that fits, in order."""
        policy = self.base
        for glob, table, place in self.overrides:
            if any(fnmatch.fnmatchcase(name, glob) for name in (ref.target, ref.id) if name):
                policy = apply(policy, table, place)
        return over(policy, self.typed)

    def usual(self) -> Policy:
        """What holds for a model that no override fits."""
        return over(self.base, self.typed)

    def require_rules(self) -> None:
        """Raises UsageError where the command line leaves nothing of what some model is held to."""
        each = [self.base, *(apply(self.base, table, place) for _, table, place in self.overrides)]
        for policy in each:
            require_a_rule(over(policy, self.typed), TYPED)


def read(table: Mapping[str, Any], path: str, place: str = "audit") -> Policies:
    """The policy of an `[audit]` table.

    Raises UsageError for an unknown key (naming the nearest), a value that is none, and what
    contradicts itself.
    """
    where = f"{path}: {place}"
    found = values.known(where, table, (*KEYS, *TOP_KEYS))
    fail_on = values.one_of(f"{where}.fail-on", found.pop("fail_on", ERROR), SEVERITIES)
    strict = values.flag(f"{where}.strict", found.pop("strict", False))
    models = found.pop("models", [])
    base = apply(Policy(strict=strict), found, where)
    require_a_rule(base, where)
    overrides = _overrides(base, models, f"{where}.models")
    return Policies(base, overrides, fail_on, path)


def _overrides(base: Policy, models: Any, where: str) -> list[tuple[str, Mapping[str, Any], str]]:
    if not isinstance(models, list):
        raise UsageError(f"{where} is a list of tables: [[audit.models]]")
    found: list[tuple[str, Mapping[str, Any], str]] = []
    for number, each in enumerate(models, 1):
        place = f"{where} no. {number}"
        table = values.known(place, values.table(place, each), ("match", *KEYS))
        if "match" not in table:
            raise UsageError(f"{place} says no match", 'as in match = "my-org/*"')
        globs = values.texts(f"{place}.match", table.pop("match"))
        require_a_rule(apply(base, table, place), place)
        found += [(glob, table, place) for glob in globs]
    return found


def require_a_rule(policy: Policy, where: str) -> None:
    """Raises UsageError where nothing would be audited at all."""
    selected = rules.selected(policy)
    if not selected:
        names = ", ".join(policy.select)
        raise UsageError(f"{where}: {names} has no rules yet: nothing would be audited")
    if all(policy.why_ignored(rule.id) is not None for rule in selected):
        raise UsageError(f"{where}: every rule that is selected is ignored: nothing is left")


def apply(policy: Policy, table: Mapping[str, Any], where: str) -> Policy:
    """The policy with what a table of it says; `select` before `ignore`, whatever their order."""
    for key, setter in KEYS.items():
        if key in table:
            policy = setter(policy, f"{where}.{key.replace('_', '-')}", table[key])
    return policy


def over(policy: Policy, typed: Typed) -> Policy:
    """A policy with what the command line says: it wins over any file.

    Raises UsageError where it contradicts itself.
    """
    if typed.select:
        policy = _select(policy, f"{TYPED}, --select", list(typed.select))
    place = f"{TYPED}, --ignore"
    if typed.select and typed.ignore:
        return _ignore(policy, place, list(typed.ignore))
    ignored = [rules.check_name(name, place) for name in typed.ignore]
    # What a file selects by its ID is stronger than a family there, and not here.
    ignored += [name for name in policy.select if name[0] in ignored]
    return policy._replace(ignore={**policy.ignore, **dict.fromkeys(ignored, "")})


def _select(policy: Policy, place: str, value: Any) -> Policy:
    names = tuple(rules.check_name(name, place) for name in values.texts(place, value))
    ignore = {name: why for name, why in policy.ignore.items() if name not in names}
    return policy._replace(select=names, ignore=ignore)


def _ignore(policy: Policy, place: str, value: Any) -> Policy:
    if isinstance(value, dict):
        found = {name: values.text(f"{place}.{name}", why) for name, why in value.items()}
    else:
        found = dict.fromkeys(values.texts(place, value), "")
    ignored = {rules.check_name(name, place): why for name, why in found.items()}
    for name in ignored:
        if name in policy.select:
            raise UsageError(f"{place}: {name} is selected and ignored")
    return policy._replace(ignore={**policy.ignore, **ignored})


def _severities(policy: Policy, place: str, value: Any) -> Policy:
    found = {
        rules.check_name(name, place): values.one_of(f"{place}.{name}", word, SEVERITIES)
        for name, word in values.table(place, value).items()
    }
    return policy._replace(severities={**policy.severities, **found})


def _limits(policy: Policy, place: str, value: Any) -> Policy:
    found = _converted(place, value, LIMITS)
    kinds = found.get("quantization") or ()
    if "none" in kinds and "any" in kinds:
        raise UsageError(f"{place}.quantization: none and any together allow everything")
    return policy._replace(limits=policy.limits._replace(**found))


def _memory(policy: Policy, place: str, value: Any) -> Policy:
    memory = policy.memory._replace(**_converted(place, value, MEMORY))
    if memory.fits is None and memory.most is None:
        raise UsageError(f"{place} says no limit", 'fits = "1x24GiB" or most = "20GiB"')
    _require_sense(place, memory)
    return policy._replace(memory=memory)


def _require_sense(place: str, memory: Memory) -> None:
    """Raises UsageError for cards, bits or a context that are none, or contradict each other."""
    from modelscope_cli.audit import memory as weighing

    try:
        weighing.asked(memory)
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", error.hint) from error


def _provenance(policy: Policy, place: str, value: Any) -> Policy:
    found = _converted(place, value, PROVENANCE)
    return policy._replace(provenance=policy.provenance._replace(**found))


Convert = Callable[[str, Any], Any]


def _converted(place: str, value: Any, keys: Mapping[str, Convert]) -> dict[str, Any]:
    found = values.known(place, values.table(place, value), tuple(keys))
    return {key: keys[key](f"{place}.{key.replace('_', '-')}", each) for key, each in found.items()}


def _dtypes(place: str, value: Any) -> tuple[str, ...]:
    return tuple(_dtype(place, each) for each in values.texts(place, value))


def _dtype(place: str, typed: str) -> str:
    torch = TORCH.get(typed.lower().removeprefix("torch."))
    name = typed.upper() if torch is None else torch.name
    if name not in DTYPES:
        raise UsageError(f"{place}: there is no dtype {typed!r}", did_you_mean(name, DTYPES))
    return name


def _quantization(place: str, value: Any) -> tuple[str, ...]:
    return tuple(_scheme(place, each.lower()) for each in values.texts(place, value))


def _scheme(place: str, name: str) -> str:
    """A scheme, its kind (`fp8` of `fp8-block`), or a library that packs, as M006 takes them."""
    from modelscope_cli.audit import policy_schemes

    known = policy_schemes.names()
    if name not in known:
        near = did_you_mean(name, known) or "none, any, or such as nf4, gptq, fp8, q4_k"
        raise UsageError(f"{place}: there is no quantization {name!r}", near)
    return name


def _lower(place: str, value: Any) -> tuple[str, ...]:
    return tuple(each.lower() for each in values.texts(place, value))


KEYS: Mapping[str, Set] = {
    "select": _select,
    "ignore": _ignore,
    "severity": _severities,
    "limits": _limits,
    "memory": _memory,
    "provenance": _provenance,
}
NAMES = frozenset((*KEYS, *TOP_KEYS))
LIMITS: Mapping[str, Convert] = {
    "parameters": values.count,
    "bytes": values.size,
    "largest_tensor": values.size,
    "dtypes": _dtypes,
    "quantization": _quantization,
}
MEMORY: Mapping[str, Convert] = {
    "fits": values.text,
    "most": values.size,
    "bits": values.number_or_text,
    "quant": values.text,
    "context": values.number_or_text,
    "batch": values.number_or_text,
    "kv_dtype": values.text,
}
PROVENANCE: Mapping[str, Convert] = {
    "licences": _lower,
    "files": values.texts,
    "config": values.table,
}
