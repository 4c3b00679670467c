"""Environments whose interpreter does not run: what their folders tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_cli.environment import layout
from tests.builders.environments import venv


def test_a_virtual_environment(tmp_path: Path) -> None:
    site = venv(tmp_path, "3.12.1")
    (tmp_path / "lib64").symlink_to("lib")
    assert layout.search_path(str(tmp_path))[0] == str(site)
    assert layout.python_version(str(tmp_path)) == "3.12.1"


@pytest.mark.parametrize(
    "folder",
    [
        "Lib/site-packages",  # Windows
        "lib/python3.11/site-packages",
        "lib/python3/dist-packages",  # Debian
        "lib/pypy3.10/site-packages",
        "lib64/python3.9/site-packages",
    ],
)
def test_layouts_of_several_systems(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    assert layout.search_path(str(tmp_path)) == (str(tmp_path / folder),)


@pytest.mark.parametrize(
    "program", ["bin/python", "bin/python3", "Scripts/python.exe", "python.exe"]
)
def test_where_the_interpreter_lies(program: str, tmp_path: Path) -> None:
    (tmp_path / program).parent.mkdir(exist_ok=True)
    (tmp_path / program).touch()
    assert layout.program(str(tmp_path)) == str(tmp_path / program)


def test_the_version_of_a_folder_that_is_no_virtual_environment(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.10" / "site-packages").mkdir(parents=True)
    assert layout.python_version(str(tmp_path)) == "3.10"
    assert layout.python_version(str(tmp_path / "lib")) is None


def test_pth_files_name_folders_and_nothing_of_them_is_run(tmp_path: Path) -> None:
    site = venv(tmp_path / "env")
    (tmp_path / "more").mkdir()
    (tmp_path / "hidden").mkdir()
    (site / "a.pth").write_text(
        f"# {tmp_path / 'hidden'}\n\n{tmp_path / 'more'}\n../../../../more\nnothing-there\n"
        f"import os; os.mkdir({str(tmp_path / 'ran')!r})\nimport\tos\n\0\n"
    )
    path = layout.search_path(str(tmp_path / "env"))
    assert path == (str(site), str(tmp_path / "more"))
    assert not (tmp_path / "ran").exists()


def test_the_base_is_searched_where_the_environment_says_so(tmp_path: Path) -> None:
    site = venv(tmp_path / "env")
    base = venv(tmp_path / "base")
    settings = tmp_path / "env" / "pyvenv.cfg"
    settings.write_text(f"home = {tmp_path / 'base' / 'bin'}\nversion=3.11.7\n")
    assert layout.search_path(str(tmp_path / "env")) == (str(site),)
    with settings.open("a") as stream:
        stream.write("include-system-site-packages = true\n")
    assert layout.search_path(str(tmp_path / "env")) == (str(site), str(base))


def test_python_itself_searches_the_same_folders(tmp_path: Path) -> None:
    """A real environment, with a `.pth`: its own `sys.path`, asked in this run."""
    prefix, more = tmp_path / "env", tmp_path / "more"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True, timeout=60)
    more.mkdir()
    site = layout.site_folders(str(prefix))[0]
    Path(site, "more.pth").write_text(f"{more}\n")
    told = subprocess.run(
        [prefix / "bin" / "python", "-c", "import sys; print(*sys.path[1:], sep='\\n')"],
        check=True, timeout=60, stdout=subprocess.PIPE, env={},
    ).stdout.decode().splitlines()  # fmt: skip
    searched = [each for each in told if each.startswith(str(tmp_path))]
    ours = [os.path.realpath(each) for each in layout.search_path(str(prefix))]
    assert list(dict.fromkeys(ours)) == searched


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    site = venv(tmp_path)
    (tmp_path / "pyvenv.cfg").unlink()
    for path in (tmp_path / "pyvenv.cfg", site / "a.pth"):
        os.mkfifo(path)
    assert layout.search_path(str(tmp_path)) == (str(site),)
    assert layout.python_version(str(tmp_path)) == "3.11"
