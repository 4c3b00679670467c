"""Placement by itself: known figures, ties, what spills, and names that no model has."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.memory.cards.placement import Leaf, Placed, place
from modelscope_cli.analysis.memory.cards.twins import Twins
from tests.bounded import within

GIB = 2**30
HIDDEN, INNER, KV, VOCABULARY, EXPERTS, LAYERS = 4096, 14336, 1024, 57002, 8, 32


def mixtral(itemsize: int) -> list[Leaf]:
    """Mixtral 8x7B with a vocabulary of 57,002 as transformers 5 builds it, experts fused."""
    sizes = {
        "self_attn.q_proj": HIDDEN * HIDDEN,
        "self_attn.k_proj": KV * HIDDEN,
        "self_attn.v_proj": KV * HIDDEN,
        "self_attn.o_proj": HIDDEN * HIDDEN,
        "mlp.gate": EXPERTS * HIDDEN,
        "mlp.experts.gate_up": EXPERTS * 2 * INNER * HIDDEN,
        "mlp.experts.down": EXPERTS * INNER * HIDDEN,
        "input_layernorm": HIDDEN,
        "post_attention_layernorm": HIDDEN,
    }
    return [
        Leaf("model.embed_tokens.weight", VOCABULARY * HIDDEN * itemsize),
        *(
            Leaf(f"model.layers.{layer}.{name}.weight", size * itemsize)
            for layer in range(LAYERS)
            for name, size in sizes.items()
        ),
        Leaf("model.norm.weight", HIDDEN * itemsize),
        Leaf("model.rotary_emb.inv_freq", 256, is_buffer=True),
        Leaf("lm_head.weight", VOCABULARY * HIDDEN * itemsize),
    ]


WHOLE_LAYERS = [f"model.layers.{layer}" for layer in range(LAYERS)]


@pytest.mark.parametrize("card", [80 * GIB, 80 * 10**9], ids=["GiB", "GB"])
@pytest.mark.parametrize(
    ("itemsize", "shares"),
    [(4, [44.12, 48.66, 48.66, 33.31]), (2, [22.06, 24.33, 24.33, 16.65])],
    ids=["f32", "bf16"],
)
def test_huozi3_on_four_cards(card: int, itemsize: int, shares: list[float]) -> None:
    placed = place(mixtral(itemsize), WHOLE_LAYERS, (), [card] * 4)
    assert [round(row.bytes / GIB, 2) for row in placed] == shares
    assert placed[0].modules == (
        "model.embed_tokens",
        *(f"model.layers.{layer}" for layer in range(8)),
    )
    assert placed[3].modules[-3:] == ("model.norm", "model.rotary_emb", "lm_head")


def test_nothing_is_lost_whatever_the_cards_hold() -> None:
    leaves = mixtral(2)
    total = sum(leaf.bytes for leaf in leaves)
    for cards in ([], [0], [GIB], [3 * GIB, 40 * GIB], [2 * GIB] * 40, [10**15]):
        placed = place(leaves, WHOLE_LAYERS, (), cards, cpu_bytes=20 * GIB)
        assert sum(row.bytes for row in placed) == total
        assert [row.device for row in placed[: len(cards)]] == [
            f"cuda:{index}" for index in range(len(cards))
        ]


def test_a_whole_model_on_one_card_is_one_row() -> None:
    assert place(mixtral(2), WHOLE_LAYERS, (), [200 * GIB]) == [
        Placed("cuda:0", sum(leaf.bytes for leaf in mixtral(2)), ("",))
    ]


def test_a_lone_card_keeps_a_tenth_free_unless_the_limit_is_the_users() -> None:
    leaves = [Leaf(f"layers.{index}.weight", 10) for index in range(10)]
    spilled = place(leaves, (), (), [105])
    # And room for the layer of 10 that comes back from the CPU.
    assert [(row.device, row.bytes) for row in spilled] == [("cuda:0", 80), ("cpu", 20)]
    given = place(leaves, (), (), [105], limits_given=True)
    assert [(row.device, row.bytes) for row in given] == [("cuda:0", 100)]


def test_tied_tensors_count_once_and_stay_together() -> None:
    leaves = [
        Leaf("embed.weight", 50),
        *(Leaf(f"layers.{index}.weight", 20) for index in range(10)),
        Leaf("head.weight", 50),
    ]
    tied = [("embed.weight", "head.weight")]
    placed = place(leaves, (), tied, [130, 400])
    assert sum(row.bytes for row in placed) == 250
    assert {"embed", "head"} <= set(placed[0].modules)
    assert place(leaves[:-1], (), tied, [130, 400]) == placed  # a leaf that weighs nothing


def test_bitsandbytes_plans_with_other_bytes_than_it_holds() -> None:
    leaves = [Leaf(f"layers.{index}.weight", 57) for index in range(8)]
    planned = {leaf.name: 50 for leaf in leaves}
    placed = place(leaves, (), (), [200, 1000], planner_bytes=planned)
    # 0.9 of 200, less the largest layer that it keeps room for, holds two of 50.
    assert [row.bytes for row in placed] == [2 * 57, 6 * 57]


def test_buffers_of_a_module_that_was_split_stay_on_the_cpu() -> None:
    leaves = [
        Leaf("embeddings.ids", 8, is_buffer=True),
        Leaf("embeddings.words.weight", 100),
        Leaf("embeddings.places.weight", 100),
        Leaf("norm.weight", 1),
    ]
    placed = place(leaves, (), (), [200, 150], limits_given=True)
    assert [(row.device, row.bytes) for row in placed] == [
        ("cuda:0", 100),
        ("cuda:1", 101),
        ("cpu", 8),
    ]


def test_a_module_is_found_anywhere_in_a_tied_name() -> None:
    twins = Twins([("text_decoder.embed.weight", "head.weight"), ("a.weight",)])
    assert twins.elsewhere("decoder") == ["head.weight"]
    assert twins.elsewhere("text_decoder") == ["head.weight"]
    assert twins.elsewhere("embed") == ["head.weight"]
    assert twins.elsewhere("head.weight") == ["text_decoder.embed.weight"]
    assert twins.elsewhere("emb") == []
    assert twins.elsewhere("a") == []


@pytest.mark.parametrize(
    "leaves",
    [
        [Leaf(f"m{index}.weight", 10**5 - index) for index in range(10**5)],
        [Leaf(f"a.{index}.weight", index) for index in range(10**5)],
        [Leaf(f"{'a.' * 10**4}{index}", 1) for index in range(500)],
        [Leaf("", 1), Leaf(".", 1), Leaf("..", 1), Leaf("a", 1), Leaf("a.a", 1)],
    ],
    ids=["ever smaller", "many", "deep", "odd"],
)
def test_time_is_bounded(leaves: list[Leaf]) -> None:
    tied = [(leaf.name, other.name) for leaf, other in zip(leaves[:99], leaves[200:], strict=False)]
    placed = within(5, lambda: place(leaves, (), tied, [10**4] * 50))
    assert sum(row.bytes for row in placed) > 0
