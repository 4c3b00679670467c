"""The families of rules, and every rule by its ID. A rule is one class, and one place in a row."""

from __future__ import annotations

import importlib
from functools import cache
from typing import NamedTuple

from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.errors import UsageError, did_you_mean


class Family(NamedTuple):
    """Rules that share a letter. `module` holds them, as `RULES`; None: there are none yet."""

    letter: str
    title: str
    module: str | None


FAMILIES = {
    row.letter: row
    for row in (
        Family("F", "files: whole, well formed, what their names say", "files"),
        Family("S", "safety: pickles, code, links and names", "safety"),
        Family("C", "cache: content against what was downloaded", "cache"),
        Family("N", "numbers: reserved for rules that read values", None),
        Family("M", "limits: size, memory, dtypes, quantization", "limits"),
        Family("P", "provenance: licence, model card, revision, files", "provenance"),
        Family("L", "lock: what was pinned by mscope lock", "locked"),
    )
}


@cache
def every() -> dict[str, Rule]:
    """All rules by their IDs, family by family."""
    found: dict[str, Rule] = {}
    for family in FAMILIES.values():
        if family.module is not None:
            module = importlib.import_module(f"{__name__}.{family.module}")
            found |= {rule.id: rule() for rule in module.RULES}
    return found


def selected(policy: Policy) -> list[Rule]:
    """The rules that a policy selects, in order; those it ignores are among them."""
    return [rule for name, rule in every().items() if policy.selects(name)]


def named(name: str) -> Rule:
    """One rule by its ID, in any case. Raises UsageError with near IDs."""
    found = every().get(name.upper())
    if found is None:
        raise UsageError(f"there is no rule {name!r}", did_you_mean(name.upper(), every()))
    return found


def check_name(name: str, where: str) -> str:
    """An ID or a family's letter, in any case. Raises UsageError."""
    known = [*FAMILIES, *every()]
    if name.upper() not in known:
        near = did_you_mean(name.upper(), known) or f"families are {', '.join(FAMILIES)}"
        raise UsageError(f"{where}: there is no rule or family {name!r}", near)
    return name.upper()
