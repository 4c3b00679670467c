"""Policies: where they come from, what they say, what is refused, what the schema says of them."""

from __future__ import annotations

import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from modelscope_cli.audit import policy_file, rules
from modelscope_cli.commands import COMMANDS
from tests.audit.conftest import Audit, good
from tests.builders import folders
from tests.running import ROOT, Run

_SCHEMA = json.loads((ROOT / "modelscope_cli" / "schemas" / "policy.json").read_text("utf-8"))
_START = (ROOT / "modelscope_cli" / "data" / "policy.toml").read_text("utf-8")

_BAD = {
    "unknown key": ("[audit]\nselct = ['F']", "did you mean select"),
    "unknown limit": ("[audit.limits]\nparamters = 1", "did you mean parameters"),
    "unknown memory key": ("[audit.memory]\nfit = '1x24GiB'", "did you mean fits"),
    "unknown provenance key": ("[audit.provenance]\nlicenses = ['mit']", "did you mean licences"),
    "unknown rule": ("[audit]\nselect = ['F099']", "no rule or family 'F099'"),
    "unknown family": ("[audit]\nignore = ['X']", "no rule or family 'X'"),
    "unknown severity": ("[audit.severity]\nF001 = 'fatal'", "error, warning, note"),
    "a size that is none": ("[audit.limits]\nbytes = '20 apples'", "20GiB"),
    "a negative size": ("[audit.limits]\nbytes = -1", "20GiB"),
    "a count that is none": ("[audit.limits]\nparameters = '8X'", "8B"),
    "a dtype that is none": ("[audit.limits]\ndtypes = ['BF61']", "there is no dtype"),
    "a quantization that is none": ("[audit.limits]\nquantization = ['nf44']", "did you mean nf4"),
    "a family without rules": ("[audit]\nselect = ['N']", "N has no rules yet"),
    "nothing allowed": ("[audit.provenance]\nlicences = []", "not empty"),
    "selected and ignored": ("[audit]\nselect = ['F001']\nignore = ['F001']", "selected and ign"),
    "nothing left": ("[audit]\nselect = ['M']\nignore = ['M001', 'M']", "M is selected and ign"),
    "every rule ignored": (
        "[audit]\nselect = ['M001']\n[audit.ignore]\nM = 'no limits'", None,
    ),
    "none and any": ("[audit.limits]\nquantization = ['none', 'any']", "allow everything"),
    "memory without a limit": ("[audit.memory]\nbits = 4", "says no limit"),
    "not a table": ("audit = 1", "audit"),
    "limits not a table": ("[audit]\nlimits = 5", "is a table"),
    "models not a list": ("[audit.models]\nmatch = 'x'", "is a list of tables"),
    "an override without match": ("[[audit.models]]\nselect = 'F'", "says no match"),
    "an override's unknown key": (
        "[[audit.models]]\nmatch = '*'\nfail-on = 'note'", "unknown key 'fail-on'",
    ),
    "two spellings": ("[audit.limits]\nlargest-tensor = 1\nlargest_tensor = 2", "there twice"),
    "an empty reason": ("[audit.ignore]\nP001 = ''", "takes a string"),
    "no TOML": ("[audit", "not valid TOML"),
    "strict is no word": ("[audit]\nstrict = 'yes'", "true or false"),
}  # fmt: skip


@pytest.mark.parametrize("case", _BAD)
def test_a_policy_that_says_nonsense_is_a_usage_error(case: str, run: Run, tmp_path: Path) -> None:
    text, words = _BAD[case]
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "p.toml": text})
    done = run("audit", "m", "--policy", "p.toml", cwd=tmp_path)
    if words is None:  # an ID that is selected is stronger than its family
        assert done.code == 0
        return
    assert done.code == 2, done.err
    assert "p.toml" in done.err
    assert words in done.err
    assert not done.out


def test_a_schema_for_editors_says_the_same_of_nonsense_and_of_what_is_right() -> None:
    Draft202012Validator.check_schema(_SCHEMA)
    validator = Draft202012Validator(_SCHEMA)
    for case in (
        "unknown key",
        "unknown limit",
        "unknown severity",
        "a size that is none",
        "nothing allowed",
    ):
        assert not validator.is_valid(tomllib.loads(_BAD[case][0])), case
    assert validator.is_valid(tomllib.loads(_START))
    assert validator.is_valid(tomllib.loads(_everything()))


def _everything() -> str:
    """The start with all that is commented out in it in force."""
    lines = []
    for line in _START.splitlines():
        inner = line.removeprefix("# ")
        is_setting = " = " in inner or inner.startswith("[")
        lines.append(inner if line.startswith("# ") and is_setting else line)
    return "\n".join(lines)


def test_the_schema_has_the_keys_that_are_read() -> None:
    audit: dict[str, Any] = _SCHEMA["properties"]["audit"]["properties"]
    settings = set(inspect.signature(COMMANDS["audit"].load()).parameters)
    settings -= {"models", "config", "isolated", "init", "list_", "explain"}
    own = {name.rstrip("_") for name in settings} | {"model"}
    assert {key.replace("-", "_") for key in audit} == set(policy_file.NAMES) | own
    tables = {
        "limits": policy_file.LIMITS,
        "memory": policy_file.MEMORY,
        "provenance": policy_file.PROVENANCE,
    }
    for name, keys in tables.items():
        assert {key.replace("-", "_") for key in audit[name]["properties"]} == set(keys)
    inner = audit["models"]["items"]["properties"]
    assert set(inner) == {"match", *policy_file.KEYS}


def test_init_writes_a_start_that_is_a_policy_and_never_over_another(
    run: Run, tmp_path: Path
) -> None:
    folders.write(tmp_path / "m", good())
    assert run("audit", "--init", cwd=tmp_path).code == 0
    assert (tmp_path / "mscope.toml").read_text("utf-8") == _START
    assert run("audit", "m", cwd=tmp_path).code == 0
    done = run("audit", "--init", cwd=tmp_path)
    assert done.code == 2
    assert "is there already" in done.err


def test_the_nearest_settings_hold_the_policy(audit: Audit, tmp_path: Path, run: Run) -> None:
    said = audit(good(), policy="[audit.limits]\nparameters = 1\n")
    assert said.status("M001") == "failed"
    (tmp_path / "sub").mkdir()
    assert run("audit", "../m", cwd=tmp_path / "sub").code == 1
    assert run("audit", "m", "--isolated", cwd=tmp_path).code == 0
    (tmp_path / "other.toml").write_text("[audit.limits]\nparameters = 4\n")
    assert run("audit", "m", "--policy", "other.toml", cwd=tmp_path).code == 0
    assert run("audit", "m", "--config", "other.toml", cwd=tmp_path).code == 0


def test_pyproject_holds_it_as_a_table_of_the_tool(run: Run, tmp_path: Path) -> None:
    text = "[tool.mscope.audit.limits]\nparameters = 1\n"
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "pyproject.toml": text})
    assert run("audit", "m", cwd=tmp_path).code == 1
    assert run("audit", "m", "--policy", "pyproject.toml", cwd=tmp_path).code == 1


def test_settings_of_the_command_stand_beside_the_policy(run: Run, tmp_path: Path) -> None:
    text = "[audit]\nformat = 'json'\nselect = ['F']\n"
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "mscope.toml": text})
    found = json.loads(run("audit", "m", cwd=tmp_path).out)
    assert {each["id"][0] for each in found["rules"]} == {"F"}
    (tmp_path / "mscope.toml").write_text("[audit]\nformt = 'json'\n")
    done = run("audit", "m", cwd=tmp_path)
    assert done.code == 2
    assert "did you mean format" in done.err
    assert run("params", "m", cwd=tmp_path).code == 2  # a setting that no command knows


def test_a_policy_is_no_setting_of_other_commands(run: Run, tmp_path: Path) -> None:
    text = "[audit]\nselect = ['F']\n[audit.ignore]\nP001 = 'why'\n[[audit.models]]\nmatch = 'x'\n"
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "mscope.toml": text})
    assert run("params", "m", cwd=tmp_path).code == 0


def test_ignored_rules_are_shown_with_their_reason(audit: Audit) -> None:
    policy = "[audit.ignore]\nP001 = 'internal'\nS = 'scanned elsewhere'\n"
    said = audit(good(README__md=None), policy=policy)
    assert said.status("P001") == "skipped"
    assert said.reason("P001") == "ignored: internal"
    assert said.status("P003") == "failed"


def test_the_command_line_is_stronger(audit: Audit) -> None:
    policy = "[audit]\nselect = ['F']\nfail-on = 'note'\n[audit.ignore]\nP003 = 'none here'\n"
    files = good(README__md=None)
    said = audit(files, "--select", "P003", policy=policy)
    assert (said.status("P003"), said.code) == ("failed", 1)
    said = audit(None, "--select", "P", "--ignore", "P003", "--fail-on", "error")
    assert (said.status("P003"), said.reason("P003")) == ("skipped", "ignored")
    assert said.code == 0


@pytest.mark.parametrize(
    ("policy", "argv", "left"),
    [
        ("select = ['P', 'S']", ("--ignore", "P"), "S"),
        ("select = ['P003', 'S']", ("--ignore", "P"), "S"),
        ("select = ['P', 'S']", ("--select", "P", "--ignore", "P003"), "P"),
        ("ignore = ['S', 'P003']", ("--select", "S,P003"), "SP"),
        ("models = [{ match = 'm', select = ['P', 'S'] }]", ("--ignore", "P"), "S"),
        ("models = [{ match = 'm', ignore = ['S', 'P003'] }]", ("--select", "S,P003"), "SP"),
    ],
)
def test_an_option_wins_over_any_part_of_a_file(
    audit: Audit, policy: str, argv: tuple[str, ...], left: str
) -> None:
    said = audit(good(), *argv, policy=f"[audit]\n{policy}\n")
    assert said.code == 0, said.err
    run = {each["id"] for each in said.document["rules"] if each["reason"] != "ignored"}
    assert {name[0] for name in run} == set(left)


@pytest.mark.parametrize(
    ("policy", "argv", "words"),
    [
        ("", ("--select", "N"), "N has no rules yet"),
        ("", ("--select", "P003", "--ignore", "P003"), "P003 is selected and ignored"),
        ("select = ['P']", ("--ignore", "P"), "nothing is left"),
        ("models = [{ match = 'm', select = ['P'] }]", ("--ignore", "P"), "nothing is left"),
    ],
)
def test_options_that_leave_nothing(
    audit: Audit, policy: str, argv: tuple[str, ...], words: str
) -> None:
    said = audit(good(), *argv, policy=f"[audit]\n{policy}\n")
    assert said.code == 2
    assert words in said.err
    assert "the command line" in said.err


@pytest.mark.parametrize("flag", ["--policy", "--config"])
def test_a_policy_that_is_a_folder(run: Run, tmp_path: Path, flag: str) -> None:
    folders.write(tmp_path / "m", good())
    done = run("audit", "m", flag, str(tmp_path), cwd=tmp_path)
    assert done.code == 2
    assert f"{flag} {tmp_path}: it is a folder" in done.err


def test_every_scheme_that_can_be_met_may_be_named() -> None:
    known = ["none", "nf4", "bitsandbytes", "FP8", "fp8-block", "gptq", "Q4_K", "q8_0", "mxfp4"]
    found = policy_file.read({"limits": {"quantization": known[1:]}}, "p").base.limits
    assert found.quantization == tuple(name.lower() for name in known[1:])


def test_severities_of_the_policy(audit: Audit) -> None:
    policy = "[audit.severity]\nP = 'note'\nP003 = 'error'\n"
    said = audit(good(README__md=None), "--select", "P", policy=policy)
    assert said.code == 1
    assert said.one("P003")["severity"] == "error"
    assert said.one("P001")["severity"] == "note"


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("note", 1)])
def test_fail_on_says_from_which_severity_it_fails(audit: Audit, fail_on: str, code: int) -> None:
    said = audit(good(README__md=None), "--select", "P003", "--fail-on", fail_on)
    assert said.code == code
    assert said.document["passed"] is (code == 0)


def test_overrides_hold_where_their_glob_fits(audit: Audit, tmp_path: Path, run: Run) -> None:
    policy = (
        "[audit.limits]\nparameters = 1\n"
        "[[audit.models]]\nmatch = ['big-*', 'm']\nlimits = { parameters = '1K' }\n"
        "[[audit.models]]\nmatch = 'm'\nignore = { P003 = 'private' }\n"
    )
    said = audit(good(README__md=None), policy=policy)
    assert said.status("M001") == "passed"
    assert said.reason("P003") == "ignored: private"
    folders.write(tmp_path / "other", good())
    assert run("audit", "other", cwd=tmp_path).code == 1


def test_an_override_may_select_what_the_rest_ignores(audit: Audit) -> None:
    policy = "[audit.ignore]\nP003 = 'seldom'\n[[audit.models]]\nmatch = 'm'\nselect = ['P003']\n"
    said = audit(good(README__md=None), policy=policy)
    assert [each["id"] for each in said.document["rules"]] == ["P003"]
    assert said.status("P003") == "failed"


def test_a_policy_file_without_a_policy(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, {"m/a.safetensors": folders.weights("a"), "p.toml": "units = 'si'\n"})
    done = run("audit", "m", "--policy", "p.toml", cwd=tmp_path)
    assert done.code == 2
    assert "no [audit] table" in done.err
    assert run("audit", "m", "--policy", "q.toml", cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("typed", "number"), [("8B", 8 * 10**9), ("70.6M", 70_600_000), ("1_000", 1000), (5, 5)]
)
def test_counts(typed: object, number: int) -> None:
    found = policy_file.read({"limits": {"parameters": typed}}, "p")
    assert found.base.limits.parameters == number


@pytest.mark.parametrize(
    ("typed", "number"),
    [("20GiB", 20 * 2**30), ("1.5 GB", 1_500_000_000), ("512", 512), ("0.5kib", 512)],
)
def test_sizes(typed: object, number: int) -> None:
    assert policy_file.read({"limits": {"bytes": typed}}, "p").base.limits.bytes == number


def test_every_rule_has_an_id_of_its_family_a_reason_and_a_remedy() -> None:
    for name, rule in rules.every().items():
        assert name[0] in rules.FAMILIES
        assert len(name) == 4
        assert name[1:].isdigit()
        assert rule.why()
        assert rule.remedy().endswith(".")
        assert not rule.title.endswith(".")
        assert rule.severity in ("error", "warning", "note")
