"""Configurations as flat keys."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis import config
from modelscope_cli.errors import UsageError

NESTED: dict[str, Any] = {
    "a": 1,
    "text_config": {"rope": {"factor": 8.0}, "empty": {}, "list": [1, {"x": 2}]},
    "dotted.key": {"inner": True},
}


def test_leaves_in_order() -> None:
    assert list(config.flat(NESTED)) == [
        ("a", 1),
        ("text_config.rope.factor", 8.0),
        ("text_config.empty", {}),
        ("text_config.list", [1, {"x": 2}]),
        ("dotted.key.inner", True),
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", 1),
        ("text_config.rope", {"factor": 8.0}),
        ("text_config.list.1.x", 2),
        ("dotted.key.inner", True),
    ],
)
def test_values_by_path(path: str, value: object) -> None:
    assert config.value_at(NESTED, path) == value


@pytest.mark.parametrize("path", ["b", "a.b", "text_config.list.9", "text_config.list.x"])
def test_what_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        config.value_at(NESTED, path)


def test_near_keys_are_named() -> None:
    with pytest.raises(UsageError) as refusal:
        config.value_at(NESTED, "text_config.rope.facto")
    assert "text_config.rope.factor" in (refusal.value.hint or "")


def test_differences_are_marked() -> None:
    a = {"same": 1, "gone": 2, "n": {"x": 1}}
    b = {"same": 1.0, "n": {"x": True}, "new": None}
    assert config.differences(a, b) == [
        ("gone", 2, None, "removed"),
        ("n.x", 1, True, "changed"),
        ("new", None, None, "added"),
    ]


def test_a_null_is_not_the_same_as_a_key_that_is_missing() -> None:
    assert config.differences({"k": None}, {}) == [("k", None, None, "removed")]


def test_origins() -> None:
    assert config.origins({"a": 1, "n": {"x": 1, "y": 2}}, {"a": 1, "n": {"x": 1}}) == {
        "a": "file",
        "n.x": "file",
        "n.y": "default",
    }
