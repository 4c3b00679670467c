"""Other ways to hold the weights: transformers 4's per-expert layers, ideal packing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_cli.analysis.memory.weights import linear
from modelscope_cli.analysis.memory.weights.amounts import Amounts, DtypePlan, Left, plain_bytes
from modelscope_cli.analysis.memory.weights.held import Held, Stored
from modelscope_cli.analysis.memory.weights.linear import Judged
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes.base import Options

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.weights.prepared import Prepared

_BIAS = "e_score_correction_bias"
_ROUTERS = ("gate", "router")


def before_fusing(prepared: Prepared) -> list[Judged]:
    """As transformers 4 has them: an expert's matrices and its router are Linear layers.

    What a file has one by one, `experts.3.w1.weight`, was a layer each. Routers were too, but for
    those that keep a correction bias (DeepSeek's), which are parameters of their own.
    """
    found = []
    for part in prepared.judged:
        if part.reason is not None and _was_experts(part.held):
            found += [
                Judged(
                    part.held, None, stored.times, stored.elements * stored.times,
                    stored.shape[0] * stored.times,
                )
                for stored in part.held.stored
            ]  # fmt: skip
        elif part.reason is not None and _was_router(part.held, prepared):
            found.append(part._replace(reason=None))
        else:
            found.append(part)
    return found


def _was_experts(held: Held) -> bool:
    return held.merged and held.kind == "raw" and all(map(_is_matrix, held.stored))


def _is_matrix(stored: Stored) -> bool:
    return len(stored.shape) == 2 and stored.template.endswith(".weight")


def _was_router(held: Held, prepared: Prepared) -> bool:
    if held.kind != "raw" or not held.is_matrix or held.module.rpartition(".")[2] not in _ROUTERS:
        return False
    return not any(each.template == f"{held.module}.{_BIAS}" for each in prepared.held)


def ideal(prepared: Prepared, plan: DtypePlan, scheme: str) -> Amounts | Unknown:
    """Every linear layer and every expert packed by a scheme; embeddings and the head are not."""
    weights = state = buffers = modules = parameters = 0
    left = []
    for part in prepared.judged:
        pieces = list(_pieces(part))
        made = [sizes for piece in pieces if (sizes := _packed(scheme, piece)) is not None]
        if pieces and len(made) == len(pieces):
            for piece, sizes in zip(pieces, made, strict=True):
                weights += sizes[0] * piece.times
                state += sizes[1] * piece.times
                modules += piece.times
            parameters += part.elements
            continue
        size = plain_bytes(part.held, part.elements, plan)
        if part.held.is_buffer:
            buffers += size
        else:
            weights += size
            reason = part.reason or f"{scheme} cannot pack this shape"
            left.append(Left(part.held.shown(), part.times, size, reason))
    if not modules:
        return Unknown(f"{scheme} packs no tensor of this model")
    return Amounts(weights, state, buffers, modules, parameters, tuple(left))


def _pieces(part: Judged) -> Iterator[Stored]:
    """The file's matrices behind a row that engines pack: linear layers and experts."""
    experts = part.held.kind == "raw" and part.reason == linear.EXPERTS
    if part.reason is None or experts:
        for stored in part.held.stored:
            if len(stored.shape) in (2, 3):
                yield stored


def _packed(scheme: str, stored: Stored) -> tuple[int, int] | None:
    """Bytes of a weight packed, and of its state; None where it cannot be."""
    from modelscope_cli.analysis import packing

    *experts, rows, columns = stored.shape
    try:
        made = packing.pack(scheme, (rows, columns), Options())
    except UsageError:
        return None
    times = experts[0] if experts else 1
    return made.packed.bytes * times, (made.total_bytes - made.packed.bytes) * times
