"""The program as a process: signals, pipes, closed streams, encodings, a folder that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_cli.sources.local import LocalFile
from tests.builders import folders
from tests.running import ROOT, Run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with one weight file and a configuration."""
    files = {"model.safetensors": folders.weights("layer.w"), "config.json": folders.BERT}
    return folders.write(tmp_path / "m", files)


# Ctrl-C: 130


def test_interrupted_while_reading(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFile, "read_at", interrupted)
    assert run("params", str(model)) == (130, "", "")


@pytest.mark.parametrize("moment", ["start", "reading"])
def test_ctrl_c(moment: str, model: Path) -> None:
    """A signal to a real process: while it imports, and while a read takes long."""
    slow = "import modelscope_cli.cli" if moment == "start" else (
        "from modelscope_cli.sources.local import LocalFile as F; F.read_at = lambda *_: ready()"
    )  # fmt: skip
    program = (
        "import sys, time\n"
        "def ready(*_):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
        f"{slow}\n"
        "if sys.argv.pop(1) == 'start': sys.modules['modelscope_cli.cli'].run = ready\n"
        "from modelscope_cli.__main__ import run\n"
        "run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, moment, "params", str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


# Pipes, and terminals that cannot show everything


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("argv", [["params"], ["params", "--json"], ["-V"]])
def test_a_full_disk_behind_stdout(argv: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(_command(*argv), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "mscope: error: stdout cannot be written: No space left on device"
    ]


@pytest.mark.parametrize(
    "argv",
    [["params"], ["params", "--json"], ["params", "-f", "jsonl"], ["config"], ["params", "-h"],
     ["--show-completion", "bash"], ["-V"]],
)  # fmt: skip
@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_seen_enough(argv: list[str], lines: int) -> None:
    process = subprocess.Popen(
        _command(*argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == 0


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_stream_that_the_shell_closed(closed: str) -> None:
    script = f'exec {closed}>&-; exec "$@"'
    for argv, code in ((["params", "builtin:huozi3"], 0), (["params", "./missing"], 3)):
        done = subprocess.run(
            ["sh", "-c", script, "sh", *_command(*argv)],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == code
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("argv", [["-f", "table"], ["-f", "md"], ["--json"], ["--color", "always"]])
def test_an_encoding_that_lacks_a_character(encoding: str, argv: list[str], tmp_path: Path) -> None:
    name = "層.weight"
    folders.write(tmp_path, {"model.safetensors": folders.weights(name)})
    done = subprocess.run(
        _command("params", str(tmp_path), *argv),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert name in done.stdout.decode(encoding) or b"\\u5c64.weight" in done.stdout


def test_help_in_ascii() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(_command("params", "-h"), capture_output=True, env=env, check=False)
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_a_name_on_the_command_line_that_is_no_text(run_process: Run) -> None:
    done = subprocess.run(
        [*_command("params"), b"./\xff\xfe.safetensors"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.decode().startswith("mscope: error: ./\\udcff\\udcfe.safetensors: No such")


def test_a_current_folder_that_was_removed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    for argv, code in ((["params"], 0), (["params", "./x"], 3), (["params", "x/y"], 3)):
        gone.mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", script, str(gone), *_command(*argv)],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == code, done.stderr


def _command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "modelscope_cli", *argv]
