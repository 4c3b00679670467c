"""What a team accepts: which rules run, how grave they are, and the limits they hold models to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What a model may be at most, and of what kind; None: no such limit.

    `quantization` are schemes, `none` for plain weights and `any` for every scheme.
    """

    parameters: int | None = None
    bytes: int | None = None
    largest_tensor: int | None = None  # bytes
    dtypes: tuple[str, ...] | None = None
    quantization: tuple[str, ...] | None = None


class Memory(NamedTuple):
    """What a model is run as, and the cards or bytes it must do with."""

    fits: str | None = None  # cards, as `--gpus` takes them
    most: int | None = None  # bytes
    bits: str | None = None
    quant: str | None = None
    context: str | None = None
    batch: str = "1"
    kv_dtype: str | None = None


class Provenance(NamedTuple):
    """Where a model may come from, and what it must bring."""

    licences: tuple[str, ...] | None = None
    files: tuple[str, ...] = ()
    config: Mapping[str, Any] = MappingProxyType({})


class Policy(NamedTuple):
    """What holds for one model. `select` and `ignore` are IDs and families, by reason."""

    select: tuple[str, ...] = ()
    ignore: Mapping[str, str] = MappingProxyType({})
    severities: Mapping[str, str] = MappingProxyType({})
    limits: Limits = Limits()
    memory: Memory = Memory()
    provenance: Provenance = Provenance()
    strict: bool = False

    def selects(self, rule: str) -> bool:
        """Whether a rule is among those that are selected: all where none are named."""
        return not self.select or any(rule.startswith(each) for each in self.select)

    def why_ignored(self, rule: str) -> str | None:
        """Why a rule is not run; an ID is stronger than a family."""
        for name in (rule, rule[0]):
            if name in self.ignore:
                reason = self.ignore[name]
                return f"ignored: {reason}" if reason else "ignored"
            if name in self.select:  # P001 selected, P ignored
                return None
        return None

    def severity(self, rule: str) -> str | None:
        """How grave the policy takes a rule to be; None where it says nothing."""
        return self.severities.get(rule, self.severities.get(rule[0]))
