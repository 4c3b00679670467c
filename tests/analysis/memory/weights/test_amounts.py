"""Bytes as they are held: at a dtype, by bitsandbytes, as the checkpoint is packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis import params
from modelscope_cli.analysis.memory.weights import amounts, linear
from modelscope_cli.analysis.memory.weights import held as holding
from modelscope_cli.analysis.memory.weights.amounts import Amounts, DtypePlan
from modelscope_cli.analysis.memory.weights.held import Held
from modelscope_cli.analysis.memory.weights.linear import Judged, Skips
from modelscope_cli.analysis.params import Choice
from modelscope_cli.facts import ModelFacts, ModelRef, Shape
from modelscope_cli.knowledge.modules import Parameter
from tests.analysis.memory.weights.holding import LINEAR, NORM, Class, Rows, hold, one
from tests.analysis.tables import table
from tests.builders import checkpoints
from tests.builders.checkpoints import LLAMA_TINY, Checkpoint

BF16, F16, F32 = DtypePlan("BF16"), DtypePlan("F16"), DtypePlan("F32")
NOTHING, LAST = Skips((), None), Skips((), "layers.*.up")
LAYERS = Class({"layers.*.up.weight": LINEAR, "layers.*.norm.weight": NORM})
QUANT_MAP = 64


def _layers(count: int, shape: Shape = (6, 4), dtype: str = "BF16") -> Rows:
    return [(f"layers.{n}.up.weight", dtype, shape) for n in range(count)]


def _judged(rows: Rows, skip: Skips = NOTHING) -> list[Judged]:
    return linear.judge(hold(rows, LAYERS).held, skip)


def _nf4(weights: int, *, double: bool) -> tuple[int, int]:
    """Bytes of one Linear's packed weight and of its state: bitsandbytes' own arithmetic."""
    blocks = -(-weights // 64)
    packed = -(-weights // 2)
    if not double:
        return packed, 4 * blocks + QUANT_MAP
    return packed, blocks + 4 * -(-blocks // 256) + 1024 + 4 + QUANT_MAP


# At a dtype


def test_nothing_weighs_nothing() -> None:
    assert amounts.plain([], BF16) == Amounts() == amounts.as_stored([], BF16)
    assert amounts.quantized([], BF16, "nf4") == Amounts() == amounts.quantized([], BF16, "int8")


def test_plain() -> None:
    rows = [*_layers(3), ("layers.0.norm.weight", "F32", (4,))]
    held = hold(rows, LAYERS).held
    assert amounts.plain(held, BF16) == Amounts(weights=2 * (72 + 4))
    assert amounts.plain(held, F32) == Amounts(weights=4 * (72 + 4))


def test_buffers_are_apart_and_integers_stay() -> None:
    held = hold([("a.weight", "F32", (2, 3)), ("a.position_ids", "I64", (5,))]).held
    assert amounts.plain(held, BF16) == Amounts(weights=12, buffers=40)


def test_a_dtype_of_its_own_stays() -> None:
    held = one([("a.bias", "BF16", (8,))], Class({"a.bias": Parameter("raw", "F32")}))
    assert amounts.plain([held], BF16).weights == 32
    held = one([("a.bias", "F32", (8,))], Class({"a.bias": Parameter("raw", None)}))
    assert amounts.plain([held], BF16).weights == 16


@pytest.mark.parametrize(
    ("dtype", "keep", "strict", "size"),
    [("BF16", ("up",), (), 2), ("F16", ("up",), (), 4), ("F32", ("up",), (), 4),
     ("BF16", (), ("up",), 4), ("F16", (), ("up",), 4), ("F64", (), ("up",), 8),
     ("F16", ("down",), (), 2), ("F16", ("r.*.u",), (), 4), ("F16", (r"layers\.\d\.up",), (), 4)],
)  # fmt: skip
def test_what_is_kept_in_float32(
    dtype: str, keep: tuple[str, ...], strict: tuple[str, ...], size: int
) -> None:
    """`_keep_in_fp32_modules` counts under float16 alone, the strict ones under bfloat16 too."""
    plan = DtypePlan(dtype, keep, strict)
    assert amounts.plain(hold(_layers(2), LAYERS).held, plan).weights == 48 * size
    assert plan.keeps_anything() is (dtype == "F16" or bool(strict and dtype == "BF16"))


# By bitsandbytes


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("scheme", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(6, 4), (1, 1), (1, 65), (128, 128), (64, 1000)])
def test_four_bits(shape: Shape, scheme: str, double: bool) -> None:
    found = amounts.quantized(_judged(_layers(3, shape)), BF16, scheme, double_quant=double)
    packed, state = _nf4(shape[0] * shape[1], double=double)
    assert found == Amounts(3 * packed, 3 * state, 0, 3, 3 * shape[0] * shape[1])


def test_four_bits_as_bitsandbytes_holds_them() -> None:
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="asks bitsandbytes, which is not here"
    )
    torch = pytest.importorskip("torch", reason="asks torch, which is not here")
    for shape, double in (((6, 4), False), ((65, 3), True), ((128, 300), True)):
        packed, state = functional.quantize_4bit(
            torch.zeros(shape), quant_type="nf4", compress_statistics=double
        )
        tensors = [state.absmax, state.code]
        if double:
            tensors += [state.offset, state.state2.absmax, state.state2.code]
        found = amounts.quantized(_judged(_layers(1, shape)), BF16, "nf4", double_quant=double)
        assert found.weights == packed.nbytes
        assert found.quantization == sum(tensor.nbytes for tensor in tensors)


def test_eight_bits() -> None:
    found = amounts.quantized(_judged(_layers(3)), BF16, "int8")
    assert found == Amounts(72, 3 * 4 * 6, 0, 3, 72)


def test_what_stays() -> None:
    rows = [*_layers(3), *((f"layers.{n}.norm.weight", "BF16", (4,)) for n in range(3))]
    found = amounts.quantized(_judged(rows, LAST), F32, "int8")
    assert (found.weights, found.quantization) == (2 * 24 + 4 * 24 + 4 * 12, 2 * 24)
    assert (found.modules, found.parameters) == (2, 48)
    assert [(each.pattern, each.times, each.bytes) for each in found.left] == [
        ("layers.2.up.weight", 1, 96),
        ("layers.{0..2}.norm.weight", 3, 48),
    ]


@given(
    layers=st.integers(1, 9), rows=st.integers(1, 40), columns=st.integers(1, 40),
    double=st.booleans(), scheme=st.sampled_from(["nf4", "fp4", "int8"]),
)  # fmt: skip
def test_the_whole_is_what_its_parts_are(
    layers: int, rows: int, columns: int, double: bool, scheme: str
) -> None:
    """All layers together weigh what they weigh one by one, the last left alone too."""
    tensors = list(_layers(layers, (rows, columns)))
    whole = amounts.quantized(_judged(tensors), BF16, scheme, double_quant=double)
    single = Amounts()
    for tensor in tensors:
        single = single.plus(
            amounts.quantized(_judged([tensor]), BF16, scheme, double_quant=double)
        )
    assert whole == single
    kept = amounts.quantized(_judged(tensors, LAST), BF16, scheme, double_quant=double)
    assert kept.modules == layers - 1
    assert kept.parameters + sum(each.bytes for each in kept.left) // 2 == whole.parameters


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=6),
    st.sampled_from(["BF16", "F16", "F32", "F64"]),
)
def test_a_dtype_is_a_size(shapes: list[Shape], dtype: str) -> None:
    rows = [(f"layers.{n}.up.weight", "F32", shape) for n, shape in enumerate(shapes)]
    size = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}[dtype]
    found = amounts.plain(hold(rows, LAYERS).held, DtypePlan(dtype))
    assert found == Amounts(weights=size * sum(a * b for a, b in shapes))


# As the checkpoint is packed


def _stored(checkpoint: Checkpoint) -> list[Held]:
    made = table((each.name, each.dtype, tuple(each.shape)) for each in checkpoint.tensors)
    values: Mapping[Any, bytes] = {(None, key): value for key, value in checkpoint.values.items()}
    facts = ModelFacts(
        ModelRef("m", "directory"), made, config=checkpoint.config, values=values,
        quantization=checkpoint.config.get("quantization_config", {}),
    )  # fmt: skip
    rows = params.examine(facts, made, Choice()).rows
    return holding.hold(rows, made, None, {}).held


def _linear_shapes() -> list[Shape]:
    hidden, wide, narrow = 64, 192, 32
    return [(hidden, hidden), (narrow, hidden), (narrow, hidden), (hidden, hidden),
            (wide, hidden), (wide, hidden), (hidden, wide)] * LLAMA_TINY.layers  # fmt: skip


def _rest(size: int) -> int:
    """Embedding, head and norms of the tiny Llama."""
    return size * (2 * 256 * 64 + 5 * 64)


def test_bitsandbytes_checkpoints() -> None:
    """The numbers of a saved quant_state are tensors once it is loaded."""
    made = checkpoints.llama(LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT)
    found = amounts.as_stored(_stored(made), BF16, keeps_weight_dtype=True)
    sizes = [_nf4(rows * columns, double=True) for rows, columns in _linear_shapes()]
    assert found.weights == sum(packed for packed, _ in sizes) + _rest(2)
    assert found.quantization == sum(state for _, state in sizes)
    assert (found.modules, found.buffers) == (14, 0)
    assert found.parameters == sum(rows * columns for rows, columns in _linear_shapes())


def test_bitsandbytes_checkpoints_keep_the_dtype_of_weights() -> None:
    made = checkpoints.llama(LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT)
    kept = amounts.as_stored(_stored(made), F32, keeps_weight_dtype=True)
    cast = amounts.as_stored(_stored(made), F32)
    assert cast.weights - kept.weights == _rest(2)


def test_gptq_checkpoints() -> None:
    made = checkpoints.llama(LLAMA_TINY, checkpoints.gptq, checkpoints.GPTQ_4BIT)
    found = amounts.as_stored(_stored(made), F16)
    packed = sum(rows * columns // 2 for rows, columns in _linear_shapes())
    state = sum(
        4 * columns + 4 * -(-columns // 128) * (rows // 8) + 2 * -(-columns // 128) * rows
        for rows, columns in _linear_shapes()
    )
    assert (found.weights, found.quantization) == (packed + _rest(2), state)
    assert found.modules == 14
    assert {each.reason for each in found.left} == {"not packed in the checkpoint"}


def test_mxfp4_experts() -> None:
    made = checkpoints.gpt_oss(checkpoints.GPT_OSS_TINY)
    found = amounts.as_stored(_stored(made), BF16)
    total = sum(each.bytes for each in made.tensors)
    assert found.weights + found.quantization + found.buffers == total
    blocks = [each for each in made.tensors if each.name.endswith("_scales")]
    assert found.quantization == sum(each.bytes for each in blocks)


DECLARED: Mapping[Any, Mapping[str, Any]] = {
    checkpoints.nf4: checkpoints.BNB_4BIT,
    checkpoints.gptq: checkpoints.GPTQ_4BIT,
    checkpoints.nvfp4: checkpoints.NVFP4,
}


@pytest.mark.parametrize("quantizer", DECLARED)
@pytest.mark.parametrize("plan", [BF16, F32], ids=["bf16", "f32"])
def test_unpacked_at_a_dtype(quantizer: Any, plan: DtypePlan) -> None:
    made = checkpoints.llama(LLAMA_TINY, quantizer, DECLARED[quantizer])
    found = amounts.plain(_stored(made), plan)
    size = {"BF16": 2, "F32": 4}[plan.dtype]
    weights = sum(rows * columns for rows, columns in _linear_shapes())
    assert found.weights == size * weights + _rest(size)
    assert found.quantization == 0
