"""The audit as CI services take it: several files of one run, goldens, annotations, many models."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.builders import audited, hfcache
from tests.documents import document
from tests.render import checks
from tests.running import Golden, Run

_VERSION = re.compile(r'("semanticVersion": )"[^"]*"')


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited.models(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


_RULES = tuple(part for rule in ("F001", "F006", "P001", "P007") for part in ("--select", rule))


@pytest.mark.parametrize("ending", ["sarif", "xml", "md"])
def test_every_file_of_a_run_reads_as_agreed(ending: str, run: Run, golden: Golden) -> None:
    done = run("audit", "good", "bad", *_RULES, "-o", f"out.{ending}")
    assert done.code == 1
    text = Path(f"out.{ending}").read_text("utf-8")
    golden(f"audit/two.{ending}", _VERSION.sub(r'\1"0"', text))


def test_files_of_a_run_are_valid_and_agree(run: Run) -> None:
    names = ("a.sarif", "a.xml", "a.json", "a.md", "a.jsonl")
    done = run("audit", "good", "bad", *(part for name in names for part in ("-o", name)))
    assert done.code == 1
    found = document(Path("a.json").read_text())["findings"]
    results = checks.sarif(Path("a.sarif").read_text())["results"]
    assert [each["ruleId"] for each in results] == [each["rule"] for each in found]
    root = checks.junit(Path("a.xml").read_text())
    assert [suite.attrib["name"] for suite in root] == ["good", "bad"]
    assert len(Path("a.jsonl").read_text().splitlines()) == len(found)
    assert "F001" in Path("a.md").read_text()


def test_github_annotations_are_the_answer_where_asked_for(run: Run, golden: Golden) -> None:
    golden("audit/two.github.txt", run("audit", "good", "bad", *_RULES, "-f", "github").out)


def test_in_a_job_of_github_annotations_go_to_stderr_beside_the_table(run: Run) -> None:
    job = {"GITHUB_ACTIONS": "true"}
    plain = run("audit", "bad")
    done = run("audit", "bad", env=job)
    assert done.out == plain.out
    assert done.err == plain.err + run("audit", "bad", "-f", "github").out
    assert "::error file=bad/model.safetensors," in done.err
    assert run("audit", "bad", "-f", "github", env=job).err == plain.err


def test_other_commands_have_no_such_formats(run: Run) -> None:
    assert run("params", "good", "-f", "sarif").code == 2
    done = run("params", "good", "-o", "x.xml")
    assert done.code == 2
    assert "is for what `mscope audit` finds" in done.err


def test_a_file_that_cannot_be_written_takes_no_other_with_it(run: Run) -> None:
    if os.geteuid() == 0:
        Path("full").symlink_to("/proc/self")  # a folder in which nothing can be made
    else:
        Path("full").mkdir(mode=0o500)
    for bad in ("full/a.json", "no/such/folder/a.sarif"):
        done = run("audit", "bad", "-o", bad, "-o", "b.json", "-o", "c.xml")
        assert done.code == 2
        assert f"{bad}: cannot be written" in done.err
        assert "F001" in done.out
        assert document(Path("b.json").read_text())["passed"] is False
        assert Path("c.xml").is_file()
        Path("c.xml").unlink()


def test_a_list_of_models_and_one_that_is_not_there(run: Run) -> None:
    done = run("audit", "--from", "-", "--json", stdin="# ours\ngood\n./gone\nbad\n")
    found = document(done.out)
    assert done.code == 1
    assert [each["target"] for each in found["models"]] == ["good", "./gone", "bad"]
    assert [(each["model"], each["exit_code"]) for each in found["errors"]] == [("./gone", 3)]
    assert {each["model"] for each in found["findings"] if each["rule"] == "F001"} == {"bad"}


def test_no_models_is_a_usage_error(run: Run) -> None:
    assert run("audit", "--from", "-", stdin="# none\n").code == 2
    assert run("audit", "--cached").code == 2


def test_results_stream_as_json_lines(run: Run) -> None:
    done = run("audit", "good", "./gone", "bad", "-f", "jsonl", "--select", "F", "--ignore", "F003")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["model"], row["rule"]) for row in rows] == [("./gone", None), ("bad", "F001")]


def test_processes_say_what_one_says(run_process: Run) -> None:
    for number in range(12):
        audited.models(Path(f"more{number}"))
    models = [f"more{number}/{kind}" for number in range(12) for kind in ("good", "bad")]
    one = run_process("audit", *models, "--json", "--jobs", "1")
    two = run_process("audit", *models, "--json", "--jobs", "2")
    assert one.code == 1
    assert one == two
    assert document(one.out)["models"][23]["target"] == "more11/bad"


def test_all_of_the_cache(run: Run, tmp_path: Path) -> None:
    hfcache.written_through(tmp_path / "hub")
    found = document(run("audit", "--cached", "--cache-dir", "hub", "--json").out)
    assert [each["id"] for each in found["models"]] == ["org/model"]
    assert [each["status"] for each in found["rules"] if each["id"] == "C001"] == ["failed"]


def test_no_file_of_a_model_named_in_a_list_is_written_over(run: Run) -> None:
    Path("bad/own.xml").write_text("<mine/>")
    done = run("audit", "--from", "-", "-o", "bad/own.xml", stdin="bad\n")
    assert done.code == 2
    assert Path("bad/own.xml").read_text() == "<mine/>"


def test_a_model_that_is_not_there_is_named_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("audit", "good", "empty", cwd=tmp_path)
    assert "empty: " in done.err
    assert "empty: empty: " not in done.err + done.out
