"""What each tensor is: a parameter, a buffer, or a part of a quantized weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from modelscope_cli.analysis.fold import Folded
from modelscope_cli.analysis.packed import Members, Seen
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Shape, TensorTable, Unknown
from modelscope_cli.schemes.base import Logical

PARAMETER = "parameter"
BUFFER = "buffer"
QUANTIZATION = "quantization"
ROLES = (PARAMETER, BUFFER, QUANTIZATION)

# Float buffers that checkpoints hold, by the last part of their names. Integer and bool
# tensors are buffers by their dtype: no optimizer trains them.
BUFFER_NAMES = frozenset(
    {
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "position_ids",
        "inv_freq",
        "masked_bias",
        "final_logits_bias",
        "e_score_correction_bias",
        "rope_freqs",
    }
)
# torch's quantized dtypes are not among them: what has one stands for a float weight.
_INTEGERS = frozenset(
    name
    for name, dtype in DTYPES.items()
    if dtype.kind in ("int", "uint", "bool") and not name.startswith("Q")
)
# A causal mask, [1, 1, n, n], has the name that elsewhere is a projection's bias.
_MASK = re.compile(r"(^|\.)(attn|attention)\.bias$")
# What trainers save beside the model: their optimizer's moments, their schedule.
TRAINING = ("optimizer.", "optimizer_states.", "lr_schedulers.")


class RowFact(NamedTuple):
    """A folded row of tensors alike in dtype, shape, role and packing.

    `elements` and `bytes` are sums over its tensors, as stored; `parameters` counts logical
    weights (0 where the row holds none), Unknown where packing hides them. `members` are the
    tensors of each packed weight by suffix, itself first.
    """

    row: Folded
    role: str
    scheme: str | None
    logical: Logical | Unknown | None
    elements: int
    bytes: int
    members: Members = ()

    @property
    def parameters(self) -> int | Unknown:
        """Logical weights of all its tensors."""
        if self.role != PARAMETER:
            return 0
        if isinstance(self.logical, Unknown):
            return self.logical
        if self.logical is None:
            return self.elements
        return prod(self.logical.shape) * len(self.row.indices)


def of(seen: Sequence[Seen], table: TensorTable) -> list[RowFact]:
    """The role of every row, by its name, its dtype and what packing makes of it."""
    return [_row_fact(each, table) for each in seen]


def _row_fact(seen: Seen, table: TensorTable) -> RowFact:
    first, count = seen.row.indices[0], len(seen.row.indices)
    if seen.is_state:
        role = QUANTIZATION
    elif seen.logical is not None:
        role = PARAMETER
    else:
        role = _role(seen.row.template, table.dtypes[first], table.shapes[first])
    elements, size = table.elements[first] * count, table.bytes[first] * count
    return RowFact(seen.row, role, seen.scheme, seen.logical, elements, size, seen.members)


def parameters(rows: Sequence[RowFact]) -> int | Unknown:
    """Logical weights of all rows; Unknown, with the first reason, where one is."""
    total = 0
    for row in rows:
        count = row.parameters
        if isinstance(count, Unknown):
            return Unknown(f"{row.row.name}: {count.reason}")
        total += count
    return total


def _role(template: str, dtype: str, shape: Shape) -> str:
    last = template.rpartition(".")[2]
    if last in BUFFER_NAMES or template.startswith("rope_freqs.") or dtype in _INTEGERS:
        return BUFFER
    if template.startswith(TRAINING) or (_MASK.search(template) and _is_square_mask(shape)):
        return BUFFER
    return PARAMETER


def _is_square_mask(shape: Shape) -> bool:
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
