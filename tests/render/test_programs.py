"""The renderers for programs, by themselves: JSON, JSON lines, csv and tsv."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli import __version__
from modelscope_cli.facts import ModelRef
from modelscope_cli.render import delimited, jsonl
from modelscope_cli.render import json as json_renderer
from modelscope_cli.report import Report
from tests.hostile import TEXTS, harm
from tests.render.reports import report

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _json(shown: Report) -> str:
    return "".join(json_renderer.render(shown, units="iec", folded=True))


def _csv(records: Sequence[Mapping[str, Any]], render: Any = delimited.render_csv) -> str:
    keys = tuple(records[0])
    return "".join(render(report(records=records, keys=keys), units="iec", folded=True))


# JSON


def test_an_envelope() -> None:
    model = ModelRef("m", "directory", files=2)
    text = _json(report(document={"totals": {"bytes": 1}}, model=model))
    assert json.loads(text) == {
        "schema": "mscope/test/1",
        "tool": {"name": "mscope", "version": __version__},
        "model": {
            "target": "m", "kind": "directory", "id": None, "revision": None, "format": None,
            "files": 2, "path": None, "default": False,
        },
        "totals": {"bytes": 1},
    }  # fmt: skip
    assert "model" not in json.loads(_json(report()))


@pytest.mark.parametrize("count", [0, 1, 2, 511, 512, 513, 1500])
def test_an_iterator_is_written_as_an_array(count: int) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield from ({"n": number} for number in range(count))

    text = _json(report(document={"rows": rows(), "after": 1}))
    found = json.loads(text)
    assert found["rows"] == [{"n": number} for number in range(count)]
    assert found["after"] == 1
    assert text.count("\n") == 6 + (count + 1 if count else 0)  # a row a line


@given(_JSON)
def test_any_value_comes_back(value: object) -> None:
    text = _json(report(document={"value": value}))
    assert text.isascii()
    assert harm(text) is None
    assert json.loads(text)["value"] == value
    assert json.loads("".join(jsonl.render(report(records=[{"v": value}]), units="", folded=False)))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
        (float("nan"), "NaN"),
        ([1.0, float("inf")], [1.0, "Infinity"]),
        ({"a": (float("nan"),)}, {"a": ["NaN"]}),
    ],
)
def test_numbers_that_json_lacks(value: object, shown: object) -> None:
    assert json.loads(_json(report(document={"value": value})))["value"] == shown
    assert json.loads(json_renderer.line({"value": value}))["value"] == shown


# csv and tsv


def test_csv() -> None:
    records: list[dict[str, Any]] = [
        {"name": "a,b", "shape": (2, 3), "none": None, "flag": True, "size": 12345},
        {"name": 'q"', "shape": (), "none": [], "flag": False, "size": 0.5},
    ]
    assert _csv(records) == (
        "name,shape,none,flag,size\n"
        '"a,b","[2, 3]",,true,12345\n'
        '"q""",[],[],false,0.5\n'
    )  # fmt: skip


def test_tsv() -> None:
    text = _csv([{"a": "x\ty", "b": "n\nl"}], delimited.render_tsv)
    assert text == "a\tb\nx\\x09y\tn\\x0al\n"


@pytest.mark.parametrize("first", "=+-@")
def test_a_formula_is_defused(first: str) -> None:
    assert _csv([{"a": f"{first}1"}]) == f"a\n\\x{ord(first):02x}1\n"
    assert _csv([{"a": -1}]) == "a\n-1\n"  # a number is a number


@given(st.lists(st.text() | st.sampled_from(TEXTS), min_size=1, max_size=4))
def test_as_many_rows_and_cells_as_records(texts: list[str]) -> None:
    records: list[dict[str, Any]] = [
        {"a": text, "b": [text, {text: text}], "c": 1} for text in texts
    ]
    for render, dialect in ((delimited.render_csv, "excel"), (delimited.render_tsv, "excel-tab")):
        out = _csv(records, render)
        assert harm(out, tabs=dialect == "excel-tab") is None
        csv.field_size_limit(10_000_000)
        rows = list(csv.reader(out.splitlines(), dialect))
        assert len(rows) == len(records) + 1
        assert {len(row) for row in rows} == {3}


def test_many_records_come_in_pieces() -> None:
    records = [{"name": "x" * 1000}] * 200
    pieces = list(delimited.render_csv(report(records=records), units="iec", folded=False))
    assert len(pieces) > 1
    assert "".join(pieces) == "name\n" + ("x" * 1000 + "\n") * 200
