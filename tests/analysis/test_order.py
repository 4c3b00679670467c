"""The natural order of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis.order import natural_keys, natural_order


def ordered(*names: str) -> list[str]:
    return [names[index] for index in natural_order(names)]


def test_layer_2_comes_before_layer_10() -> None:
    assert ordered("h.10.w", "h.2.w", "h.1.w") == ["h.1.w", "h.2.w", "h.10.w"]


def test_numbers_inside_a_part_count_as_numbers() -> None:
    assert ordered("conv10.w", "conv2.w") == ["conv2.w", "conv10.w"]


def test_a_part_that_ends_sorts_before_one_that_goes_on() -> None:
    assert ordered("a-b.c", "a.b", "a.b.c") == ["a.b", "a.b.c", "a-b.c"]


def test_endless_digits_are_no_crash_and_sort_last() -> None:
    assert ordered("h." + "9" * 5000, "h.3") == ["h.3", "h." + "9" * 5000]


@given(st.lists(st.integers(0, 10**12)))
def test_numbers_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"layer.{number}.w" for number in numbers]
    in_order = [numbers[index] for index in natural_order(names)]
    assert in_order == sorted(numbers)


@given(st.lists(st.text()))
def test_any_names_have_keys(names: list[str]) -> None:
    assert len(natural_keys(names)) == len(names)
