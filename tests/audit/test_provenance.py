"""Family P: each rule failing, passing, skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.audit.conftest import Audit, good
from tests.builders import folders, gguf
from tests.running import Run

_APACHE = "Apache License\n   Version 2.0, January 2004\n"


def _provenance(text: str) -> str:
    return f"[audit.provenance]\n{text}\n"


def test_a_good_model_passes(audit: Audit) -> None:
    said = audit(good(), "--select", "P", "--fail-on", "note")
    assert said.code == 0
    for rule in ("P001", "P003", "P006", "P008"):
        assert said.status(rule) == "passed"
    for rule in ("P002", "P004", "P005", "P007"):
        assert said.status(rule) == "skipped"


@pytest.mark.parametrize(
    "files",
    [
        good(),
        good(README__md="# no front matter", LICENSE=_APACHE),
        good(README__md=None, config__json={**folders.BERT, "license": "mit"}),
        {
            "m.gguf": folders.gguf_weights(
                "a", metadata={"general.license": gguf.text("apache-2.0")}
            )
        },
    ],
    ids=["card", "text", "config", "gguf"],
)
def test_a_licence_may_be_stated_in_four_places(audit: Audit, files: dict[str, object]) -> None:
    assert audit(files, "--select", "P001").status("P001") == "passed"


def test_no_licence_is_a_warning_and_fails_where_one_is_required(audit: Audit) -> None:
    files = good(README__md="# a model")
    said = audit(files, "--select", "P001")
    assert (said.code, said.one("P001")["severity"]) == (0, "warning")
    said = audit(None, "--select", "P002", policy=_provenance('licences = ["mit"]'))
    assert said.code == 1


@pytest.mark.parametrize(
    ("allowed", "code"),
    [('["apache-2.0"]', 0), ('["Apache-2.0", "mit"]', 0), ('["apache-*"]', 0), ('"mit"', 1)],
)
def test_allowed_licences(audit: Audit, allowed: str, code: int) -> None:
    policy = _provenance(f"licences = {allowed}")
    assert audit(good(), "--select", "P002", policy=policy).code == code


def test_a_card_and_a_licence_text_that_contradict_each_other(audit: Audit) -> None:
    files = good(README__md="---\nlicense: mit\n---\n", LICENSE=_APACHE)
    said = audit(files, "--select", "P002", policy=_provenance('licences = "mit"'))
    assert said.one("P002")["file"] == "LICENSE"


def test_a_model_card_must_be_there_and_not_empty(audit: Audit) -> None:
    assert audit(good(README__md=""), "--select", "P003").one("P003")["file"] == "README.md"


def test_no_model_card(audit: Audit) -> None:
    assert audit(good(README__md=None), "--select", "P003").findings("P003")


def test_required_files_are_globs_of_paths(audit: Audit) -> None:
    files = {**good(), "docs/card.pdf": b"%PDF"}
    policy = _provenance('files = ["README.md", "docs/*.pdf", "eval/*.json"]')
    said = audit(files, "--select", "P005", policy=policy)
    assert said.one("P005")["message"].startswith("eval/*.json")


def test_a_model_of_text_without_a_tokenizer(audit: Audit) -> None:
    assert audit(good(tokenizer__json=None), "--select", "P006").findings("P006")


def test_a_model_without_a_vocabulary_needs_no_tokenizer(audit: Audit) -> None:
    files = good(tokenizer__json=None, config__json={"model_type": "vit"})
    assert audit(files, "--select", "P006").status("P006") == "skipped"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ('model_type = "bert"', 0),
        ('model_type = ["gpt2", "bert"]', 0),
        ('model_type = "gpt2"', 1),
        ("hidden_size = 4", 0),
        ("hidden_size = true", 1),
        ('"rope_scaling.factor" = 8.0', 0),
        ("rope_scaling.factor = 4", 1),
        ("use_cache = false", 1),
        ("nothing_of_that_name = 1", 1),
        ('architectures = "BertModel"', 0),
        ('"a-b" = 1', 0),
    ],
)
def test_required_values_of_the_configuration(audit: Audit, wanted: str, code: int) -> None:
    config = {
        **folders.BERT, "rope_scaling": {"factor": 8.0}, "architectures": ["BertModel"], "a-b": 1,
    }  # fmt: skip
    policy = f"[audit.provenance.config]\n{wanted}\n"
    said = audit(good(config__json=config), "--select", "P007", policy=policy)
    assert said.code == code, said.document


@pytest.mark.parametrize("name", ["mscope.toml", "pyproject.toml"])
def test_a_model_with_a_policy_of_its_own_is_not_held_to_it(
    audit: Audit, name: str, tmp_path: Path, run: Run
) -> None:
    table = "audit" if name == "mscope.toml" else "tool.mscope.audit"
    own = f'[{table}]\nselect = ["M"]\n'
    said = audit({**good(), name: own})
    assert said.code == 1
    assert said.one("P008")["file"] == name
    assert said.status("F001") == "passed"  # its `select` is not in force
    assert run("audit", ".", cwd=tmp_path / "m").code == 1
    for flag in ("--policy", "--config"):
        done = run("audit", ".", flag, name, cwd=tmp_path / "m")
        assert done.code == 2
        assert f"{flag} {name}: lies in a model that is looked at" in done.err


@pytest.mark.parametrize("flag", ["--policy", "--config"])
def test_a_policy_that_a_link_leads_to_is_the_models(
    audit: Audit, tmp_path: Path, run: Run, flag: str
) -> None:
    audit({**good(), "mscope.toml": '[audit]\nselect = ["M"]\n'})
    (tmp_path / "linked.toml").symlink_to("m/mscope.toml")
    (tmp_path / "hop.toml").symlink_to(tmp_path / "linked.toml")
    for name in ("linked.toml", "hop.toml"):
        done = run("audit", "m", flag, name, cwd=tmp_path)
        assert done.code == 2, name
        assert f"{flag} {name}: lies in a model that is looked at" in done.err
    own = tmp_path / "own.toml"
    own.write_text('[audit]\nselect = ["F"]\n')
    (tmp_path / "m" / "out.toml").symlink_to(own)  # a link of the model's chooses
    assert run("audit", "m", flag, "m/out.toml", cwd=tmp_path).code == 2
    (tmp_path / "through.toml").symlink_to("m/out.toml")
    assert run("audit", "m", flag, "through.toml", cwd=tmp_path).code == 2


def test_a_policy_met_on_the_way_up_that_leads_into_the_model(
    audit: Audit, tmp_path: Path, run: Run
) -> None:
    audit({**good(), "mscope.toml": '[audit]\nselect = ["M"]\nexit-zero = true\n'})
    work = folders.write(tmp_path / "work", {"readme": ""})
    (work / "mscope.toml").symlink_to("../m/mscope.toml")
    done = run("audit", "../m", "--json", cwd=work)
    assert done.code == 1
    assert {each["id"][0] for each in json.loads(done.out)["rules"]} > {"F", "M"}
    assert "never taken" in done.err


def test_a_policy_deep_in_the_model_is_a_finding_too(
    audit: Audit, tmp_path: Path, run: Run
) -> None:
    said = audit({**good(), "sub/mscope.toml": "[audit]\nselect = ['M']\nexit-zero = true\n"})
    assert said.one("P008")["file"] == "sub/mscope.toml"
    done = run("audit", "..", "--select", "P008", "--json", cwd=tmp_path / "m" / "sub")
    assert done.code == 1
    assert [each["file"] for each in json.loads(done.out)["findings"]] == ["sub/mscope.toml"]


def test_a_policy_beside_a_single_file_holds_where_it_is_named(
    audit: Audit, tmp_path: Path, run: Run
) -> None:
    audit({**good(), "mscope.toml": '[audit]\nselect = ["M"]\n', "sub/a": ""})
    folder, file = tmp_path / "m", "model.safetensors"
    for cwd, name in ((folder, file), (tmp_path, f"m/{file}"), (folder / "sub", f"../{file}")):
        done = run("audit", name, "--select", "F001,P008", "--json", cwd=cwd)
        assert done.code == 1
        (found,) = json.loads(done.out)["findings"]
        assert (found["rule"], found["file"]) == ("P008", "mscope.toml")
        assert "--config names them" in done.err
    for flag in ("--policy", "--config"):
        done = run("audit", file, flag, "mscope.toml", "--json", cwd=folder)
        assert done.code == 0
        assert {each["id"][0] for each in json.loads(done.out)["rules"]} == {"M"}
        done = run("audit", file, flag, "mscope.toml", "--select", "P008", cwd=folder)
        assert done.code == 0  # it is taken, and no finding
        assert run("audit", file, ".", flag, "mscope.toml", cwd=folder).code == 2


@pytest.mark.parametrize("stdin", [True, False])
def test_a_model_of_a_list_has_no_settings_for_the_audit(
    audit: Audit, tmp_path: Path, run: Run, stdin: bool
) -> None:
    audit({**good(), "mscope.toml": "[audit]\nexit-zero = true\n"})
    (tmp_path / "list").write_text(".\n")
    argv = ("audit", "--from", "-" if stdin else "../list")
    done = run(*argv, cwd=tmp_path / "m", stdin=".\n" if stdin else None)
    assert done.code == 1
    assert "P008" in done.out


def test_a_pyproject_of_something_else_is_no_policy(audit: Audit) -> None:
    files = {**good(), "pyproject.toml": "[tool.ruff]\nline-length = 100\n"}
    assert audit(files, "--select", "P008").status("P008") == "passed"
