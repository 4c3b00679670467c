"""The arithmetic over a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.knowledge.expressions import LONGEST, MISSING, evaluate, value
from tests.bounded import within

CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "layers": 3,
    "depths": [2, 3, 4],
    "window": None,
    "flag": True,
    "kinds": ["a", "b"],
    "text_config": {"hidden_size": 32, "rope": {"theta": 0.5}},
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("hidden_size", 64),
        ("text_config.rope.theta", 0.5),
        (7, 7),
        (["//", "hidden_size", "num_attention_heads"], 16),
        (["int", ["*", "hidden_size", "text_config.rope.theta"]], 32),
        (["ceil", ["/", "hidden_size", 48]], 2),
        (["+", ["**", ["//", "hidden_size", 16], 2], 1], 17),
        (["??", "window", "hidden_size"], 64),
        (["??", "absent", 5], 5),
        (["or", "window", "layers"], 3),
        (["if", "flag", 1, 2], 1),
        (["if", ["given", "window"], 1, 2], 2),
        (["if", ["in", ["=", "b"], "kinds"], 1, 0], 1),
        (["len", "depths"], 3),
        (["sum", "depths"], 9),
        (["prod", "depths"], 24),
        (["largest", "depths"], 4),
        (["at", "depths", -1], 4),
        (["same", {"hidden_size": 64}, 9], 9),
        ("flag", 1),
    ],
)
def test_numbers(expression: Any, expected: float) -> None:
    assert evaluate(expression, CONFIG) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (["rep", ["=", "full"], "layers"], ["full"] * 3),
        (["each", "layers", "#"], [0, 1, 2]),
        (
            ["each", "layers", ["if", ["==", ["%", ["+", "#", 1], 2], 0], ["=", "x"], ["=", "y"]]],
            ["y", "x", "y"],
        ),
        (["each", 2, ["-", "#n", "#"]], [2, 1]),
        (["cat", ["list", ["=", "stem"]], ["each", 2, ["name", ["=", "stage"], "#"]]],
         ["stem", "stage0", "stage1"]),
        (["ending", "kinds", ["=", "z"]], ["a", "z"]),
        (["reversed", "depths"], [4, 3, 2]),
        (["and", "flag", ["not", "window"]], True),
    ],
)  # fmt: skip
def test_lists_and_truth(expression: Any, expected: Any) -> None:
    assert value(expression, CONFIG) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "absent",
        "window",
        "kinds",
        "text_config",
        "hidden_size.more",
        ["//", "hidden_size", "absent"],
        ["//", "hidden_size", 0],
        ["*", "kinds", 2],
        ["unheard of", 1],
        ["same", {"hidden_size": 65}, 9],
        ["at", "depths", 99],
        ["log2", 0],
        ["sum", "kinds"],
        [],
    ],
)
def test_no_number(expression: Any) -> None:
    assert evaluate(expression, CONFIG) is None


HOSTILE: list[Any] = [
    10**30,
    -(10**30),
    2**63,
    float("inf"),
    float("nan"),
    "1e9",
    None,
    True,
    [],
    {},
    [[1] * 50] * 50,
    ["x"] * 100_000,
    {"hidden_size": {"hidden_size": 1}},
]
OPERATORS = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "min",
    "max",
    "<",
    "==",
    "in",
    "at",
    "rep",
    "cat",
    "ending",
    "name",
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_hostile_values_give_nothing_large(operator: str) -> None:
    def work() -> None:
        for one in HOSTILE:
            for other in HOSTILE:
                found = value([operator, "a", "b"], {"a": one, "b": other})
                if isinstance(found, int):
                    assert abs(found) <= 2**63
                if isinstance(found, list):
                    assert len(found) <= LONGEST

    within(2, work)


def test_a_list_of_a_billion_layers_is_not_made() -> None:
    assert value(["each", "n", "#"], {"n": 10**9}) is MISSING
    assert value(["rep", 1, "n"], {"n": 10**9}) is MISSING
    assert len(value(["each", "n", "#"], {"n": LONGEST})) == LONGEST


def test_data_nested_too_deep_gives_nothing() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = ["int", deep]
    assert evaluate(deep, {}) is None
