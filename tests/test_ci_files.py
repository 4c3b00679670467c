"""`action.yml` and `.pre-commit-hooks.yaml`: what they run is run, as far as that can be here."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.render import ENDINGS
from tests.builders import audited
from tests.running import ROOT, installed_command

yaml = pytest.importorskip("yaml", reason="PyYAML reads the CI files")
_TIMEOUT_SECONDS = 60


def _load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


ACTION: Mapping[str, Any] = _load("action.yml")
HOOKS = {hook["id"]: hook for hook in _load(".pre-commit-hooks.yaml")}
INSTALL, AUDIT = ACTION["runs"]["steps"]


class Runner:
    """A job's folders and files, as GitHub's runner lays them out."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.temp = folder / "temp"
        for each in (self.work, self.temp):
            each.mkdir()
        self.path = f"{installed_command(folder / 'bin')}{os.pathsep}{os.environ['PATH']}"

    def step(self, step: Mapping[str, Any], **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step with bash as the runner starts it; expressions come only from `env`."""
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        environment = {**os.environ, "PATH": self.path, "RUNNER_TEMP": str(self.temp)}
        environment |= {name: self._value(text, inputs) for name, text in step["env"].items()}
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH"):
            environment[name] = str(self.temp / name)
        script = self.temp / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.work, env={**environment, "GITHUB_ACTIONS": "true"}, text=True,
            capture_output=True, timeout=_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip

    def _value(self, text: str, inputs: Mapping[str, str]) -> str:
        match = re.fullmatch(r"\$\{\{ (inputs|github)\.([\w-]+) \}\}", text)
        assert match, text
        if match[1] == "github":
            return str(ROOT)
        declared = ACTION["inputs"][match[2]]
        return inputs.get(match[2], declared.get("default", ""))

    @property
    def outputs(self) -> dict[str, str]:
        """What the step said in GITHUB_OUTPUT."""
        lines = (self.temp / "GITHUB_OUTPUT").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    made = Runner(tmp_path)
    audited.models(made.work)
    return made


def test_a_job_fails_with_files_annotations_and_a_summary(runner: Runner) -> None:
    done = runner.step(AUDIT, models="good\n# not this one\nbad\n")
    assert done.returncode == 1, done.stderr
    assert "::error file=bad/model.safetensors," in done.stderr
    assert "F001" in done.stdout
    found = runner.outputs
    assert found.pop("exit-code") == "1"
    assert set(found) == {"sarif", "junit", "json"}
    assert all(Path(path).is_file() for path in found.values())
    assert "F001" in (runner.temp / "GITHUB_STEP_SUMMARY").read_text("utf-8")


def test_a_job_passes(runner: Runner) -> None:
    done = runner.step(AUDIT, models="good")
    assert (done.returncode, runner.outputs["exit-code"]) == (0, "0"), done.stderr


def test_inputs_are_options(runner: Runner) -> None:
    policy = runner.work / "p.toml"
    policy.write_text("[audit.limits]\nparameters = 1\n", encoding="utf-8")
    done = runner.step(AUDIT, models="good", policy="p.toml", args="--select M --units si")
    assert done.returncode == 1
    assert "M001" in done.stderr
    done = runner.step(AUDIT, models="good", locked="true")
    assert done.returncode == 2  # there is no lock
    assert "mscope.lock" in done.stderr
    done = runner.step(AUDIT, models="bad", **{"fail-on": "nonsense"})
    assert done.returncode == 2


def test_args_may_be_on_several_lines(runner: Runner) -> None:
    done = runner.step(AUDIT, models="bad", args="--select F\n\n  --ignore F001 \n--ignore F006\n")
    assert "F002" in done.stdout
    assert "P001" not in done.stdout
    found = json.loads(Path(runner.outputs["json"]).read_text("utf-8"))
    assert {each["rule"] for each in found["findings"]}.isdisjoint({"F001", "F006"})


@pytest.mark.parametrize(
    ("locked", "code"),
    [("true", 2), ("TRUE", 2), ("True", 2), ("false", 0), ("False", 0), ("", 0),
     ("yes", 2), ("truee", 2), ("::error::x\n::error::y", 2)],
)  # fmt: skip
def test_locked_is_a_word_in_any_case(runner: Runner, locked: str, code: int) -> None:
    done = runner.step(AUDIT, models="good", locked=locked)
    assert done.returncode == code
    assert runner.outputs["exit-code"] == str(code)
    if code:
        no_lock = locked.lower() == "true"
        assert ("mscope.lock" if no_lock else "locked takes true or false, not ") in done.stderr
    assert not any(line.startswith("::error::") for line in done.stderr.splitlines())


def test_inputs_are_never_run(runner: Runner) -> None:
    hostile = "$(touch owned); `touch owned`; ' \" && touch owned"
    done = runner.step(AUDIT, models=hostile, policy=hostile, args=hostile)
    assert done.returncode != 0
    assert not (runner.work / "owned").exists()
    done = runner.step(AUDIT, models="--list\ngood")  # a name, no option
    assert done.returncode != 0
    assert runner.outputs["exit-code"] != "0"


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({}, f"{ROOT}[scan]"),
        ({"version": "1.2"}, "modelscope-cli[scan]==1.2"),
        ({"extras": ""}, str(ROOT)),
        ({"extras": "scan,live", "version": "1.2"}, "modelscope-cli[scan,live]==1.2"),
        ({"extras": "$(touch owned)"}, f"{ROOT}[$(touch owned)]"),
    ],
)
def test_the_install_step_makes_an_environment_of_its_own(
    runner: Runner, inputs: dict[str, str], what: str
) -> None:
    """With a `python` that says what it was asked for: nothing is downloaded here."""
    fake = runner.temp / "python"
    fake.write_text(
        '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
        f'echo "$@" >> "{runner.temp}/asked"\n',
        encoding="utf-8",
    )
    fake.chmod(0o755)
    done = runner.step(INSTALL, python=str(fake), **inputs)
    assert done.returncode == 0, done.stderr
    asked = (runner.temp / "asked").read_text("utf-8").splitlines()
    assert asked[0] == f"-m venv {runner.temp}/mscope"
    assert asked[1].startswith("-m pip install ")
    assert asked[1].endswith(f" {what}")
    assert not (runner.work / "owned").exists()
    assert (runner.temp / "GITHUB_PATH").read_text().strip() == f"{runner.temp}/mscope/bin"


def test_outputs_are_those_of_the_step() -> None:
    for name, each in ACTION["outputs"].items():
        assert each["value"] == f"${{{{ steps.audit.outputs.{name} }}}}"
    endings = set(re.findall(r'audit(\.[a-z]+)"', AUDIT["run"]))
    assert {".sarif", ".xml", ".json", ".md"} <= endings <= set(ENDINGS)
    used = set(re.findall(r"inputs\.([\w-]+)", str(ACTION["runs"])))
    assert used == set(ACTION["inputs"])


def _hook(name: str, work: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """As pre-commit starts it: the entry's words, `args`, and perhaps file names."""
    programs = installed_command(work.parent / "bin")
    return subprocess.run(
        [*shlex.split(HOOKS[name]["entry"]), *args],
        cwd=work, env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        text=True, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False,
    )  # fmt: skip


def test_hooks_pass_and_fail(runner: Runner) -> None:
    assert _hook("mscope-audit", runner.work, "good").returncode == 0
    assert _hook("mscope-audit", runner.work, "good", "bad").returncode == 1
    files = ["good/model.safetensors", "bad/model.safetensors"]
    pattern = re.compile(HOOKS["mscope-audit-files"]["files"])
    assert all(pattern.search(each) for each in files)
    assert _hook("mscope-audit-files", runner.work, *files[:1]).returncode == 0
    assert _hook("mscope-audit-files", runner.work, *files).returncode == 1


def test_the_model_of_a_hook_may_be_a_setting(runner: Runner) -> None:
    assert _hook("mscope-audit", runner.work).returncode == 2
    (runner.work / "mscope.toml").write_text("model = './bad'\n")
    done = _hook("mscope-audit", runner.work)
    assert done.returncode == 1
    assert "bad" in done.stdout


def test_the_policy_of_weight_files_at_the_top_is_named(runner: Runner) -> None:
    (runner.work / "good" / "model.safetensors").rename(runner.work / "model.safetensors")
    policy = "[audit]\nformat = 'json'\nselect = ['M']\n[audit.limits]\nbytes = 1\n"
    (runner.work / "mscope.toml").write_text(policy)
    done = _hook("mscope-audit-files", runner.work, "model.safetensors")
    assert done.returncode == 0
    assert "not used" in done.stderr
    done = _hook("mscope-audit-files", runner.work, "--config", "mscope.toml", "model.safetensors")
    assert done.stdout.startswith("{")


def test_the_lock_hook_checks_what_was_locked(runner: Runner) -> None:
    assert _hook("mscope-lock", runner.work).returncode == 2
    mscope = runner.path.partition(os.pathsep)[0]
    subprocess.run([f"{mscope}/mscope", "lock", "good"], cwd=runner.work, check=True)
    assert _hook("mscope-lock", runner.work).returncode == 0
    (runner.work / "good" / "new").write_text("x")
    assert _hook("mscope-lock", runner.work).returncode == 1


def test_every_hook_says_what_it_is() -> None:
    for hook in HOOKS.values():
        assert {"id", "name", "description", "entry", "language"} <= set(hook)
        assert hook["language"] == "python"
        re.compile(hook.get("files", ""))
