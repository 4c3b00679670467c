"""Outputs for CI services, held against what those services ask for."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft4Validator

from tests.running import ROOT

SCHEMAS = ROOT / "tests" / "schemas"


def sarif(text: str) -> dict[str, Any]:
    """The one run of a SARIF document, which the official schema takes."""
    assert text.isascii()
    document: dict[str, Any] = json.loads(text)
    _sarif_schema().validate(document)
    (run,) = document["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids))
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
    found: dict[str, Any] = run
    return found


@cache
def _sarif_schema() -> Draft4Validator:
    return Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text("utf-8")))


def junit(text: str) -> ElementTree.Element:
    """The suites of a JUnit document that the common schema takes; its sums are right."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema validates JUnit's XML")
    xmlschema.XMLSchema10(SCHEMAS / "junit.xsd").validate(text)
    root = ElementTree.fromstring(text)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for sum_, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[sum_]) == len(suite.findall(f"testcase/{tag}")), sum_
    return root
