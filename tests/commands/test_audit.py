"""`mscope audit` as it is called: exit codes, several models, lists and explanations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelscope_cli.audit import rules
from tests.audit.conftest import good
from tests.builders import folders
from tests.documents import document
from tests.running import Golden, Run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`good` passes, `cut` fails, `bare` is weights alone."""
    folders.write(tmp_path / "good", good())
    folders.write(tmp_path / "cut", good(model__safetensors=folders.weights("a")[:-1]))
    folders.write(tmp_path / "bare", {"model.safetensors": folders.weights("a")})
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("good",), 0),
        (("cut",), 1),
        (("good", "cut"), 1),
        (("cut", "--exit-zero"), 0),
        (("gone",), 3),
        (("good", "gone"), 3),
        (("cut", "gone"), 1),
        (("gone", "--exit-zero"), 3),
        ((), 2),
        (("",), 2),
        (("good", "--select", "F001", "--ignore", "F"), 0),
        (("good", "--select", "F001", "--ignore", "F001"), 2),
        (("good", "--select", "Q1"), 2),
        (("good", "--fail-on", "fatal"), 2),
        (("good", "--explain", "F999"), 2),
        (("good", "--revision", "main"), 2),
    ],
)
def test_exit_codes(run: Run, models: Path, argv: tuple[str, ...], code: int) -> None:
    assert run("audit", *argv, cwd=models).code == code


def test_the_model_may_be_named_by_the_environment_or_the_settings(run: Run, models: Path) -> None:
    def audited(*argv: str, env: dict[str, str] | None = None) -> list[str]:
        done = run("audit", *argv, "--json", cwd=models, env=env)
        if not done.out:
            return [str(done.code)]
        return [each["target"] for each in document(done.out)["models"]]

    env = {"MSCOPE_MODEL": "bare"}
    assert audited(env=env) == ["bare"]
    assert audited("good", env=env) == ["good"]
    (models / "mscope.toml").write_text("model = './cut'\n")
    assert audited() == ["./cut"]
    assert audited(env=env) == ["bare"]
    assert audited("good") == ["good"]
    (models / "list").write_text("good\n")
    assert audited("--from", "list", env=env) == ["good"]
    (models / "none").write_text("# no model\n")
    assert audited("--from", "none", env=env) == ["2"]  # a list was asked for, and is empty
    (models / "mscope.toml").write_text("[audit]\nfrom = 'list'\n")
    assert audited() == ["good"]
    (models / "mscope.toml").unlink()
    assert audited(env={"MSCOPE_FROM": "list"}) == ["good"]
    assert audited() == ["2"]


def test_settings_that_name_the_folder_they_lie_in(run: Run, models: Path) -> None:
    for text in ("model = '.'\n", "from = 'list'\n"):
        (models / "cut" / "mscope.toml").write_text(f"[audit]\n{text}exit-zero = true\n")
        (models / "cut" / "list").write_text(".\n")
        done = run("audit", cwd=models / "cut")
        assert done.code == 2, done.out
        assert "never taken" in done.err


def test_a_model_that_is_not_there_does_not_stop_the_others(run: Run, models: Path) -> None:
    done = run("audit", "gone", "good", "cut", "--json", cwd=models)
    found = document(done.out)
    assert found["passed"] is False
    assert [each["target"] for each in found["models"]] == ["gone", "good", "cut"]
    assert [each["model"] for each in found["errors"]] == ["gone"]
    assert {each["model"] for each in found["findings"] if each["severity"] == "error"} == {"cut"}


def test_an_empty_folder_is_no_model(run: Run, models: Path) -> None:
    (models / "empty").mkdir()
    assert run("audit", "empty", cwd=models).code == 3


def test_the_table_names_what_is_wrong_first(run: Run, models: Path, golden: Golden) -> None:
    done = run(
        "audit", "cut", "bare", "--select", "F", "--select", "P", "--ignore", "F003", cwd=models
    )
    assert done.code == 1
    golden("audit/two.txt", done.out)


@pytest.mark.parametrize("format_", ["csv", "md", "jsonl"])
def test_other_formats_hold_the_findings(
    run: Run, models: Path, golden: Golden, format_: str
) -> None:
    argv = ("cut", "--select", "F", "--select", "P", "--ignore", "F003", "-f", format_)
    golden(f"audit/cut.{format_}", run("audit", *argv, cwd=models).out)


def test_findings_are_in_a_stable_order(run: Run, models: Path) -> None:
    argv = ("audit", "bare", "cut", "--json")
    first, second = (run(*argv, cwd=models).out for _ in range(2))
    assert first == second
    found = json.loads(first)["findings"]
    keys = [(["bare", "cut"].index(f["model"]), f["rule"][0] != "F", f["rule"]) for f in found]
    assert keys == sorted(keys)


def test_list_and_explain_say_what_the_code_says(run: Run) -> None:
    found = document(run("audit", "--list", "--json").out)["rules"]
    assert [each["id"] for each in found] == list(rules.every())
    done = run("audit", "--explain", "c001")
    assert done.out.startswith("C001 (error): ")
    assert "Remedy: " in done.out
    listed = run("audit", "--list").out
    for letter, family in rules.FAMILIES.items():
        assert f"{letter}  {family.title}" in listed


def test_names_out_of_a_model_are_shown_escaped(run: Run, tmp_path: Path) -> None:
    name = "\x1b[31m::error::.safetensors"
    folders.write(tmp_path / "m", {**good(), name: b"no header at all"})
    done = run("audit", "m", cwd=tmp_path)
    assert done.code == 1
    assert "\x1b" not in done.out
    assert not any(line.lstrip().startswith("::") for line in done.out.splitlines())


def test_an_output_over_a_file_of_the_model_is_refused(run: Run, models: Path) -> None:
    config = models / "good" / "config.json"
    before = config.read_bytes()
    done = run("audit", "good", "bare", "-o", "good/config.json", cwd=models)
    assert done.code == 2
    assert config.read_bytes() == before


def test_no_rule_says_the_same_twice_and_many_are_cut(run: Run, tmp_path: Path) -> None:
    many = {f"f{number}.txt": b"\x80\x04\x95\x01" for number in range(230)}
    folders.write(tmp_path / "m", {**good(), **many})
    found = document(run("audit", "m", "--select", "F006", "--json", cwd=tmp_path).out)["findings"]
    assert len(found) == 201
    assert any(each["message"] == "and 30 more like these" for each in found)


def test_rules_may_be_listed_with_commas(run: Run, models: Path) -> None:
    apart = run("audit", "cut", "--select", "F", "--select", "P", "--ignore", "F003", cwd=models)
    assert run("audit", "cut", "--select", "F, P", "--ignore", "F003", cwd=models) == apart
    assert apart.code == 1
