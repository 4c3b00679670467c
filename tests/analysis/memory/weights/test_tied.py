"""Tied parameters: held once, whichever of them the file has."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.memory.weights import tied
from modelscope_cli.analysis.memory.weights.tied import Untied
from modelscope_cli.knowledge.modules import Parameter, Tie
from tests.analysis.memory.weights.holding import LINEAR, Class, hold

EMBEDDING, HEAD = "model.embed.weight", "head.weight"
TIE = Tie(HEAD, EMBEDDING, "tie_word_embeddings")
KINDS = {EMBEDDING: Parameter("embedding", None), HEAD: LINEAR, "x.weight": LINEAR}
ON: dict[str, Any] = {"tie_word_embeddings": True}
OFF: dict[str, Any] = {"tie_word_embeddings": False}


def _once(names: list[str], config: dict[str, Any], ties: tuple[Tie, ...] = (TIE,)) -> Untied:
    held = hold([(name, "BF16", (10, 4)) for name in names], Class(KINDS)).held
    return tied.once(held, ties, config)


def _names(found: Untied) -> list[str]:
    return [each.name for each in found.held]


def test_active() -> None:
    always = Tie("a", "b", "")
    nested = Tie("c", "d", "text_config.tie_word_embeddings")
    ties = [TIE, always, nested]
    assert tied.active(ties, {}) == [always]
    assert tied.active(ties, ON) == [TIE, always]
    assert tied.active(ties, {"text_config": ON}) == [always, nested]


@pytest.mark.parametrize("value", [False, None, 1, "true", "True", [], {}])
def test_only_true_ties(value: object) -> None:
    assert tied.active([TIE], {"tie_word_embeddings": value}) == []


@pytest.mark.parametrize("config", [{"text_config": None}, {"text_config": [ON]}, {}])
def test_a_path_that_leads_nowhere(config: dict[str, Any]) -> None:
    assert tied.active([Tie("a", "b", "text_config.tie_word_embeddings")], config) == []


def test_a_path_without_end() -> None:
    assert tied.active([Tie("a", "b", ".".join("x" * 10_000))], {"x": {"x": {}}}) == []


def test_no_tensors() -> None:
    assert _once([], ON) == Untied([], [], [])
    assert _once([], OFF) == Untied([], [], [])


def test_both_in_the_file_are_held_once() -> None:
    found = _once([EMBEDDING, HEAD, "x.weight"], ON)
    assert _names(found) == [EMBEDDING, "x.weight"]
    assert [(one.name, copy.name) for one, copy in found.pairs] == [(EMBEDDING, HEAD)]
    assert found.fresh == []


def test_the_copy_that_is_not_there() -> None:
    found = _once([EMBEDDING, "x.weight"], ON)
    assert _names(found) == [EMBEDDING, "x.weight"]
    assert (found.pairs, found.fresh) == ([], [])


def test_a_file_that_has_the_head_alone() -> None:
    """It fills the embedding: held once under the name that it has."""
    assert _names(_once([HEAD], ON)) == [HEAD]


def test_untied_heads_are_held_each() -> None:
    found = _once([EMBEDDING, HEAD], OFF)
    assert _names(found) == [EMBEDDING, HEAD]
    assert (found.pairs, found.fresh) == ([], [])


def test_an_untied_head_that_the_file_lacks_is_made_anew() -> None:
    found = _once([EMBEDDING, "x.weight"], OFF)
    assert _names(found) == [EMBEDDING, "x.weight", HEAD]
    (made,) = found.fresh
    assert (made.name, made.template, made.elements, made.times) == (HEAD, HEAD, 40, 1)
    assert list(made.names()) == [HEAD]


def test_two_ties_of_one_target_copy_it_once() -> None:
    found = _once([EMBEDDING, HEAD], ON, (TIE, TIE))
    assert _names(found) == [EMBEDDING]
    assert len(found.pairs) == 1


def test_a_chain_is_held_once() -> None:
    ties = (Tie(HEAD, EMBEDDING, ""), Tie("x.weight", EMBEDDING, ""))
    found = _once([EMBEDDING, HEAD, "x.weight"], {}, ties)
    assert _names(found) == [EMBEDDING]
    assert len(found.pairs) == 2


def test_layers_that_are_tied() -> None:
    """One parameter of every layer is another one's, as in heads per decoder layer."""
    kinds = {"a.*.weight": LINEAR, "b.*.weight": LINEAR}
    rows = [(f"{part}.{n}.weight", "BF16", (4, 4)) for part in "ab" for n in range(3)]
    found = tied.once(hold(rows, Class(kinds)).held, [Tie("b.*.weight", "a.*.weight", "")], {})
    assert [(each.name, each.times) for each in found.held] == [("a.0.weight", 3)]
    assert found.fresh == []


def test_layers_unlike_each_other_are_tied_all() -> None:
    kinds = {"a.*.weight": LINEAR, "b.*.weight": LINEAR}
    rows = [(f"{part}.{n}.weight", "BF16", (4 + n, 4)) for part in "ab" for n in range(3)]
    found = tied.once(hold(rows, Class(kinds)).held, [Tie("b.*.weight", "a.*.weight", "")], {})
    assert sorted(each.name for each in found.held) == [f"a.{n}.weight" for n in range(3)]
