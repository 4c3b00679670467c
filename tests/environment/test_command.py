"""`mscope env`: which Python it looks at, what it shows, and what it never does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_cli.environment import hf_cache
from modelscope_cli.environment.packages import WATCHED, canonical
from modelscope_cli.facts import Unknown
from tests.builders import environments as made
from tests.builders.hfcache import Cache
from tests.documents import document
from tests.environment.conftest import Ask, Machine
from tests.running import Run


def _env(**variables: Path) -> dict[str, str]:
    return {name: str(value) for name, value in variables.items()}


def test_which_python_is_looked_at(machine: Machine, ask: Ask, tmp_path: Path) -> None:
    made.package(machine.site, "torch", "2.5.1+cpu")
    conda = tmp_path / "conda"
    made.package(made.venv(conda), "torch", "2.1.0+cpu")
    for python, env, chosen, version in (
        (str(conda), _env(VIRTUAL_ENV=machine.prefix), "--python", "2.1.0+cpu"),
        (None, _env(VIRTUAL_ENV=machine.prefix, CONDA_PREFIX=conda), "$VIRTUAL_ENV", "2.5.1+cpu"),
        (None, _env(CONDA_PREFIX=conda), "$CONDA_PREFIX", "2.1.0+cpu"),
        (str(machine.prefix / "bin" / "python"), {}, "--python", "2.5.1+cpu"),
        ("python", {}, "--python", "2.5.1+cpu"),  # by its name on PATH
    ):
        told = ask(python=python, env=env)
        assert told.document["environment"]["chosen"] == chosen
        assert told.document["packages"]["torch"] == version


def test_without_any_it_is_the_python_that_runs(ask: Ask) -> None:
    environment = ask(python=None).document["environment"]
    assert environment["chosen"] == "mscope's own"
    assert environment["prefix"] == sys.prefix
    assert environment["version"] == ".".join(map(str, sys.version_info[:3]))
    assert os.getcwd() not in environment["search_path"]


def test_conflicts_are_those_that_pip_finds(ask: Ask) -> None:
    """In the environment of the tests, of the packages that are looked at closely."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "check"],
        check=False, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ).stdout.decode()  # fmt: skip
    if "requirements" not in told and "require" not in told:
        pytest.skip("there is no pip in this environment")
    theirs = {
        (canonical(line.split()[0]), canonical(re.split(r"[^\w.-]", wanted)[0]))
        for line in told.splitlines()
        if (wanted := line.partition(" requires ")[2] or line.partition(" has requirement ")[2])
    }
    problems = ask(python=None).problems
    ours = {
        (what.split()[0], re.split(r"[^\w.-]", what.partition(" needs ")[2])[0])
        for what in problems
        if " needs " in what
    }
    assert ours == {(name, wanted) for name, wanted in theirs if name in WATCHED}


def test_an_active_environment_whose_python_is_not_on_path(
    machine: Machine, ask: Ask, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    made.venv(other)
    assert ask(python=None, env=_env(VIRTUAL_ENV=machine.prefix)).problems == []
    told = ask(python=None, env=_env(VIRTUAL_ENV=other))
    assert told.problems == ["python is not that of $VIRTUAL_ENV"]
    assert ask(python=str(other)).problems == []


def test_an_environment_that_is_gone(machine: Machine, ask: Ask, tmp_path: Path) -> None:
    env = _env(VIRTUAL_ENV=tmp_path / "gone", CONDA_PREFIX=machine.prefix)
    told = ask("--check", python=None, env=env)
    assert told.problems == ["$VIRTUAL_ENV names an environment that is not there"]
    assert told.document["environment"]["chosen"] == "$CONDA_PREFIX"


@pytest.mark.parametrize("python", ["nothing", "./nothing", "/nowhere/bin/python", "empty"])
def test_a_python_that_is_not_there(python: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("env", "--python", python, cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("python", ["/etc/passwd", "/dev/null", "etc/words", "bin/ls"])
def test_a_file_that_is_no_python_stands_for_no_environment(
    python: str, run: Run, tmp_path: Path
) -> None:
    """Although there are packages where an environment of it would have them."""
    (tmp_path / "lib" / "python3" / "dist-packages").mkdir(parents=True)
    made.script(tmp_path / "bin" / "ls", "echo hello")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "words").write_text("hello")
    done = run("env", "--python", python, cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "is no Python that answers" in done.err


def test_an_empty_python_is_a_usage_error(run: Run) -> None:
    assert run("env", "--python", "").code == 2


def test_an_interpreter_whose_base_is_gone(ask: Ask, tmp_path: Path) -> None:
    site = made.venv(tmp_path / "old", runs=False)
    made.package(site, "torch", "2.0.0+cpu")
    for python in ("old", "old/bin/python"):
        told = ask("--check", python=str(tmp_path / python))
        assert told.problems == ["the interpreter does not run"]
        assert told.document["packages"]["torch"] == "2.0.0+cpu"
        assert told.document["environment"]["python"] is None
        assert told.document["environment"]["version"] == "3.11.7"


HOSTILE = {
    "endless": "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
    "no Python": "echo hello",
    "no JSON": "echo mscope-answer:{",
    "no object": "echo 'mscope-answer:[1]'",
    "too deep": "printf 'mscope-answer:'; cat deep",
    "wrong types": 'echo \'mscope-answer:{"path": [1], "prefix": 2}\'',
    "a signal": "kill -SEGV $$",
    "binary": "printf '\\000\\377\\n'",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_interpreters_that_are_none(name: str, run: Run, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("[" * 100_000)
    body = HOSTILE[name].replace("cat deep", f"cat {tmp_path / 'deep'}")
    lone = made.script(tmp_path / "lone", body)
    assert run("env", "--python", str(lone)).code == 3
    made.package(made.venv(tmp_path / "e"), "torch", "2.0.0+cpu")
    made.script(tmp_path / "e" / "bin" / "python", body)
    told = ask(python=str(tmp_path / "e"))
    assert told.problems == ["the interpreter does not run"]
    assert told.document["packages"]["torch"] == "2.0.0+cpu"


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, run: Run) -> None:
    for name in ("json", "torch", "site", "packaging"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = run("env", "--python", sys.executable, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert not (tmp_path / "ran").exists()


def test_torch_is_not_imported_without_probe(ask: Ask, machine: Machine) -> None:
    """Neither here nor in the interpreter that is asked: its torch would leave a trace."""
    trace = machine.prefix / "imported"
    files = {
        "torch/__init__.py": f"open({str(trace)!r}, 'w')\n",
        "torch/version.py": "cuda = None\n",
    }
    made.package(machine.site, "torch", "2.5.1", files=files)
    (machine.prefix / "bin" / "python").unlink()
    real = f'PYTHONPATH="{machine.site}" exec "{sys.executable}" "$@"'
    made.script(machine.prefix / "bin" / "python", real)
    assert ask().document["packages"]["torch"] == "2.5.1"
    assert not trace.exists()
    told = ask("--probe")
    assert trace.exists()
    assert "torch" in told.problems[0]


SECRETS = {
    "HF_TOKEN": "hf_abcdefghijklmnop",
    "HUGGING_FACE_HUB_TOKEN": "older-secret",
    "HF_DEVICE_CODE_OAUTH_CLIENT_ID": "oauth-secret",
    "SLURM_JWT": "jwt-secret",
    "HF_ENDPOINT": "https://user:endpoint-secret@hub.example",
    "HF_HUB_USER_AGENT_ORIGIN": "by hf_zyxwvutsrqponmlk",
}


@pytest.mark.parametrize("format_", ["table", "json", "md"])
def test_secrets_are_never_shown(format_: str, machine: Machine, run: Run) -> None:
    done = run("env", "--python", str(machine.prefix), "-f", format_, env=SECRETS)
    assert done.code == 0, done.err
    for value in SECRETS.values():
        for part in (value, value.rpartition(":")[2].partition("@")[0], value[-10:]):
            assert part not in done.out.replace("@hub.example", "")
    assert "hub.example" in done.out
    if format_ == "json":
        cache = json.loads(done.out)["cache"]
        assert cache["token"] is True
        assert cache["variables"]["HF_TOKEN"] == "set"


def test_the_token_of_a_stored_login(ask: Ask) -> None:
    assert ask().document["cache"]["token"] is False
    home = Path(os.environ["HF_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    (home / "token").write_text("hf_stored")
    told = ask().document
    assert told["cache"]["token"] is True
    assert "hf_stored" not in json.dumps(told)


def test_the_slurm_job_and_the_settings_in_force(machine: Machine, run: Run, ask: Ask) -> None:
    env = {"SLURM_JOB_ID": "42", "SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "0,1"}
    told = ask(env={**env, "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "yes"}).document
    assert told["environment"]["slurm"] == {"SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_ID": "42"}
    assert told["cuda"]["variables"] == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert told["cache"]["offline"] is True
    assert told["cache"]["path"] == os.environ["HF_HUB_CACHE"]
    table = run("env", "--python", str(machine.prefix), env=env).out
    assert "SLURM_JOB_ID" in table


def test_the_size_of_the_cache_counts_each_file_once(ask: Ask) -> None:
    cache = Cache(Path(os.environ["HF_HUB_CACHE"]))
    cache.add("org/x", "a" * 40, {"config.json": b"{}", "w.bin": bytes(1000)}, ("main",))
    blob = next(path for path in cache.hub.rglob("blobs/*") if path.stat().st_size == 1000)
    os.link(blob, cache.hub / "again")
    told = ask().document["cache"]
    assert (told["bytes"], told["repos"]) == (1000 + 2 + 40, 1)


def test_a_cache_too_large_to_count_is_unknown(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x")
    found = hf_cache.look({"HF_HUB_CACHE": str(tmp_path)}, seconds=-1)
    assert isinstance(found.bytes, Unknown)
    assert found.at_least_bytes == 0


def test_names_out_of_the_environment_are_made_harmless(machine: Machine, run: Run) -> None:
    made.package(machine.site, "peft", "1.0\x1b[31m")
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [("A \x1b[31m100", 1, 1, "8.0")])
    env = {"SLURM_JOB_NAME": "::error::\x1b[31m\u202e"}
    for format_ in ("table", "md", "csv"):
        done = run("env", "--python", str(machine.prefix), "-f", format_, env=env)
        assert done.code == 0
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
        assert not any(line.startswith("::") for line in done.out.splitlines())


def test_rows_are_the_problems(machine: Machine, run: Run) -> None:
    made.torch(machine.site, "2.13.0+cpu", None)
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.A100])
    done = run("env", "--python", str(machine.prefix), "-f", "jsonl", "--check")
    assert done.code == 1
    row = json.loads(done.out)
    assert row["what"] == "a CPU-only torch beside an NVIDIA GPU"
    assert set(row) == {"what", "why", "remedy"}


def test_the_table_says_it_all(machine: Machine, run: Run) -> None:
    made.torch(machine.site, "2.5.1+cu121", "12.1")
    made.nvidia_smi(machine.bin, "535.104.05", "12.2", [made.RTX4090])
    made.nvcc(machine.bin, "12.2")
    lines = run("env", "--python", str(machine.prefix)).out.splitlines()
    assert lines[0] == f"{machine.prefix}/bin/python (--python)"
    assert lines[-1] == "torch cu121, driver up to 12.2, nvcc 12.2: nothing to fix"
    gpu = next(line for line in lines if "RTX 4090" in line)
    assert "23.99 GiB" in gpu
    assert "8.9" in gpu


def test_this_machine(run: Run) -> None:
    """Whatever this is: it is looked at, told in the shape promised, and torch is not imported."""
    before = "torch" in sys.modules
    done = run("env", "--json", "--check")
    assert done.code in (0, 1)
    told = document(done.out)
    assert done.code == int(bool(told["problems"]))
    assert told["environment"]["prefix"] == sys.prefix
    assert ("torch" in sys.modules) == before
