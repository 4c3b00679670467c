"""How tests run the program: in this process, or as the fresh process that a user starts."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 60


class Completed(NamedTuple):
    """What a run left behind."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """The `run` and `run_process` fixtures."""

    def __call__(
        self,
        *argv: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Completed: ...


def run(
    *argv: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """`mscope argv` through `main`, into pipes. `env` is added to the test's environment."""
    from modelscope_cli.cli import main

    out, err = _pipe(), _pipe()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", ["mscope", *argv])
        patch.setattr(sys, "stdin", io.StringIO(stdin or ""))
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        code = main(argv)
    return Completed(code, _written(out), _written(err))


def run_process(
    *argv: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """`mscope argv` as a process of its own."""
    return run_python("-m", "modelscope_cli", *argv, cwd=cwd, env=env, stdin=stdin)


def run_python(
    *argv: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """A fresh interpreter of the kind that runs the tests, with the package on its path."""
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        input=(stdin or "").encode(),
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())


class Golden:
    """Compares text with a committed file, or writes the file with `--update-golden`."""

    def __init__(self, folder: Path, *, update: bool) -> None:
        self._folder = folder
        self._update = update

    def __call__(self, name: str, text: str) -> None:
        path = self._folder / name
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"{path} is not there: run pytest with --update-golden, and look"
        assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()


def installed_command(folder: Path, argv: Sequence[str] = ()) -> Path:
    """A folder for PATH in which `mscope` runs the package that is being tested."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mscope"
    start = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m modelscope_cli'
    path.write_text(f'#!/bin/sh\n{" ".join([start, *argv])} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return folder


def _pipe() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
