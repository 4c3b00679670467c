"""What each tensor is: a parameter, a buffer, or a part of a quantized weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.schemes import by_suffix as schemes
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import TensorTable, Unknown

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
_INTEGERS = frozenset(
    name for name, dtype in DTYPES.items() if dtype.kind in ("int", "uint", "bool")
)


class Roles(NamedTuple):
    """One role and one packing scheme (None: plain) for each row of a table."""

    roles: list[str]
    packed: list[str | None]

    def parameters(self, table: TensorTable) -> int | Unknown:
        """Logical weights; Unknown where packing is met that we cannot see through yet."""
        hidden = {scheme for scheme in self.packed if scheme is not None}
        if hidden:
            return Unknown(
                f"weights packed as {', '.join(sorted(hidden))}: "
                "stored elements are not logical ones"
            )
        return sum(
            elements
            for elements, role in zip(table.elements, self.roles, strict=True)
            if role == PARAMETER
        )


def of(table: TensorTable, templates: Sequence[str]) -> Roles:
    """The role of every tensor, by its name and dtype.

    `templates` are the names without their numbers: no role depends on one, and 90,000 names
    have 40 templates.
    """
    keys = list(zip(templates, table.dtypes, strict=True))
    distinct = set(keys)
    recognised = schemes.recognise(table, {template.rpartition(".")[2] for template, _ in distinct})
    known = {key: _role(recognised, key[0].rpartition(".")[2], key[1], key[0]) for key in distinct}
    return Roles([known[key][0] for key in keys], [known[key][1] for key in keys])


def _role(
    recognised: schemes.Recognised, last: str, dtype: str, name: str
) -> tuple[str, str | None]:
    if recognised.is_state(last):
        return QUANTIZATION, None
    packing = recognised.packing(last, dtype)
    if packing is not None:
        return PARAMETER, packing
    if last in BUFFER_NAMES or name.startswith("rope_freqs."):
        return BUFFER, None
    # An int8 weight beside its scales is a weight; any other integer tensor is a buffer.
    if dtype in _INTEGERS and not (recognised.state and last in ("weight", "qweight")):
        return BUFFER, None
    return PARAMETER, None
