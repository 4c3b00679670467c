"""Other ways to hold the weights: a Linear for each expert, ideal packing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelscope_cli.analysis import packing
from modelscope_cli.analysis.memory.weights import amounts, linear, what_if
from modelscope_cli.analysis.memory.weights.amounts import Amounts, DtypePlan
from modelscope_cli.analysis.memory.weights.linear import Skips
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.modules import Parameter
from modelscope_cli.schemes.base import Options
from tests.analysis.memory.weights.holding import LINEAR, NORM, RAW, Class, Rows, hold

BF16 = DtypePlan("BF16")
HIDDEN, WIDE, EXPERTS = 128, 256, 4
MOE = Class(
    {
        "layers.*.gate.weight": RAW,
        "layers.*.gate.e_score_correction_bias": Parameter("buffer", None),
        "layers.*.experts.gate_up": RAW,
        "layers.*.experts.down": RAW,
        "layers.*.attn.weight": LINEAR,
        "layers.*.norm.weight": NORM,
        "embed.weight": Parameter("embedding", None),
        "head.weight": LINEAR,
    },
    lambda name: (_fused(name),),
)


def _fused(name: str) -> str:
    parts = name.split(".")
    if "experts" not in parts or len(parts) < 5:
        return name
    return f"layers.{parts[1]}.experts.{'down' if parts[4] == 'down' else 'gate_up'}"


def _prepared(rows: Rows, keep: Callable[[str], bool] = lambda _: True) -> Prepared:
    held = hold([row for row in rows if keep(row[0])], MOE).held
    judged = linear.judge(held, Skips((("head", "the head"),), None))
    return Prepared(held, judged, [], (), "BF16", (), (), None, {}, (), (), None)


def _mixture(layers: int = 2) -> Rows:
    yield "embed.weight", "BF16", (100, HIDDEN)
    for layer in range(layers):
        at = f"layers.{layer}"
        yield f"{at}.attn.weight", "BF16", (HIDDEN, HIDDEN)
        yield f"{at}.norm.weight", "BF16", (HIDDEN,)
        yield f"{at}.gate.weight", "BF16", (EXPERTS, HIDDEN)
        for expert in range(EXPERTS):
            for name, shape in (("gate", (WIDE, HIDDEN)), ("up", (WIDE, HIDDEN)),
                                ("down", (HIDDEN, WIDE))):  # fmt: skip
                yield f"{at}.experts.{expert}.{name}.weight", "BF16", shape
    yield "head.weight", "BF16", (100, HIDDEN)


# Before transformers 5 fused the experts


def test_experts_and_routers_were_linear() -> None:
    prepared = _prepared(_mixture())
    now = amounts.quantized(prepared.judged, BF16, "int8")
    then = amounts.quantized(what_if.before_fusing(prepared), BF16, "int8")
    assert (now.modules, then.modules) == (2, 2 + 2 + 2 * 3 * EXPERTS)
    experts = 2 * EXPERTS * 3 * WIDE * HIDDEN
    assert then.parameters - now.parameters == experts + 2 * EXPERTS * HIDDEN
    assert now.weights - then.weights == experts + 2 * EXPERTS * HIDDEN  # a byte less each
    outputs = 2 * (EXPERTS * (WIDE + WIDE + HIDDEN) + EXPERTS + HIDDEN)
    assert then.quantization == 4 * outputs


def test_each_expert_has_its_own_state() -> None:
    prepared = _prepared(_mixture(1), lambda name: "experts" in name)
    then = amounts.quantized(what_if.before_fusing(prepared), BF16, "nf4")
    weights = WIDE * HIDDEN
    assert then.modules == 3 * EXPERTS
    assert then.quantization == 3 * EXPERTS * (4 * weights // 64 + 64)


def test_a_router_with_a_correction_bias_was_none() -> None:
    rows = [*_mixture(1), ("layers.0.gate.e_score_correction_bias", "F32", (EXPERTS,))]
    then = what_if.before_fusing(_prepared(rows))
    router = [part for part in then if part.held.name == "layers.0.gate.weight"]
    assert [part.reason is None for part in router] == [False]


def test_experts_stored_fused_were_no_linear() -> None:
    rows = [("layers.0.experts.gate_up", "BF16", (EXPERTS, HIDDEN, 2 * WIDE))]
    prepared = _prepared(rows)
    assert what_if.before_fusing(prepared) == prepared.judged


def test_without_experts_nothing_changes() -> None:
    prepared = _prepared(_mixture(), lambda name: "experts" not in name and "gate" not in name)
    assert what_if.before_fusing(prepared) == prepared.judged
    assert what_if.before_fusing(_prepared([])) == []


# Ideal packing


def _ideal(scheme: str, rows: Rows) -> Amounts:
    found = what_if.ideal(_prepared(rows), BF16, scheme)
    assert not isinstance(found, Unknown), found.reason
    return found


@pytest.mark.parametrize("scheme", ["gptq", "awq", "fp8", "mxfp4", "nvfp4", "q8_0", "q4_0"])
def test_linear_layers_and_experts_are_packed(scheme: str) -> None:
    found = _ideal(scheme, _mixture())
    matrices = [(HIDDEN, HIDDEN)] + EXPERTS * [(WIDE, HIDDEN), (WIDE, HIDDEN), (HIDDEN, WIDE)]
    made = [packing.pack(scheme, shape, Options()) for shape in 2 * matrices]
    packed = sum(each.packed.bytes for each in made)
    plain = 2 * (200 * HIDDEN + 2 * (HIDDEN + EXPERTS * HIDDEN))
    assert found.weights == packed + plain
    assert found.quantization == sum(each.total_bytes for each in made) - packed
    assert (found.modules, found.parameters) == (
        len(made), 2 * sum(rows * columns for rows, columns in matrices),
    )  # fmt: skip
    assert sum(each.bytes for each in found.left) == plain


def test_experts_in_one_tensor_are_packed_each() -> None:
    fused = _ideal("gptq", [("layers.0.experts.down", "BF16", (EXPERTS, HIDDEN, WIDE))])
    single = packing.pack("gptq", (HIDDEN, WIDE), Options())
    assert fused.weights + fused.quantization == EXPERTS * single.total_bytes
    assert fused.parameters == EXPERTS * HIDDEN * WIDE


def test_shapes_that_cannot_be_packed_stay() -> None:
    rows = [
        ("layers.0.attn.weight", "BF16", (HIDDEN, HIDDEN)),
        ("layers.1.attn.weight", "BF16", (HIDDEN, 100)),  # no whole block of 32
    ]
    found = _ideal("q8_0", rows)
    assert found.modules == 1
    (left,) = found.left
    assert (left.pattern, left.bytes) == ("layers.1.attn.weight", 2 * HIDDEN * 100)
    assert left.reason == "q8_0 cannot pack this shape"


def test_where_nothing_can_be_packed_it_is_unknown() -> None:
    found = what_if.ideal(_prepared([("head.weight", "BF16", (8, 8))]), BF16, "gptq")
    assert found == Unknown("gptq packs no tensor of this model")
    assert isinstance(what_if.ideal(_prepared([]), BF16, "gptq"), Unknown)


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_every_scheme_answers(scheme: str) -> None:
    """Whatever its blocks: fewer bytes than float32, or a reason."""
    found = what_if.ideal(_prepared(_mixture()), BF16, scheme)
    if isinstance(found, Unknown):
        assert scheme in found.reason
    else:
        assert (
            found.weights + found.quantization
            <= amounts.plain(_prepared(_mixture()).held, DtypePlan("F32")).weights
        )
