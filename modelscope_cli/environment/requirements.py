"""What installed packages demand of each other, from their metadata."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from modelscope_cli.environment.layout import read_text
from modelscope_cli.environment.packages import WATCHED, Distribution, Installed, canonical

_MAX_BYTES = 1_000_000
# transformers holds these against the installed versions when a feature is used.
_OWN_LIMITS = re.compile(r'^([A-Z_]+)_(MIN|MAX)_VERSION = "([\w.]{1,40})"$', re.M)
_OPERATORS = {"MIN": ">=", "MAX": "<="}


class Conflict(NamedTuple):
    """`package` demands `requirement`; `found` is the version that is there, None for none."""

    package: str
    version: str
    requirement: str
    found: str | None


def conflicts(packages: Installed, python: str, platform: str) -> list[Conflict]:
    """What the watched packages demand and do not find, each once."""
    found: dict[tuple[str, str], Conflict] = {}
    for name in WATCHED:
        package = packages.get(name)
        if package is None:
            continue
        for requirement in _requirements(package, packages, python, platform):
            there = packages.version(canonical(requirement.name))
            if not _satisfied(requirement.specifier, there):
                short = f"{canonical(requirement.name)}{requirement.specifier}"
                found.setdefault((name, short), Conflict(name, package.version, short, there))
    return list(found.values())


def _requirements(
    package: Distribution, packages: Installed, python: str, platform: str
) -> Iterator[Requirement]:
    for line in package.requires or ():
        try:
            requirement = Requirement(line)
            # An extra stands for what it is called after, where that is installed: transformers
            # asks for `torch>=2.6; extra == "torch"`, and turns torch off where it is older.
            extra = canonical(requirement.name)
            known = extra if extra in WATCHED and packages.get(extra) else ""
            if _applies(requirement.marker, known, python, platform):
                yield requirement
        except (InvalidRequirement, UndefinedEnvironmentName, InvalidVersion):
            continue
    if package.name == "transformers":
        yield from _limits_of_transformers(package, packages)


def required(package: Distribution, names: re.Pattern[str], platform: str) -> str | None:
    """The first two numbers of the one version that a package demands of another by those names.

    `12.1` of `nvidia-cuda-runtime-cu12==12.1.105`; None where nothing is so demanded here.
    """
    for line in package.requires or ():
        try:
            each = Requirement(line)
            if not names.match(canonical(each.name)) or not _applies_on(each.marker, platform):
                continue
        except (InvalidRequirement, UndefinedEnvironmentName, InvalidVersion):
            continue
        if match := re.fullmatch(r"===?(\d+\.\d+)(?:\.[\d.*]+)?", str(each.specifier)):
            return match[1]
    return None


_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}


def _applies_on(marker: Marker | None, platform: str) -> bool:
    there = {"sys_platform": platform, "platform_system": _SYSTEMS.get(platform, ""), "extra": ""}
    return marker is None or marker.evaluate(there)


def _applies(marker: Marker | None, extra: str, python: str, platform: str) -> bool:
    if marker is None:
        return True
    there = {
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": platform,
        "platform_system": _SYSTEMS.get(platform, ""),
    }
    return any(marker.evaluate({**there, "extra": each}) for each in ("", extra))


def _limits_of_transformers(package: Distribution, packages: Installed) -> Iterator[Requirement]:
    """`BITSANDBYTES_MIN_VERSION = "0.46.1"` and the like, in its source; for what is installed."""
    path = os.path.join(package.folder, "transformers", "utils", "import_utils.py")
    for name, side, version in _OWN_LIMITS.findall(read_text(path, _MAX_BYTES)):
        if packages.get(other := canonical(name)) is not None:
            yield Requirement(f"{other}{_OPERATORS[side]}{version}")


def _satisfied(specifier: SpecifierSet, found: str | None) -> bool:
    if found is None:
        return False
    try:
        return specifier.contains(Version(found), prereleases=True)
    except InvalidVersion:
        return True  # a version of nobody's grammar: nothing is known against it
