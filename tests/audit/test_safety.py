"""Family S on whole models: what each rule finds, where it passes, and where it is skipped."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from modelscope_cli.audit import code
from modelscope_cli.audit.rules.safety import RULES
from tests.audit.conftest import Audit, good
from tests.builders.pickles import protocol, runs, seven_z
from tests.builders.torch import archive, mapping, pickled, tensor
from tests.corpus.make_pickles import CASES

PLAIN = archive(pickled(mapping({"weight": tensor()})))
EVIL = archive(pickled(runs()))
CUSTOM = archive(pickled(runs("mine", "Model")))


@pytest.fixture
def scan() -> None:
    pytest.importorskip("picklescan", reason="the extra `scan` is not installed")


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("picklescan", "picklescan.scanner"):
        monkeypatch.setitem(sys.modules, name, None)


def test_a_plain_model_passes(audit: Audit) -> None:
    said = audit(good(), "--select", "S")
    assert said.code == 0
    assert {each["status"] for each in said.document["rules"]} == {"passed"}
    assert len(said.document["rules"]) == len(RULES)


def test_a_plain_torch_checkpoint_is_a_pickle_and_no_more(audit: Audit) -> None:
    said = audit({**good(), "pytorch_model.bin": PLAIN}, "--select", "S")
    found = said.one("S001")
    assert (said.code, found["severity"], found["file"]) == (0, "warning", "pytorch_model.bin")
    assert len(said.document["findings"]) == 1


@pytest.mark.usefixtures("no_scan")
def test_a_plain_torch_checkpoint_needs_no_scanner(audit: Audit) -> None:
    said = audit({**good(), "pytorch_model.bin": PLAIN}, "--select", "S")
    assert {said.status(rule) for rule in ("S002", "S003", "S004")} == {"passed"}


@pytest.mark.usefixtures("scan")
def test_dangerous_and_unknown_globals_are_named(audit: Audit) -> None:
    said = audit({"a.bin": EVIL, "b.bin": CUSTOM, "config.json": {}}, "--select", "S")
    assert said.code == 1
    assert said.one("S002")["message"] == "names os.system in archive/data.pkl: dangerous to load"
    assert said.one("S002")["file"] == "a.bin"
    assert said.one("S003")["message"].startswith("names mine.Model in archive/data.pkl")


@pytest.mark.usefixtures("no_scan")
def test_without_the_scanner_nothing_unknown_is_called_safe(audit: Audit) -> None:
    files = {"a.bin": EVIL, "b.bin": CUSTOM, "config.json": {}}
    said = audit(files, "--select", "S")
    assert (said.code, said.status("S002")) == (1, "skipped")
    assert "pip install 'modelscope-cli[scan]'" in said.reason("S002")
    named = [each["message"] for each in said.findings("S003")]
    assert ["os.system" in named[0], "mine.Model" in named[1]] == [True, True]
    assert audit(files, "--select", "S002", "--strict").code == 1


def test_what_cannot_be_looked_into_is_no_pass(audit: Audit) -> None:
    said = audit({**good(), "extra.7z": seven_z("a.pkl", protocol(2))}, "--select", "S004")
    assert (said.code, said.one("S004")["file"]) == (1, "extra.7z")


@pytest.mark.parametrize("name", ["notes.txt", "weights.safetensors", "vocab.json", "README"])
def test_a_pickle_by_another_name_is_an_error(audit: Audit, name: str) -> None:
    said = audit({**good(), name: protocol(0)}, "--select", "S001")
    assert (said.code, said.one("S001")["severity"]) == (1, "error")


@pytest.mark.usefixtures("scan")
def test_the_whole_corpus_in_one_model(audit: Audit) -> None:
    files = {name.replace("/", "-"): case.data for name, case in CASES.items()}
    said = audit({**good(), **files}, "--select", "S")
    for rule, expected in (("S002", "dangerous"), ("S003", "unknown"), ("S004", "unseen")):
        found = {each["file"] for each in said.findings(rule)}
        assert found == {
            name.replace("/", "-") for name, case in CASES.items() if getattr(case, expected)
        }


@pytest.mark.parametrize(
    ("name", "content", "severity", "words"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling_x.Model"}}, "warning", "modeling_x"),
        ("config.json", {"auto_map": {"AutoModel": "o/n--m.Model"}}, "error", "from o/n"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.T", None]}}, "warning", "t.T"),
        ("config.json", {"custom_pipelines": {"x": {"impl": "p.P"}}}, "warning", "p.P"),
        ("model_index.json", {"_class_name": ["mine", "Pipe"]}, "warning", "mine.Pipe"),
        ("config.4.0.0.json", {"auto_map": {"AutoModel": "m.Model"}}, "warning", "m.Model"),
        ("unet/config.json", {"auto_map": {"AutoModel": "m.Model"}}, "warning", "m.Model"),
        ("modules.json", [{"type": "mine.Transformer", "path": ""}], "warning", "mine.Transformer"),
    ],
)
def test_remote_code(audit: Audit, name: str, content: object, severity: str, words: str) -> None:
    said = audit({**good(), name: content}, "--select", "S005")
    assert said.one("S005")["severity"] == severity
    assert words in said.one("S005")["message"]


@pytest.mark.parametrize(
    "content", [{"auto_map": 1}, {"auto_map": [None]}, {"auto_map": {"a": {}}}, [], 1,
                {"custom_pipelines": [1]}, {"custom_pipelines": {"a": 1}}]
)  # fmt: skip
def test_odd_configurations_ask_for_nothing(audit: Audit, content: object) -> None:
    said = audit({**good(), "processor_config.json": content}, "--select", "S005")
    assert (said.code, said.status("S005")) == (0, "passed")


_ASKS = '"auto_map": {"AutoTokenizer": ["t.T", null]}'
_ASKS_ESCAPED = _ASKS.replace("auto", "\\u0061uto", 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'{{{_ASKS}, "x": {"[" * 66}{"]" * 66}}}', "nested deeper than 64 levels; it speaks of"),
        (f'{{{_ASKS_ESCAPED}, "x": {"[" * 66}{"]" * 66}}}', "nested deeper than 64 levels"),
        (f'{{{_ASKS}, "x": "{"a" * 33_000_000}"}}', "too many for a configuration; it speaks of"),
        (f'{{"x": "{"a" * 33_000_000}", {_ASKS}}}', "too many for a configuration; it speaks of"),
        (f"{{{_ASKS}", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("", "is not valid JSON"),
    ],
    ids=("deep", "deep and escaped", "large", "large before", "broken", "begun", "empty"),
)
def test_a_configuration_that_cannot_be_read_is_no_pass(
    audit: Audit, content: str, words: str
) -> None:
    said = audit({**good(), "tokenizer_config.json": content.encode()}, "--select", "S005")
    assert (said.code, said.one("S005")["file"]) == (1, "tokenizer_config.json")
    assert said.one("S005")["severity"] == "error"
    assert said.one("S005")["message"].startswith("what code it asks for is not known: ")
    assert words in said.one("S005")["message"]


def test_configurations_in_many_folders_hide_none(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "MOST_CONFIGURATIONS", 20)
    many: dict[str, object] = {f"a{number:02}/config.json": {} for number in range(30)}
    own = {"tokenizer_config.json": f"{{{_ASKS}}}".encode()}
    said = audit({**good(), **many, **own}, "--select", "S005")
    by_severity = {each["severity"]: each for each in said.findings("S005")}
    assert by_severity["warning"]["file"] == "tokenizer_config.json"
    assert "32 configuration files: more than are read" in by_severity["error"]["message"]


@pytest.mark.parametrize(
    ("name", "content", "severity"),
    [
        ("modeling_x.py", b"import os\n", "warning"),
        ("setup", b"#!/bin/sh\n", "warning"),
        ("lib/kernels.so", b"\x7fELF", "error"),
        ("kernels", b"\x7fELF" + bytes(60), "error"),
        ("run.exe", b"MZ" + bytes(60), "error"),
        ("x.pyc", bytes(16), "error"),
    ],
)
def test_code_and_programs(audit: Audit, name: str, content: bytes, severity: str) -> None:
    said = audit({**good(), name: content}, "--select", "S006")
    assert (said.one("S006")["file"], said.one("S006")["severity"]) == (name, severity)


def test_a_permission_to_run_is_a_note(audit: Audit, tmp_path: Path) -> None:
    audit(good(), "--select", "S006")
    os.chmod(tmp_path / "m" / "tokenizer.json", 0o755)
    said = audit(None, "--select", "S006")
    assert (said.code, said.one("S006")["severity"]) == (0, "note")


def test_links_that_leave_the_model(audit: Audit, tmp_path: Path) -> None:
    audit(good(), "--select", "S007")
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    (tmp_path / "m" / "out").symlink_to("../secret")
    (tmp_path / "m" / "in").symlink_to("config.json")
    said = audit(None, "--select", "S")
    assert (said.code, said.one("S007")["file"]) == (1, "out")
    assert "../secret" in said.one("S007")["message"]


def test_control_characters_in_names(audit: Audit) -> None:
    from tests.builders import folders

    weights = folders.weights("a.weight", "b\u202eweight")
    said = audit({**good(), "model.safetensors": weights, "x\x1b[31m.txt": b""}, "--select", "S008")
    found = said.findings("S008")
    assert {(each["file"], each["tensor"]) for each in found} == {
        ("x\x1b[31m.txt", None), (None, "b\u202eweight")
    }  # fmt: skip


def test_every_rule_says_why_and_what_to_do() -> None:
    for rule in RULES:
        assert rule.why()
        assert rule.remedy()
        assert json.dumps(rule.title)
