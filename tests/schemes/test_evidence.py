"""Group sizes: what shapes leave open, the declaration decides where it fits."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.facts import Shape
from modelscope_cli.schemes import evidence
from modelscope_cli.schemes.base import Logical
from tests.analysis.test_packed import Row, gptq, seen

W4A16 = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("rows", "declared", "group"),
    [
        (gptq("l", 64, 128, group=128), {"quant_method": "gptq", "group_size": 128}, 128),
        (gptq("l", 64, 128, group=128), {"quant_method": "gptq", "group_size": -1}, None),
        (gptq("l", 64, 128, group=128), {"quant_method": "gptq", "group_size": 64}, None),
        ([("l.weight_packed", "I32", (64, 16)), ("l.weight_scale", "BF16", (64, 1))], W4A16, 128),
        ([("l.weight", "I8", (64, 128)), ("l.weight_scale", "BF16", (64, 1))], W4A16, 128),
        ([("l.weight", "I8", (64, 96)), ("l.weight_scale", "BF16", (64, 1))], W4A16, None),
        ([("l.qweight", "I32", (128, 8)), ("l.qzeros", "I32", (1, 8)),
          ("l.scales", "F16", (1, 64))], {"quant_method": "awq", "group_size": 128}, 128),
    ],
)  # fmt: skip
def test_a_row_of_one_declared_group_has_it(
    rows: list[Row], declared: dict[str, Any], group: int | None
) -> None:
    logical = seen(rows, declared=declared)[0].logical
    assert isinstance(logical, Logical)
    assert logical.group == group


@pytest.mark.parametrize(
    ("shape", "scheme"),
    [((128, 128), "fp8-block"), ((64, 96), "fp8-block"), ((128, 256), "fp8")],
)
def test_one_scale_for_one_declared_block(shape: Shape, scheme: str) -> None:
    rows: list[Row] = [("l.weight", "F8_E4M3", shape), ("l.weight_scale_inv", "F32", (1, 1))]
    assert seen(rows, declared=FP8)[0].scheme == scheme


def test_a_declared_size_of_nothing_fits_nothing() -> None:
    assert evidence.even_group(0, 0, [128]) is None
    assert evidence.scale_group((0, 0), (1, 1), FP8) is None
