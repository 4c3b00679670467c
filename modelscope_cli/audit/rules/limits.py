"""Family M: how large a model may be, and of what kind. Without a limit a rule is skipped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from modelscope_cli.analysis import roles
from modelscope_cli.audit.finding import Flaw, Skip
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import FAMILIES
from modelscope_cli.sources.tree import FILE
from modelscope_cli.units import size_text

_PLAIN, _ANY = "none", "any"
_Limit = TypeVar("_Limit")


def _limit(value: _Limit | None, key: str) -> _Limit:
    """A limit of the policy. Raises Skip where it has none."""
    if value is None:
        raise Skip(f"the policy sets no {key}")
    return value


class Parameters(Rule):
    """The model has no more parameters than the policy allows.

    Counted are logical weights, packed ones seen through.

    Remedy: take a smaller model, or raise `limits.parameters`.
    """

    id = "M001"
    title = "parameters are within the limit"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """All parameters against `limits.parameters`."""
        limit = _limit(policy.limits.parameters, "limits.parameters")
        count = subject.params.totals.parameters
        if isinstance(count, Unknown):
            raise Skip(f"parameters are unknown: {count.reason}")
        if count > limit:
            yield Flaw(f"{count:,} parameters, {limit:,} are allowed")


class Bytes(Rule):
    """The model takes no more room on the disk than the policy allows.

    Every file counts, weights in a second format too.

    Remedy: remove what is not needed, or raise `limits.bytes`.
    """

    id = "M002"
    title = "bytes on disk are within the limit"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """All files against `limits.bytes`; what several links lead to counts once."""
        limit = _limit(policy.limits.bytes, "limits.bytes")
        sizes = {e.end or e.path: e.size for e in subject.files if e.kind == FILE and e.size > 0}
        total = sum(sizes.values())
        if total > limit:
            yield Flaw(
                f"{total:,} bytes ({size_text(total)}) in {len(sizes):,} files, "
                f"{limit:,} ({size_text(limit)}) are allowed"
            )


class Fits(Rule):
    """The model runs on the cards, or in the bytes, that the policy names.

    The figure is that of `mscope memory` for the same bits, context and batch: weights, cache,
    activations and what CUDA takes.

    Remedy: quantize it, shorten the context, or take larger cards; `mscope memory` shows the parts.
    """

    id = "M003"
    title = "memory is within the limit"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """The footprint against `memory.fits` and `memory.most`."""
        if policy.memory.fits is None:
            _limit(policy.memory.most, "memory.fits or memory.most")
        from modelscope_cli.audit import memory  # only this rule weighs

        memory.asked(policy.memory)
        yield from memory.flaws(subject.facts, policy.memory)


class LargestTensor(Rule):
    """No tensor is larger than the policy allows.

    One tensor must fit where it is loaded to: a card, a message, a memory map of a small machine.

    Remedy: split it, or raise `limits.largest-tensor`.
    """

    id = "M004"
    title = "every tensor is within the limit"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Each tensor's bytes as stored against `limits.largest-tensor`."""
        limit = _limit(policy.limits.largest_tensor, "limits.largest-tensor")
        table = subject.tensors
        for index, size in enumerate(table.bytes):
            if size > limit:
                name = table.names[index]
                text = f"{name}: {size:,} bytes ({size_text(size)}), {limit:,} are allowed"
                yield Flaw(text, table.files[index], name)


class Dtypes(Rule):
    """Weights are stored in dtypes that the policy allows.

    Buffers and the state of quantized weights (scales, zeros) are left aside; packed weights count
    as what they are stored in.

    Remedy: save the model in another dtype, or allow it in `limits.dtypes`.
    """

    id = "M005"
    title = "dtypes of weights are allowed"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """The dtype of every parameter against `limits.dtypes`."""
        allowed = _limit(policy.limits.dtypes, "limits.dtypes")
        params = subject.params
        table = params.table
        found: dict[str, list[int]] = {}
        for row in params.rows:
            if row.role == roles.PARAMETER:
                found.setdefault(table.dtypes[row.row.indices[0]], []).extend(row.row.indices)
        for dtype, indices in sorted(found.items()):
            if dtype not in allowed:
                first = min(indices)
                text = (
                    f"{len(indices):,} tensors in {dtype}, such as {table.names[first]}; "
                    f"allowed: {', '.join(allowed)}"
                )
                yield Flaw(text, table.files[first], table.names[first])


class Quantization(Rule):
    """Weights are quantized as the policy asks, or not at all.

    `none` allows plain weights, `any` every scheme, else schemes are named.

    Remedy: take the variant that is asked for, or change `limits.quantization`.
    """

    id = "M006"
    title = "quantization is as required"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """The schemes that tensors are packed in against `limits.quantization`."""
        allowed = _limit(policy.limits.quantization, "limits.quantization")
        params = subject.params
        found: dict[str, int] = {}
        for row in params.rows:
            if row.role == roles.PARAMETER and row.scheme is not None:
                found.setdefault(row.scheme.lower(), min(row.row.indices))
        words = ", ".join(allowed)
        if not found and _PLAIN not in allowed:
            yield Flaw(f"its weights are not quantized; required: {words}")
        for scheme, first in sorted(found.items()):
            if not _is_allowed(scheme, allowed):
                name = params.table.names[first]
                text = f"weights are quantized as {scheme}, such as {name}; allowed: {words}"
                yield Flaw(text, params.table.files[first], name)


def _is_allowed(scheme: str, allowed: Iterable[str]) -> bool:
    """By its own name, that of its kind (`fp8` of `fp8-block`), or of the library that packs it."""
    methods = {m for family in FAMILIES if scheme in family.schemes for m in family.methods}
    return any(
        each in (_ANY, scheme) or scheme.startswith(f"{each}-") or each in methods
        for each in allowed
    )


RULES: tuple[type[Rule], ...] = (
    Parameters, Bytes, Fits, LargestTensor, Dtypes, Quantization,
)  # fmt: skip
