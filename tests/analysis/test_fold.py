"""Folding: rows stand for exactly the tensors that their names say."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis.fold import Folded, fold, range_text, templates


def folded(names: list[str], likeness: list[object] | None = None) -> list[Folded]:
    return fold(names, templates(names), likeness or [None] * len(names))


def rows(names: list[str], likeness: list[object] | None = None) -> list[tuple[str, int]]:
    return [(row.name, len(row.indices)) for row in folded(names, likeness)]


def expand(name: str) -> list[str]:
    """What a shell would make of a folded name: written from bash's rules, not from ours."""
    pieces = re.split(r"\{([^{}]*)\}", name)
    choices = [
        [piece] if place % 2 == 0 else [n for term in piece.split(",") for n in _term(term)]
        for place, piece in enumerate(pieces)
    ]
    return ["".join(choice) for choice in product(*choices)]


def _term(term: str) -> list[str]:
    ends = [int(number) for number in term.split("..")]
    step = ends[2] if len(ends) > 2 else 1
    return [str(n) for n in range(ends[0], ends[1] + 1, step)] if len(ends) > 1 else [term]


def test_layers_fold_to_one_row() -> None:
    names = [f"model.layers.{n}.mlp.up_proj.weight" for n in range(32)]
    assert rows(names) == [("model.layers.{0..31}.mlp.up_proj.weight", 32)]


def test_nested_repeats_fold_to_one_row() -> None:
    names = [f"m.layers.{i}.experts.{j}.w1.weight" for i in range(32) for j in range(8)]
    assert rows(names) == [("m.layers.{0..31}.experts.{0..7}.w1.weight", 256)]


def test_differing_shapes_stay_apart() -> None:
    names = [f"layers.{n}.k" for n in range(6)]
    shapes: list[object] = [(n % 3 == 2,) for n in range(6)]
    assert rows(names, shapes) == [("layers.{0,1,3,4}.k", 4), ("layers.{2,5}.k", 2)]


def test_an_incomplete_grid_is_split_into_full_ones() -> None:
    names = [f"l.{i}.e.{j}.w" for i in range(3) for j in range(4)] + ["l.3.e.0.w", "l.3.e.9.w"]
    assert rows(names) == [("l.{0..2}.e.{0..3}.w", 12), ("l.3.e.{0,9}.w", 2)]


def test_rows_stand_where_their_first_tensor_stood() -> None:
    names = ["b", "l.0.x", "a", "l.1.x"]
    assert [name for name, _ in rows(names)] == ["b", "l.{0,1}.x", "a"]


@pytest.mark.parametrize(
    "names",
    [
        ["layers.01.w", "layers.1.w"],  # 01 is no number that a range could say
        ["conv1.weight", "conv2.weight"],  # numbers inside a part are a name, not a repeat
        ["a.9999999999.w", "a.9999999998.w"],  # too long to be a layer
        ["x.²", "x.³"],
        ["a.{}.0", "a.{}.1"],  # our own sign in a name: never folded, never mistaken
        ["a.\n.0", "b.\n.1"],
    ],
)
def test_what_does_not_repeat_stays_as_it_is(names: list[str]) -> None:
    assert rows(names) == [(name, 1) for name in names]


def test_numbers_at_the_start_and_the_end_fold_too() -> None:
    assert rows(["0.weight", "1.weight", "x.0", "x.1"]) == [
        ("{0,1}.weight", 2),
        ("x.{0,1}", 2),
    ]


def test_one_name_in_two_files_counts_twice() -> None:
    assert rows(["l.0.w", "l.1.w", "l.0.w"]) == [("l.{0,1}.w", 3)]


def test_nothing_folds_to_nothing() -> None:
    assert folded([]) == []


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([7], "7"),
        ([0, 1], "{0,1}"),
        ([0, 1, 2], "{0..2}"),
        ([0, 2, 5, 6, 7, 8, 9], "{0,2,5..9}"),
        ([5, 11, 17, 23], "{5..23..6}"),
    ],
)
def test_ranges_are_written_as_a_shell_reads_them(numbers: list[int], text: str) -> None:
    assert range_text(numbers) == text


PART = st.sampled_from(["a", "b1", "0", "1", "2", "10", "{}", "x\ny"])


@given(st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), unique=True, max_size=40))
def test_rows_expand_to_exactly_the_names(names: list[str]) -> None:
    found = folded(names)
    assert sorted(i for row in found for i in row.indices) == list(range(len(names)))
    for row in found:
        members = [names[index] for index in row.indices]
        expected = members if len(members) == 1 else expand(row.name)
        assert sorted(expected) == sorted(members)


@given(st.sets(st.integers(0, 60), min_size=2))
def test_any_set_of_numbers_survives_its_range(numbers: set[int]) -> None:
    assert expand(range_text(sorted(numbers))) == [str(n) for n in sorted(numbers)]
