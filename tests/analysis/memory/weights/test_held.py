"""File tensors as parameters of a class: renamed, merged, split, left out."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis.memory.weights import held as holding
from modelscope_cli.analysis.memory.weights.held import UNTOLD, Holding
from modelscope_cli.knowledge.modules import Parameter
from tests.analysis.memory.weights.holding import LINEAR, NORM, RAW, Class, examined, hold, one

LAYERS = Class({"layers.*.up.weight": LINEAR, "layers.*.norm.weight": NORM})


def test_no_tensors() -> None:
    assert hold([]) == Holding([], [], [])
    assert hold([], LAYERS) == Holding([], [], [])


def test_layers_are_one_row() -> None:
    found = one([(f"layers.{n}.up.weight", "BF16", (6, 4)) for n in range(3)], LAYERS)
    assert (found.name, found.template) == ("layers.0.up.weight", "layers.*.up.weight")
    assert (found.times, found.elements, found.outputs) == (3, 72, 18)
    assert (found.axes, found.places) == (((0, 1, 2),), (0,))
    assert list(found.names()) == [f"layers.{n}.up.weight" for n in range(3)]
    assert found.shown() == "layers.{0..2}.up.weight"
    assert (found.module, found.first_module) == ("layers.*.up", "layers.0.up")
    assert found.is_matrix
    assert not found.is_buffer
    assert not found.merged


def test_a_layer_of_another_shape_is_a_row_of_its_own() -> None:
    rows = [(f"layers.{n}.up.weight", "BF16", (6 + 2 * (n == 1), 4)) for n in range(3)]
    found = hold(rows, LAYERS).held
    assert [(each.name, each.times, each.elements) for each in found] == [
        ("layers.0.up.weight", 2, 48),
        ("layers.1.up.weight", 1, 32),
    ]
    assert sum(each.elements for each in found) == 2 * 24 + 32


def test_what_the_class_lacks_is_dropped_and_doubted() -> None:
    found = hold([("layers.0.up.weight", "F32", (2, 2)), ("gate.w", "F32", (3,))], LAYERS)
    assert [each.name for each in found.held] == ["layers.0.up.weight"]
    (dropped,) = found.dropped
    assert (dropped.name, dropped.times, dropped.bytes, dropped.certain) == ("gate.w", 1, 12, False)


def test_layers_beyond_the_configuration_are_dropped_for_certain() -> None:
    rows = [(f"layers.{n}.up.weight", "F32", (2, 2)) for n in range(5)]
    found = hold(rows, LAYERS, {"layers": 3})
    (kept,), (dropped,) = found.held, found.dropped
    assert (kept.times, kept.elements) == (3, 12)
    assert (dropped.times, dropped.bytes, dropped.certain) == (2, 2 * 16, True)
    assert list(kept.names()) == [f"layers.{n}.up.weight" for n in range(3)]


def test_all_layers_may_be_beyond() -> None:
    found = hold([("layers.7.up.weight", "F32", (2, 2))], LAYERS, {"layers": 3})
    assert found.held == []
    assert [(each.name, each.times) for each in found.dropped] == [("layers.7.up.weight", 1)]


def test_counts_are_of_whole_names() -> None:
    """`layers` says nothing of `more_layers`, nor of a `layers.x` without a number."""
    both = Class({"more_layers.*.up.weight": LINEAR, "layers.x.up.weight": LINEAR})
    rows = [("more_layers.9.up.weight", "F32", (2, 2)), ("layers.x.up.weight", "F32", (2, 2))]
    assert len(hold(rows, both, {"layers": 3}).held) == 2


def test_merged_experts() -> None:
    """Two matrices of each of four experts become one parameter of each layer."""

    def rename(name: str) -> tuple[str, ...]:
        layer = name.split(".")[1]
        return (f"layers.{layer}.experts.gate_up",)

    rows = [
        (f"layers.{layer}.experts.{expert}.{which}.weight", "BF16", (6, 4))
        for layer in range(2)
        for expert in range(4)
        for which in ("gate", "up")
    ]
    found = one(rows, Class({"layers.*.experts.gate_up": RAW}, rename))
    assert found.merged
    assert (found.times, found.elements) == (2, 2 * 4 * 2 * 24)
    assert (found.axes, found.places) == (((0, 1),), (0,))
    assert [stored.times for stored in found.stored] == [8, 8]
    assert found.shown() == "layers.{0,1}.experts.gate_up"


def test_one_matrix_an_expert_is_merged_too() -> None:
    rows = [(f"experts.{expert}.w.weight", "BF16", (6, 4)) for expert in range(4)]
    found = one(rows, Class({"experts.w": RAW}, lambda _: ("experts.w",)))
    assert found.merged
    assert (found.times, found.elements, len(found.stored)) == (1, 96, 1)


def test_chunks() -> None:
    """A fused projection that the class has in three."""
    whole = Class(
        {f"layers.*.{part}.weight": LINEAR for part in "qkv"},
        lambda name: tuple(name.replace("qkv", part) for part in "qkv"),
    )
    found = hold([(f"layers.{n}.qkv.weight", "F16", (12, 4)) for n in range(2)], whole).held
    assert [(each.name, each.elements, each.outputs, each.times) for each in found] == [
        (f"layers.0.{part}.weight", 32, 8, 2) for part in "qkv"
    ]


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 5), pieces=st.integers(1, 7),
    layers=st.integers(1, 3),
)  # fmt: skip
def test_chunks_have_what_the_whole_has(rows: int, columns: int, pieces: int, layers: int) -> None:
    names = [f"p{piece}" for piece in range(pieces)]
    split = Class(
        {f"layers.*.{name}.weight": LINEAR for name in names},
        lambda name: tuple(name.replace("all", each) for each in names),
    )
    tensors = [(f"layers.{n}.all.weight", "F16", (rows, columns)) for n in range(layers)]
    found = hold(tensors, split).held
    assert len(found) == pieces
    assert sum(each.elements for each in found) == rows * columns * layers
    assert sum(each.outputs for each in found) == rows * layers
    assert max(e.elements for e in found) - min(e.elements for e in found) <= 1


def test_a_chunk_that_the_class_lacks_is_left_out() -> None:
    """The pieces that are known share what there is between them."""
    split = Class({"q.weight": LINEAR}, lambda _: ("q.weight", "k.weight"))
    found = hold([("qk.weight", "F16", (4, 2))], split)
    assert [each.name for each in found.held] == ["q.weight"]
    assert found.dropped == []


def test_conv1d_has_its_outputs_last() -> None:
    found = one([("c.weight", "F32", (4, 12))], Class({"c.weight": Parameter("conv1d", None)}))
    assert found.outputs == 12
    assert one([("c.weight", "F32", (4, 12))], Class({"c.weight": LINEAR})).outputs == 4


def test_a_vector_is_no_matrix() -> None:
    found = one([("a.weight", "F32", (4,))], Class({"a.weight": NORM}))
    assert (found.outputs, found.is_matrix) == (0, False)


# Without a class


def test_without_a_class_all_is_held_by_name() -> None:
    found = hold([("a.weight", "F32", (2, 3)), ("a.position_ids", "I64", (5,))])
    assert [(each.name, each.kind, each.dtype) for each in found.held] == [
        ("a.weight", UNTOLD, None),
        ("a.position_ids", "buffer", "I64"),
    ]
    assert found.dropped == []
    assert [each.is_buffer for each in found.held] == [False, True]


def test_counts_need_a_class() -> None:
    assert one([("layers.9.up.weight", "F32", (2, 2))]).times == 1
    assert hold([("layers.9.up.weight", "F32", (2, 2))], None, {"layers": 3}).dropped == []


def test_what_a_trainer_saved_is_not_held() -> None:
    rows = [("optimizer.state.0.exp_avg", "F32", (9,)), ("a.weight", "F32", (2, 2))]
    assert [each.name for each in hold(rows).held] == ["a.weight"]


def test_state_of_packed_weights_is_held_with_them() -> None:
    found = one([("a.weight", "I8", (32, 4)), ("a.SCB", "F32", (32,))])
    assert found.name == "a.weight"
    assert found.stored[0].fact.members[0][0] == ".weight"
    assert len(found.stored[0].fact.members) == 2


@pytest.mark.parametrize("model_class", [None, Class({"a.weight": LINEAR})])
def test_packed_weights_that_cannot_be_seen_through_are_hidden(model_class: Class | None) -> None:
    """Neither held at a size that nobody knows, nor dropped for their names."""
    rows = [("a.weight", "U8", (8, 4)), ("a.weight_scale", "BF16", (1,)), ("b.W_q", "U8", (64,))]
    found = hold(rows, model_class)
    assert (found.held, found.dropped) == ([], [])
    assert [(each.name, each.bytes) for each in found.hidden] == [("a.weight", 32), ("b.W_q", 64)]
    assert all(each.reason for each in found.hidden)


@pytest.mark.parametrize(
    ("packed", "held"),
    [("q_proj.qweight", "q_proj.weight"), ("q_proj.weight_packed", "q_proj.weight"),
     ("experts.up_blocks", "experts.up"), ("q_proj.weight", "q_proj.weight")],
)  # fmt: skip
def test_a_packed_weight_has_the_name_of_what_it_is(packed: str, held: str) -> None:
    """What the class calls it, so that the class knows it."""
    suffix = packed[len(held.removesuffix(".weight")) :]
    assert holding._weight_name(packed, suffix) == held


def test_gptq_is_held_by_a_class() -> None:
    rows = [
        ("q_proj.qweight", "I32", (8, 64)),
        ("q_proj.qzeros", "I32", (1, 8)),
        ("q_proj.scales", "F16", (1, 64)),
        ("q_proj.g_idx", "I32", (64,)),
    ]
    found = one(rows, Class({"q_proj.weight": LINEAR}))
    assert (found.name, found.elements, found.outputs) == ("q_proj.weight", 64 * 64, 64)
    assert found.is_matrix


def test_a_buffer_that_the_class_lacks_is_dropped_for_certain() -> None:
    (dropped,) = hold([("embeddings.position_ids", "I64", (1, 77))], LAYERS).dropped
    assert dropped.certain


# Names


def test_templates() -> None:
    assert holding.template_of("a.0.b.12.c") == "a.*.b.*.c"
    assert holding.template_of("0.weight") == "*.weight"
    assert holding.template_of("conv2d.w1.1x") == "conv2d.w1.1x"
    assert holding.numbers("a.0.b.12.c") == (0, 12)
    assert holding.numbers("0.weight") == (0,)


def test_filled() -> None:
    assert holding.filled("a.0.b.0.c", (1,), (7,)) == "a.0.b.7.c"
    assert holding.filled("a.0.b.0.c", (0, 1), ("{0..3}", 7)) == "a.{0..3}.b.7.c"
    assert holding.filled("a", (), ()) == "a"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=4))
def test_filling_gives_the_name_back(numbers: list[int]) -> None:
    name = ".".join(f"m{place}.{number}" for place, number in enumerate(numbers))
    zeros = holding.filled(name, range(len(numbers)), [0] * len(numbers))
    assert holding.numbers(zeros) == (0,) * len(numbers)
    assert holding.filled(zeros, range(len(numbers)), numbers) == name
    assert holding.template_of(zeros) == holding.template_of(name)


@pytest.mark.parametrize("digits", [13, 4_000, 5_000])  # int() refuses more than 4,300
def test_names_of_thousands_of_digits(digits: int) -> None:
    long = "9" * digits
    rows = [(f"layers.{long}.up.weight", "F32", (2, 2)), ("layers.1.up.weight", "F32", (2, 2))]
    found = hold(rows, LAYERS, {"layers": 2})
    assert sum(each.elements for each in found.held) + 4 * len(found.dropped) == 8
    assert all(len(each.shown()) < digits + 40 for each in found.held)
    assert len(holding.numbers(f"layers.{long}.up.3.weight")) == 1


def test_a_name_with_braces() -> None:
    found = hold([("a.{}.weight", "F32", (2, 2)), ("a.0.weight", "F32", (2, 2))])
    assert sorted(name for each in found.held for name in each.names()) == [
        "a.0.weight",
        "a.{}.weight",
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from("ab")),
        min_size=1, max_size=30, unique=True,
    )
)  # fmt: skip
def test_nothing_is_lost_or_held_twice(points: list[tuple[int, int, str]]) -> None:
    """Whatever experts a file has of whatever layers, their weights are all in a parameter."""

    def rename(name: str) -> tuple[str, ...]:
        _, layer, _, _, which, _ = name.split(".")
        return (f"layers.{layer}.experts.{which}",)

    merged = Class({"layers.*.experts.a": RAW, "layers.*.experts.b": RAW}, rename)
    rows = [
        (f"layers.{layer}.experts.{expert}.{which}.weight", "BF16", (3, 2))
        for layer, expert, which in points
    ]
    found = hold(rows, merged)
    assert found.dropped == []
    assert sum(each.elements for each in found.held) == 6 * len(points)
    expected = {f"layers.{layer}.experts.{which}" for layer, _, which in points}
    assert {name for each in found.held for name in each.names()} == expected


@given(st.sets(st.integers(0, 12), min_size=1), st.integers(0, 13))
def test_beyond_and_within_are_all(layers: set[int], built: int) -> None:
    rows = [(f"layers.{n}.up.weight", "F32", (2, 2)) for n in sorted(layers)]
    found = hold(rows, LAYERS, {"layers": built})
    assert sum(each.times for each in found.held) == sum(n < built for n in layers)
    assert sum(each.times for each in found.dropped) == sum(n >= built for n in layers)
    assert sum(each.bytes for each in found.dropped) == 16 * sum(n >= built for n in layers)


def test_rows_of_several_grids_keep_their_elements() -> None:
    facts, _ = examined((f"a.{n}.b.{n}.weight", "F32", (2, 2)) for n in range(3))
    found = hold((f"a.{n}.b.{n}.weight", "F32", (2, 2)) for n in range(3)).held
    assert sum(prod(map(len, fact.row.grid)) for fact in facts) == 3
    assert sorted(name for each in found for name in each.names()) == [
        f"a.{n}.b.{n}.weight" for n in range(3)
    ]
