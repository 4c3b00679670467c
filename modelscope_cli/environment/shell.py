"""What `python` and `pip` mean in this shell."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from shutil import which
from typing import NamedTuple

from modelscope_cli.environment.layout import read_text

_MAX_BYTES = 4_096
# pip writes this where the path is too long for a #! line, or has a space in it.
_TRAMPOLINE = re.compile(r"""^'''exec' (?:"([^"\n]+)"|(\S+)) """, re.M)


class Shell(NamedTuple):
    """The programs on PATH; `pip_python` is the interpreter that pip runs, None where unknown."""

    python: str | None = None
    pip: str | None = None
    pip_python: str | None = None

    def agree(self) -> bool | None:
        """Whether pip installs for that python; None where that cannot be told."""
        if self.python is None or self.pip_python is None:
            return None
        return same_environment(self.python, self.pip_python)


def look(environ: Mapping[str, str]) -> Shell:
    """Look along PATH."""
    path = environ.get("PATH")
    python = which("python", path=path) or which("python3", path=path)
    pip = which("pip", path=path) or which("pip3", path=path)
    return Shell(python, pip, None if pip is None else _interpreter(pip, path))


def same_environment(one: str, other: str) -> bool:
    """Whether two interpreters install into the same place.

    A link in a virtual environment leads to the base's program, and is another environment.
    """
    folders = [os.path.realpath(os.path.dirname(os.path.abspath(each))) for each in (one, other)]
    if folders[0] == folders[1]:
        return True
    if any(os.path.isfile(os.path.join(f, os.pardir, "pyvenv.cfg")) for f in folders):
        return False
    return os.path.realpath(one) == os.path.realpath(other)


def _interpreter(script: str, path: str | None) -> str | None:
    text = read_text(script, _MAX_BYTES)
    if not text.startswith("#!"):
        return None
    if match := _TRAMPOLINE.search(text):
        return match[1] or match[2]
    words = text[2:].partition("\n")[0].split()
    if words[:1] and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
        words[:1] = filter(None, [which(words[0], path=path) if words else None])
    name = os.path.basename(words[0]) if words else ""
    return words[0] if re.match(r"(?:python|pypy)[\d.]*(?:\.exe)?$", name) else None
