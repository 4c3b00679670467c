"""SARIF, JUnit and GitHub's annotations: valid, and nothing in a name is obeyed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.facts import ModelRef
from modelscope_cli.render import RENDERERS
from modelscope_cli.report import CheckedModel, CheckedRule, Checks, Flaw, Outcome, Report
from tests.render import checks

RULES = [
    CheckedRule("F001", "files are whole", "error", "Because.", "Mend it."),
    CheckedRule("S001", "no pickles", "warning", "They run.", "Convert."),
]
HOSTILE = (
    "a\n::error::b\r%0A,x:y\x1b[31m\u202e##[endgroup]<![CDATA[]]>&\"'](javascript:x)\x00\ud800"
)


def report(models: Sequence[CheckedModel]) -> Report:
    return Report(
        "audit", None, "t", lambda folded: [], dict, (), lambda: iter(()),
        checks=lambda: Checks(RULES, models),
    )  # fmt: skip


def render(name: str, *models: CheckedModel) -> str:
    return "".join(RENDERERS[name].load()(report(models), units="iec", folded=False))


def model(*flaws: Flaw, name: str = "m", path: str | None = None) -> CheckedModel:
    outcomes = [
        Outcome("F001", "failed" if flaws else "passed", None, flaws),
        Outcome("S001", "skipped", "not asked"),
    ]
    return CheckedModel(ModelRef(name, "directory", path=path), outcomes)


def test_nothing_at_all_is_a_valid_document() -> None:
    assert checks.sarif(render("sarif"))["results"] == []
    assert len(checks.junit(render("junit"))) == 0
    assert render("github") == ""


def test_a_finding_lies_on_its_file_below_the_checkout(tmp_path: Path) -> None:
    here = model(Flaw("error", "cut", "sub/w.safetensors", "t", 3), path=str(Path("m").resolve()))
    (result,) = checks.sarif(render("sarif", here))["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "m/sub/w.safetensors"
    assert physical["region"] == {"startLine": 3}
    assert [each["name"] for each in result["locations"][0]["logicalLocations"]] == ["m", "t"]
    line = render("github", here)
    assert line == (
        "::error file=m/sub/w.safetensors,line=3,title=F001 files are whole"
        "::m: sub/w.safetensors: cut (tensor t)\n"
    )


def test_what_lies_elsewhere_has_an_address(tmp_path: Path) -> None:
    away = model(Flaw("error", "cut", "w x.bin"), path=str(tmp_path / "m"))
    hub = CheckedModel(
        ModelRef("org/n", "hub", id="org/n", revision="a" * 40),
        [Outcome("F001", "failed", None, [Flaw("error", "cut", "w.bin")])],
    )
    results = checks.sarif(render("sarif", away, hub))["results"]
    places = [
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results
    ]
    assert unquote(places[0]) == f"file://{tmp_path}/m/w x.bin"
    assert places[1] == f"https://huggingface.co/org/n/blob/{'a' * 40}/w.bin"
    assert "file=" not in render("github", away, hub)


def test_a_model_that_could_not_be_looked_at_is_no_success() -> None:
    gone = CheckedModel(ModelRef("gone", "directory"), (), "there is no such file")
    run = checks.sarif(render("sarif", gone, model()))
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["results"] == []
    root = checks.junit(render("junit", gone, model()))
    assert [suite.attrib["errors"] for suite in root] == ["1", "0"]
    assert render("github", gone) == "::error title=mscope::gone: there is no such file\n"


def test_what_is_milder_than_what_fails_is_no_failure_in_junit() -> None:
    root = checks.junit(render("junit", model(Flaw("warning", "hm"))))
    assert root[0].attrib["failures"] == "0"
    assert root[0].findtext("system-out") == "F001 warning: hm"


def test_the_gravest_annotations_come_first() -> None:
    written = render("github", model(Flaw("note", "c"), Flaw("error", "a"), Flaw("warning", "b")))
    assert re.findall(r"^::(\w+)", written, re.MULTILINE) == ["error", "warning", "notice"]


@pytest.mark.parametrize("place", [None, HOSTILE])
def test_hostile_names_are_text(place: str | None) -> None:
    bad = model(Flaw("error", HOSTILE, place, place), name=HOSTILE)
    run = checks.sarif(render("sarif", bad))
    assert "](" not in run["results"][0]["message"]["text"]
    checks.junit(render("junit", bad))
    written = render("github", bad)
    assert written.count("\n") == 1
    assert written.startswith("::error ")
    assert "##[" not in written[2:]
    assert "\x1b" not in written
    assert "%0A" not in written.replace("%250A", "")


@settings(max_examples=60)
@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_taken(message: str, name: str) -> None:
    bad = model(Flaw("error", message, name or "x", name), name=name or "x")
    checks.sarif(render("sarif", bad))
    checks.junit(render("junit", bad))
    assert render("github", bad).count("\n") == 1


def test_the_same_finding_has_the_same_fingerprint_and_another_another() -> None:
    def prints(*flaws: Flaw) -> list[str]:
        run = checks.sarif(render("sarif", model(*flaws)))
        return [each["partialFingerprints"]["mscope/v1"] for each in run["results"]]

    one, other = prints(Flaw("error", "x", "f"), Flaw("error", "y", "f"))
    assert [one] == prints(Flaw("error", "x", "f"))
    assert one != other
