"""Completion in the shells themselves, set up as README says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import shells
from tests.running import ROOT, installed_command
from tests.shells import Fish, InteractiveShell

_SCRIPTS = ROOT / "completions"
_ZSH_ON = "autoload -Uz compinit && compinit -u -D"
_SETUPS = {
    "bash": 'eval "$(mscope --show-completion bash)"',
    "bash-file": f'. "{_SCRIPTS}/mscope.bash"',
    "zsh": f'{_ZSH_ON}; eval "$(mscope --show-completion zsh)"',
    "zsh-fpath": f'fpath=("{_SCRIPTS}" $fpath); {_ZSH_ON}',
    "fish": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shells stand: a folder with something to name."""
    work = tmp_path_factory.mktemp("shells") / "work"
    (work / "bundle").mkdir(parents=True)
    (work / "my model.gguf").touch()
    return work


@pytest.fixture(scope="module", params=list(_SETUPS))
def shell(request: pytest.FixtureRequest, folder: Path) -> Iterator[InteractiveShell | Fish]:
    """One shell for all tests of this file, with completion installed."""
    name = request.param.partition("-")[0]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    programs = installed_command(folder.parent / "bin")
    env = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "HF_HOME": str(folder.parent / "hf"),
        "LC_ALL": "C.UTF-8",
    }
    if name == "fish":
        completions = folder.parent / ".config" / "fish" / "completions"
        completions.mkdir(parents=True)
        shutil.copy(_SCRIPTS / "mscope.fish", completions)
        yield Fish(env, folder)
    else:
        start = shells.bash if name == "bash" else shells.zsh
        with start(_SETUPS[request.param], env, folder) as interactive:
            yield interactive


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("mscope par", "mscope params "),
        ("mscope params --form", "mscope params --format "),
        ("mscope params --format=cs", "mscope params --format=csv "),
        ("mscope params -f cs", "mscope params -f csv "),
        ("mscope params builtin:hu", "mscope params builtin:huozi3 "),
        ("mscope params -o x.json builtin:hu", "mscope params -o x.json builtin:huozi3 "),
        ("mscope --show-completion fi", "mscope --show-completion fish "),
    ],
)
def test_one_candidate_is_put_on_the_line(
    shell: InteractiveShell | Fish, typed: str, line: str
) -> None:
    assert shell.line_after(typed) == line


@pytest.mark.parametrize(
    ("typed", "candidates"),
    [
        ("mscope params -f js", {"json", "jsonl"}),
        ("mscope params --fo", {"--format", "--fold"}),
        ("mscope params --no-fo", {"--no-fold"}),
    ],
)
def test_several_candidates(
    shell: InteractiveShell | Fish, typed: str, candidates: set[str]
) -> None:
    assert shell.candidates(typed) == candidates


def test_a_model_may_be_a_builtin_or_a_path(shell: InteractiveShell | Fish) -> None:
    found = {name.replace("\\", "").rstrip("/") for name in shell.candidates("mscope params bu")}
    assert {"builtin:huozi3", "builtin:llama3-8b", "bundle"} <= found


@pytest.mark.parametrize("typed", ["mscope params ./bun", "mscope params -o bun"])
def test_paths(shell: InteractiveShell | Fish, typed: str) -> None:
    assert shell.line_after(typed).rstrip(" ") == f"{typed}dle/"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_an_open_quote(shell: InteractiveShell | Fish, quote: str) -> None:
    line = shell.line_after(f"mscope params {quote}builtin:hu")
    assert line.replace(quote, "") == "mscope params builtin:huozi3 "


def test_no_file_names_where_none_may_stand(shell: InteractiveShell | Fish) -> None:
    assert "bundle" not in " ".join(shell.candidates("mscope params --match bun")).split()
