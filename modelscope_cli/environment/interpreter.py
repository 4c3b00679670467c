"""Which Python is looked at, and where it finds its packages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from shutil import which
from typing import Any, NamedTuple

from modelscope_cli.environment import layout
from modelscope_cli.environment.asking import Answer, ask
from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.facts import Unknown

OWN = "mscope's own"
MARK = "mscope-answer:"
_SECONDS = 20.0
_MAX_FOLDERS = 1_000
# Started with `-c`, Python would look into the current folder first. A very old one may be asked.
HEAD = "import sys; sys.path = [p for p in sys.path if p]; import json"
_QUESTION = f"""{HEAD}
print({MARK!r} + json.dumps(dict(
    executable=sys.executable, prefix=sys.prefix, base=getattr(sys, "base_prefix", sys.prefix),
    version=".".join(map(str, sys.version_info[:3])), platform=sys.platform, path=sys.path)))
"""


class Interpreter(NamedTuple):
    """A Python and the folders it searches, in order.

    `chosen` says why this one; `python` is None where only its folders are there, `problem`
    why it could not be asked. `gone` are variables that name an environment no longer there.
    """

    chosen: str
    python: str | None
    prefix: str
    base: str
    version: str | Unknown
    platform: str
    path: tuple[str, ...]
    problem: str | None = None
    gone: tuple[str, ...] = ()


def look_for(python: str | None, environ: Mapping[str, str]) -> Interpreter:
    """`--python`, else $VIRTUAL_ENV, else $CONDA_PREFIX, else the one that runs this.

    Raises NotFound where `python` is nothing that could be looked at.
    """
    if python is not None:
        return _typed(python, environ)
    gone: list[str] = []
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if folder := environ.get(name):
            if os.path.isdir(folder):
                return _of_prefix(folder, f"${name}")._replace(gone=tuple(gone))
            gone.append(name)
    return _own(OWN)._replace(gone=tuple(gone))


def _typed(python: str, environ: Mapping[str, str]) -> Interpreter:
    if not python:
        raise UsageError("--python is an empty string", "is a variable unset?")
    path = os.path.expanduser(python)
    if os.path.isdir(path):
        return _of_prefix(os.path.abspath(path), "--python")
    if not os.path.lexists(path):
        found = None if os.path.dirname(path) else which(path, path=environ.get("PATH"))
        if found is None:
            raise NotFound(f"--python {python}: there is no such interpreter or environment")
        path = found
    # Not resolved: what a link in a virtual environment leads to is another environment.
    path = os.path.abspath(path)
    return _asked(path, os.path.dirname(os.path.dirname(path)), "--python")


def _of_prefix(prefix: str, chosen: str) -> Interpreter:
    if chosen != "--python" and os.path.realpath(prefix) == os.path.realpath(sys.prefix):
        return _own(chosen)
    program = layout.program(prefix)
    if program is not None:
        return _asked(program, prefix, chosen)
    if not layout.site_folders(prefix):
        raise NotFound(f"{chosen}: {prefix} holds no Python: no interpreter and no packages")
    return _from_folders(prefix, chosen, "its interpreter is not there, or its link leads nowhere")


def _own(chosen: str) -> Interpreter:
    current = os.path.abspath(os.curdir)
    path = [folder for folder in sys.path if folder and folder != current]
    version = ".".join(map(str, sys.version_info[:3]))
    return Interpreter(
        chosen, sys.executable, sys.prefix, sys.base_prefix, version, sys.platform, tuple(path)
    )


def _asked(program: str, prefix: str, chosen: str) -> Interpreter:
    answer = ask([program, "-c", _QUESTION], seconds=_SECONDS)
    told = marked(answer)
    if told is not None and (found := _understood(told, program, chosen)) is not None:
        return found
    if not layout.may_be_program(program) or not layout.site_folders(prefix):
        raise NotFound(f"{chosen}: {program} is no Python that answers: {_why_not(answer)}")
    return _from_folders(prefix, chosen, f"{program} does not answer: {_why_not(answer)}")


def marked(answer: Answer) -> dict[str, Any] | None:
    """The object behind our mark: whatever else a start-up file or an import prints."""
    for line in reversed(answer.out.splitlines()):
        if line.startswith(MARK):
            try:
                told = json.loads(line[len(MARK) :])
            except (ValueError, RecursionError):
                return None
            return told if isinstance(told, dict) else None
    return None


def _understood(told: dict[str, Any], program: str, chosen: str) -> Interpreter | None:
    texts = [told.get(key) for key in ("prefix", "base", "version", "platform")]
    path = told.get("path")
    if not isinstance(path, list) or not all(isinstance(text, str) for text in texts):
        return None
    prefix, base, version, platform = map(str, texts)
    folders = [each for each in path[:_MAX_FOLDERS] if isinstance(each, str) and "\0" not in each]
    return Interpreter(chosen, program, prefix, base, version, platform, tuple(folders))


def _why_not(answer: Answer) -> str:
    if answer.problem is not None:
        return answer.problem
    last = (answer.err.strip().splitlines() or [""])[-1]
    return last[:200] or f"it ends with code {answer.code} and says nothing to the point"


def _from_folders(prefix: str, chosen: str, problem: str) -> Interpreter:
    version = layout.python_version(prefix) or Unknown("no pyvenv.cfg or folder says it")
    path = layout.search_path(prefix)
    return Interpreter(chosen, None, prefix, prefix, version, sys.platform, path, problem)
