"""Tied embeddings: in the file twice, in memory once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from modelscope_cli.analysis import packed, roles, ties
from modelscope_cli.analysis.fold import fold, templates
from modelscope_cli.facts import Shape, Unknown
from tests.analysis.tables import table

EMBED: tuple[str, str, Shape] = ("model.embed_tokens.weight", "BF16", (10, 4))
HEAD: tuple[str, str, Shape] = ("lm_head.weight", "BF16", (10, 4))
BODY: tuple[str, str, Shape] = ("model.norm.weight", "BF16", (4,))


def held(
    rows: Sequence[tuple[str, str, Shape]],
    config: Mapping[str, Any] | None,
    shared: Sequence[Sequence[str]] = (),
) -> ties.Loaded:
    made = table(rows)
    folded = fold(made.names, templates(made.names), made.shapes)
    facts = roles.of(packed.see(folded, made, {}, {}), made)
    return ties.loaded(made, facts, sum(made.elements), config, shared)


def test_a_tied_pair_counts_once() -> None:
    found = held([EMBED, HEAD, BODY], {"tie_word_embeddings": True})
    assert (found.parameters, found.bytes) == (44, 88)
    assert found.tied == (("model.embed_tokens.weight", "lm_head.weight"),)
    assert found.basis == "estimate"


def test_an_untied_pair_counts_twice() -> None:
    found = held([EMBED, HEAD, BODY], {"tie_word_embeddings": False})
    assert (found.parameters, found.tied) == (84, ())


def test_the_flag_may_stand_in_the_text_config() -> None:
    assert held([EMBED, HEAD], {"text_config": {"tie_word_embeddings": True}}).parameters == 40


@pytest.mark.parametrize("config", [None, {}, {"tie_word_embeddings": "yes"}])
def test_a_pair_and_no_word_on_it_is_unknown(config: Mapping[str, Any] | None) -> None:
    assert isinstance(held([EMBED, HEAD], config).parameters, Unknown)


def test_a_head_that_is_not_in_the_file_changes_nothing() -> None:
    assert held([EMBED, BODY], None).parameters == 44


def test_heads_of_other_shapes_are_no_pair() -> None:
    head: tuple[str, str, Shape] = ("lm_head.weight", "BF16", (11, 4))
    assert held([EMBED, head], {"tie_word_embeddings": True}).parameters == 84


def test_one_storage_in_a_torch_file_is_one_tensor() -> None:
    found = held([EMBED, HEAD, BODY], None, [[EMBED[0], HEAD[0]]])
    assert (found.parameters, found.tied) == (44, ((EMBED[0], HEAD[0]),))


def test_positions_are_no_embedding_of_words() -> None:
    rows: list[tuple[str, str, Shape]] = [
        ("bert.embeddings.position_embeddings.weight", "F32", (10, 4)),
        ("bert.embeddings.word_embeddings.weight", "F32", (10, 4)),
        ("cls.predictions.decoder.weight", "F32", (10, 4)),
    ]
    found = held(rows, {"tie_word_embeddings": True})
    assert found.tied == ((rows[1][0], rows[2][0]),)


def test_a_pair_of_the_file_and_one_of_the_configuration_add_up() -> None:
    shared: tuple[str, str, Shape] = ("shared.weight", "BF16", (10, 4))
    copy: tuple[str, str, Shape] = ("encoder.embed_tokens.weight", "BF16", (10, 4))
    found = held([shared, copy, HEAD], {"tie_word_embeddings": True}, [[copy[0], shared[0]]])
    assert (found.parameters, len(found.tied)) == (40, 2)


def test_of_several_embeddings_the_head_has_the_nearest() -> None:
    rows: list[tuple[str, str, Shape]] = [
        ("talker.model.embed_tokens.weight", "BF16", (10, 4)),
        ("thinker.model.embed_tokens.weight", "BF16", (10, 4)),
        ("thinker.lm_head.weight", "BF16", (10, 4)),
    ]
    found = held(rows, {"tie_word_embeddings": True})
    assert found.tied == ((rows[1][0], rows[2][0]),)


@pytest.mark.parametrize(
    "config",
    [
        {"dtype": "float16"},
        {"torch_dtype": "torch.float16", "dtype": "auto"},
        {"text_config": {"dtype": "float16"}},
        {"model_type": "x"},  # nothing said: as the first float tensor by name
    ],
)
def test_floats_take_the_dtype_loaded_as(config: Mapping[str, Any]) -> None:
    rows: list[tuple[str, str, Shape]] = [
        ("b.weight", "F32", (4, 4)),
        ("a.weight", "F16", (4, 4)),
        ("bn.running_mean", "F32", (4,)),
        ("position_ids", "I64", (4,)),
        ("q.weight", "I8", (8, 4)),
        ("q.SCB", "F32", (8,)),
    ]
    assert held(rows, config).bytes == 16 * 2 + 16 * 2 + 4 * 2 + 4 * 8 + 8 * 4 + 8 * 4


def test_weights_alone_are_held_as_stored() -> None:
    assert held([BODY, ("x.weight", "F32", (4,))], None).bytes == 8 + 16


def test_a_buffer_of_one_place_takes_no_parameters_away() -> None:
    ids: tuple[str, str, Shape] = ("position_ids", "I64", (6,))
    again: tuple[str, str, Shape] = ("text.position_ids", "I64", (6,))
    made = table([BODY, ids, again])
    folded = fold(made.names, templates(made.names), made.shapes)
    facts = roles.of(packed.see(folded, made, {}, {}), made)
    found = ties.loaded(made, facts, 4, None, [[ids[0], again[0]]])
    assert (found.parameters, found.bytes) == (4, 8 + 48)


def test_a_trainers_state_is_not_loaded() -> None:
    assert held([BODY, ("optimizer.state.0.exp_avg", "BF16", (4,))], None).bytes == 8
