"""What a training step adds to a row: adapters, gradients, optimizer states, kept activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.training import states as training
from modelscope_cli.analysis.memory.training.states import Linear, Trained
from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.analysis.memory.weights.held import UNTOLD, Held
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.facts import Unknown

_PACKED = "U8"  # of weights that bitsandbytes packed
_CACHE_NOTE = "training keeps no cache"


class Training(NamedTuple):
    """What is trained: `full` or `lora`, and how."""

    kind: str
    optimizer: str
    checkpointing: bool = False
    rank: int = 16
    targets: tuple[str, ...] = (training.ALL,)


def parts(prepared: Prepared, mode: Mode, asked: Training) -> Iterator[Part]:
    """Adapters (of LoRA), gradients and optimizer. Raises UsageError for targets there are none of.

    What the library's optimizers keep is exact for the parameters that are counted.
    """
    found: training.Training | Unknown
    if prepared.hidden:
        found = Unknown(dict(prepared.missing())["weights"])
    elif asked.kind == "full":
        found = training.full(_parameters(prepared, mode), asked.optimizer)
    else:
        found = training.lora(
            linears(prepared), asked.optimizer, rank=asked.rank, targets=asked.targets
        )
    if isinstance(found, Unknown):
        for part in ("gradients", "optimizer"):
            yield Part(part, found, "estimate", found.reason)
        return
    basis = "exact" if not prepared.doubts else "estimate"
    if found.adapters:
        yield Part("adapters", found.adapters, basis, None, found.note)
    yield Part("gradients", found.gradients, basis)
    yield Part("optimizer", found.optimizer, basis, None, None if found.adapters else found.note)


def no_cache() -> Part:
    """The cache's part while training."""
    return Part("kv_cache", 0, "exact", None, _CACHE_NOTE)


def _parameters(prepared: Prepared, mode: Mode) -> Iterator[Trained]:
    plan = prepared.plan(mode.float_dtype(prepared.dtype))
    packs = mode.scheme in amounts.BITSANDBYTES
    for part in prepared.judged:
        if part.held.is_buffer:
            continue
        dtype = _PACKED if packs and part.reason is None else plan.of(part.held)
        yield Trained(part.elements // part.times, dtype, part.times)


def linears(prepared: Prepared) -> list[Linear]:
    """The linear layers but the output head: what peft's `all-linear` takes."""
    head = None if prepared.model_class is None else prepared.model_class.output_embedding
    return [
        Linear(
            each.module,
            each.elements // each.outputs,
            each.outputs // each.times,
            each.times,
        )
        for each in _linear(prepared)
        if each.module != head
    ]


def _linear(prepared: Prepared) -> Iterator[Held]:
    for part in prepared.judged:
        held = part.held
        known = held.kind in ("linear", "conv1d")
        if part.start == 0 and held.is_matrix and (known or _by_name(held, part.reason)):
            yield held


def _by_name(held: Held, reason: str | None) -> bool:
    return held.kind == UNTOLD and reason is None
