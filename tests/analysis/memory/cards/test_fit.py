"""Solvers: the largest that fits, the fewest cards, where the cache lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from modelscope_cli.analysis.memory.cards import fit
from modelscope_cli.analysis.memory.cards.devices import parse
from modelscope_cli.analysis.memory.cards.fit import Fit
from modelscope_cli.analysis.memory.cards.placement import Leaf, place
from modelscope_cli.facts import Unknown


class Counted:
    """Bytes that grow with the number, and how often they were asked for."""

    def __init__(self, fixed: int, each: int) -> None:
        self.fixed, self.each, self.asked = fixed, each, 0

    def __call__(self, number: int) -> int:
        self.asked += 1
        return self.fixed + self.each * number


@given(some.integers(0, 10**6), some.integers(1, 10**4), some.integers(0, 10**9),
       some.integers(1, 2**31))  # fmt: skip
def test_the_largest_that_fits(fixed: int, each: int, room: int, limit: int) -> None:
    bytes_at = Counted(fixed, each)
    found = fit.largest(bytes_at, room, limit)
    assert bytes_at.asked <= 40
    best = max(0, min((room - fixed) // each, limit))
    if best == 0:
        assert found == Fit(0, fixed + each, at_limit=False)
    else:
        assert found == Fit(best, fixed + each * best, at_limit=best == limit)


def test_steps_are_found_too() -> None:
    assert fit.largest(lambda n: 100 * -(-n // 256), 1000, 10**6) == Fit(2560, 1000, at_limit=False)


@pytest.mark.parametrize("unknown_from", [1, 50, 10**6])
def test_what_is_unknown_stays_unknown(unknown_from: int) -> None:
    reason = Unknown("no such cache")
    found = fit.largest(lambda n: n if n < unknown_from else reason, 60, 10**6)
    assert found == reason


@pytest.mark.parametrize("answer", [1, 2, 3, 7, 64, 100, 1023, 1024])
def test_the_fewest_cards(answer: int) -> None:
    asked = []

    def fits(number: int) -> bool:
        asked.append(number)
        return number >= answer

    assert fit.fewest(fits) == answer
    assert len(asked) <= 2 * 11


def test_no_number_of_cards_is_enough() -> None:
    assert fit.fewest(lambda _: False) is None
    assert fit.fewest(lambda n: n > 8, most=8) is None


def test_the_cache_lies_beside_its_layers() -> None:
    leaves = [
        Leaf("model.embed.weight", 10),
        *(Leaf(f"model.layers.{layer}.weight", 10) for layer in range(10)),
        Leaf("head.weight", 10),
    ]
    layers = [f"model.layers.{layer}" for layer in range(10)]
    placed = place(leaves, layers, (), [200] * 3)
    on_card = [sum(module.startswith("model.layers.") for module in row.modules) for row in placed]
    shares = fit.shared_out(1001, placed, layers)
    assert sum(on_card) == 10
    assert sum(shares.values()) == 1001
    for row, count in zip(placed, on_card, strict=True):
        assert abs(shares[row.device] - 100 * count) <= 1
    one = place(leaves, layers, (), [500])
    assert one[0].modules == ("",)
    assert fit.shared_out(1001, one, layers) == {"cuda:0": 1001}
    assert fit.shared_out(9, one, ()) == {"cuda:0": 9}
    assert fit.shared_out(9, [], layers) == {}


def test_slurm_is_asked_in_its_own_words() -> None:
    cards = parse("gpu:a100-sxm4-80gb:4")
    assert fit.slurm_request(cards, 2) == "--gres=gpu:a100-sxm4-80gb:2"
    assert fit.slurm_request(parse("4x80GiB"), 2) is None
