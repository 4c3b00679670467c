"""Where an environment keeps its packages, told from its folders alone.

For an interpreter that does not run: its base was removed, or it is another system's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

_MAX_BYTES = 65_536
_MAX_PTH_LINES = 200
_LIBRARIES = ("lib", "lib64")
_PYTHON_FOLDER = re.compile(r"(?:python|pypy)(\d+(?:\.\d+)?)$")
_PROGRAM = re.compile(r"(?:python|pypy)[\d.]*(?:\.exe)?$")
_PACKAGES = ("site-packages", "dist-packages")
_PROGRAMS = (
    ("bin", "python"),
    ("bin", "python3"),
    ("Scripts", "python.exe"),
    ("python.exe",),  # conda on Windows
)


def program(prefix: str) -> str | None:
    """The interpreter of an environment; one whose link dangles is none."""
    for parts in _PROGRAMS:
        path = os.path.join(prefix, *parts)
        if os.path.isfile(path):
            return path
    return None


def may_be_program(path: str) -> bool:
    """Whether a file is an environment's interpreter by its place and name; it may not run."""
    folder, name = os.path.split(path)
    at_home = os.path.basename(folder).lower() in ("bin", "scripts") or name == "python.exe"
    return at_home and _PROGRAM.match(name) is not None


def search_path(prefix: str) -> tuple[str, ...]:
    """Folders with packages, in the order in which they are searched.

    Lines of `.pth` files that name a folder count, lines that would be run do not.
    """
    found: list[str] = []
    for folder in site_folders(prefix):
        found += [folder, *_named_in_pth(folder)]
    settings = venv_settings(prefix)
    if settings.get("include-system-site-packages", "").lower() == "true":
        home = settings.get("home", "")
        base = os.path.dirname(home) if os.path.basename(home) == "bin" else home
        found += site_folders(base) if base else []
    return tuple(dict.fromkeys(found))


def site_folders(prefix: str) -> list[str]:
    r"""`lib/python3.X/site-packages`, Debian's `dist-packages`, or Windows' `Lib\site-packages`."""
    found = []
    for library in _names(prefix):
        if library.lower() not in _LIBRARIES:
            continue
        inner = os.path.join(prefix, library)
        names = _names(inner)
        found += [os.path.join(inner, name) for name in _PACKAGES if name in names]
        for name in names:
            if _PYTHON_FOLDER.match(name):
                deeper = os.path.join(inner, name)
                found += [os.path.join(deeper, each) for each in _PACKAGES]
    return [folder for folder in found if os.path.isdir(folder)]


def python_version(prefix: str) -> str | None:
    """From `pyvenv.cfg`, else from the name of the library folder."""
    settings = venv_settings(prefix)
    if version := settings.get("version") or settings.get("version_info"):
        return version
    for folder in site_folders(prefix):
        if match := _PYTHON_FOLDER.match(os.path.basename(os.path.dirname(folder))):
            return match[1]
    return None


def venv_settings(prefix: str) -> Mapping[str, str]:
    """The keys of `pyvenv.cfg`; none where that is not a virtual environment."""
    lines = read_text(os.path.join(prefix, "pyvenv.cfg"), _MAX_BYTES).splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, mark, value in pairs if mark}


def read_text(path: str, limit: int) -> str:
    """The start of a file as text; empty where it cannot be read or is no regular file."""
    try:
        # A pipe in its place would be waited for.
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as stream:
            return stream.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def _named_in_pth(folder: str) -> Iterator[str]:
    for name in _names(folder):
        if not name.endswith(".pth"):
            continue
        text = read_text(os.path.join(folder, name), _MAX_BYTES)
        for line in text.splitlines()[:_MAX_PTH_LINES]:
            if not line.strip() or "\0" in line or line.startswith(("#", "import ", "import\t")):
                continue
            path = os.path.normpath(os.path.join(folder, line.rstrip()))
            if os.path.isdir(path):
                yield path


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
