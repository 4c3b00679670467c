"""How checkpoints pack weights: which tensors belong to quantization, and by which scheme.

The seam for the packing formulas: a scheme is recognised by a tensor that only it has; its
other tensors are known by their suffixes. Logical shapes come with the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelscope_cli.facts import TensorTable


class Scheme(NamedTuple):
    """One way of packing, as its tensors are named.

    `marker`: a suffix that only this scheme has. `state`: suffixes of its scales, zeros and
    maps. `packed`: the suffix (and dtype) of a weight whose stored shape is not the logical one.
    """

    name: str
    marker: str
    state: tuple[str, ...]
    packed: tuple[str, str] | None


SCHEMES = (
    Scheme(
        "bitsandbytes",
        "quant_map",
        ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "bitsandbytes__nf4",
         "bitsandbytes__fp4"),
        ("weight", "U8"),
    ),
    Scheme("bitsandbytes-int8", "SCB", ("SCB", "weight_format"), None),
    # GPTQ and AWQ share these names; telling them apart takes the shapes.
    Scheme("gptq-or-awq", "qweight", ("qzeros", "scales", "g_idx"), ("qweight", "I32")),
    Scheme(
        "compressed-tensors",
        "weight_packed",
        ("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
         "weight_global_scale", "input_scale", "input_zero_point", "input_global_scale"),
        ("weight_packed", ""),
    ),
    Scheme("mxfp4", "_blocks", ("_scales",), ("_blocks", "U8")),
    Scheme("fp8-block", "weight_scale_inv", ("weight_scale_inv", "activation_scale"), None),
    Scheme(
        "fp8",
        "weight_scale",
        ("weight_scale", "weight_scale_2", "input_scale", "weight_zero_point", "k_scale",
         "v_scale"),
        ("weight", "U8"),
    ),
)  # fmt: skip


class Recognised(NamedTuple):
    """Which suffixes are quantization state, and which (suffix, dtype) pairs are packed weights."""

    state: frozenset[str]
    packed: dict[tuple[str, str], str]

    def is_state(self, suffix: str) -> bool:
        """Whether a tensor with this last name part is scales, zeros or a map."""
        return suffix in self.state or ("_scales" in self.state and suffix.endswith("_scales"))

    def packing(self, suffix: str, dtype: str) -> str | None:
        """The scheme by which a tensor of this name and dtype is packed, if it is."""
        if suffix.endswith("_blocks"):
            suffix = "_blocks"
        return self.packed.get((suffix, dtype)) or self.packed.get((suffix, ""))


def recognise(table: TensorTable, suffixes: Iterable[str]) -> Recognised:
    """The schemes in a checkpoint, by the last parts of its tensors' names."""
    found = set(suffixes)
    if any(suffix.endswith("_blocks") for suffix in found):
        found.add("_blocks")
    if any(dtype == "I32" for dtype in set(table.dtypes)) is False:
        found.discard("qweight")
    present = [scheme for scheme in SCHEMES if scheme.marker in found]
    return Recognised(
        frozenset(suffix for scheme in present for suffix in scheme.state),
        {scheme.packed: scheme.name for scheme in present if scheme.packed is not None},
    )
