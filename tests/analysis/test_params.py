"""The listing: chosen, ordered, counted and grouped."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis import params
from modelscope_cli.analysis.params import Choice
from modelscope_cli.facts import ModelFacts, ModelRef, Shape, TensorTable, Unknown
from modelscope_cli.sources import builtin
from tests.analysis.tables import table

ROWS: list[tuple[str, str, Shape]] = [
    ("model.layers.10.mlp.up.weight", "BF16", (8, 4)),
    ("model.layers.2.mlp.up.weight", "BF16", (8, 4)),
    ("model.layers.2.norm.weight", "F32", (4,)),
    ("model.embed_tokens.weight", "BF16", (100, 4)),
    ("position_ids", "I64", (7,)),
]


def examined(
    choice: Choice | None = None, rows: list[tuple[str, str, Shape]] | None = None
) -> params.Params:
    made = table(rows or ROWS)
    facts = ModelFacts(ModelRef("x", "directory", format="safetensors"), made)
    return params.examine(facts, made, choice or Choice())


def names(choice: Choice) -> list[str]:
    return [row.fact.name for row in examined(choice).listed()]


def test_natural_order_by_default() -> None:
    assert names(Choice()) == [
        "model.embed_tokens.weight",
        "model.layers.2.mlp.up.weight",
        "model.layers.2.norm.weight",
        "model.layers.10.mlp.up.weight",
        "position_ids",
    ]


@pytest.mark.parametrize(
    ("match", "count"),
    [("layers.2", 2), ("layers.2*", 0), ("*layers.2*", 2), ("*.weight", 4), ("LAYERS", 0)],
)
def test_a_pattern_without_a_wildcard_means_contains(match: str, count: int) -> None:
    assert len(names(Choice(match=[match]))) == count


def test_exclude_and_match_together() -> None:
    assert names(Choice(match=["layers"], exclude=["norm", "layers.10"])) == [
        "model.layers.2.mlp.up.weight"
    ]


@given(st.text(alphabet="ab*?[].", min_size=1, max_size=5), st.text(alphabet="ab.", max_size=5))
def test_globs_are_those_of_fnmatch(pattern: str, name: str) -> None:
    wildcard = any(sign in pattern for sign in "*?[")
    expected = fnmatch.fnmatchcase(name, pattern) if wildcard else pattern in name
    assert bool(params._matcher([pattern])(name)) is expected


def test_sorting_by_bytes_and_taking_the_top() -> None:
    found = names(Choice(sort="bytes", descending=True, top=2))
    assert found == ["model.embed_tokens.weight", "model.layers.10.mlp.up.weight"]


def test_folded_rows_sort_by_what_they_add_up_to() -> None:
    rows: list[tuple[str, str, Shape]] = [("big", "F32", (10,))]
    rows += [(f"layers.{n}.w", "F32", (4,)) for n in range(4)]
    found = examined(Choice(sort="elements", descending=True, top=1), rows).folded()
    assert [row.row.name for row in found] == ["layers.{0..3}.w"]


def test_totals_are_of_all_that_fits_whatever_top_says() -> None:
    totals = examined(Choice(top=1)).totals
    assert totals == params.Totals(5, 468, 468, 475, 2 * 464 + 4 * 4 + 7 * 8)


def test_a_part_of_a_model_is_not_what_transformers_would_hold() -> None:
    assert isinstance(examined(Choice(match=["layers"])).loaded.parameters, Unknown)


@pytest.mark.parametrize(
    ("by", "depth", "expected"),
    [
        ("dtype", 2, {"BF16": 464, "F32": 4, "I64": 0}),
        ("file", 2, {"model.safetensors": 468}),
        ("module", 1, {"model": 468, "(top)": 0}),
        (
            "module",
            2,
            {"model.layers.10": 32, "model.layers.2": 36, "model.embed_tokens": 400, "(top)": 0},
        ),
    ],
)
def test_groups(by: str, depth: int, expected: dict[str, int]) -> None:
    groups = params.grouped(examined(), by, depth)
    assert {group.name: group.parameters for group in groups} == expected


@pytest.mark.parametrize("by", params.GROUPINGS)
@pytest.mark.parametrize("name", builtin.NAMES)
def test_groups_add_up_to_the_totals(by: str, name: str) -> None:
    facts = builtin.load(name)
    assert isinstance(facts.tensors, TensorTable)
    found = params.examine(facts, facts.tensors, Choice())
    groups = params.grouped(found, by, 2)
    assert sum(group.tensors for group in groups) == found.totals.tensors
    assert sum(group.bytes for group in groups) == found.totals.bytes
    counts = [group.parameters for group in groups]
    assert sum(n for n in counts if isinstance(n, int)) == found.totals.parameters


@pytest.mark.parametrize("name", builtin.NAMES)
def test_folded_rows_hold_every_tensor_once(name: str) -> None:
    facts = builtin.load(name)
    assert isinstance(facts.tensors, TensorTable)
    rows = params.examine(facts, facts.tensors, Choice()).folded()
    assert sorted(i for row in rows for i in row.row.indices) == list(range(len(facts.tensors)))
