"""What is installed in the folders that a Python searches, from metadata alone: nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from modelscope_cli.environment.layout import read_text

# What is shown, and looked at closely: they must fit each other.
WATCHED = (
    "torch", "transformers", "accelerate", "huggingface-hub", "safetensors", "tokenizers",
    "bitsandbytes", "triton", "kernels", "peft", "diffusers", "sentence-transformers", "numpy",
)  # fmt: skip
# As they are imported and as people write them, where that is not the index's spelling.
_WRITTEN = {"huggingface-hub": "huggingface_hub"}
_METADATA_BYTES = 1_000_000
_MAX_NAMES = 100_000
_MAX_REQUIREMENTS = 1_000
_LONGEST_REQUIREMENT = 500
_ENDINGS = (".dist-info", ".egg-info")


class Distribution(NamedTuple):
    """One installed package, as its metadata folder says it. `folder` is on the search path.

    `requires`: lines as in `Requires-Dist`; None where the metadata cannot be read.
    """

    name: str
    version: str
    folder: str
    requires: tuple[str, ...] | None = ()


class Installed(NamedTuple):
    """Everything on the search path; the first of a name is what `import` finds.

    `leftovers` are folders that an interrupted pip has left behind (`~orch-2.1.dist-info`).
    """

    found: Mapping[str, tuple[Distribution, ...]]
    leftovers: tuple[str, ...] = ()

    def get(self, name: str) -> Distribution | None:
        """What would be imported; None where it is not installed."""
        return next(iter(self.found.get(name, ())), None)

    def version(self, name: str) -> str | None:
        """The version of what would be imported."""
        found = self.get(name)
        return None if found is None else found.version


def canonical(name: str) -> str:
    """A name as package indexes compare it: `huggingface_hub` is `huggingface-hub`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def written(name: str) -> str:
    """A canonical name as people write it: `huggingface_hub`."""
    return _WRITTEN.get(name, name)


def installed(path: Iterable[str]) -> Installed:
    """Read the folders of a search path. A folder reached twice, as by `lib64`, counts once."""
    found: dict[str, list[Distribution]] = {}
    leftovers: list[str] = []
    seen: set[str] = set()
    for folder in path:
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        for entry in _names(folder):
            stem, ending = os.path.splitext(entry)
            if ending not in _ENDINGS:
                continue
            if entry.startswith("~"):
                leftovers.append(os.path.join(folder, entry))
            elif (each := _distribution(folder, entry, stem)) is not None:
                found.setdefault(each.name, []).append(each)
    return Installed({name: tuple(each) for name, each in found.items()}, tuple(leftovers))


def _distribution(folder: str, entry: str, stem: str) -> Distribution | None:
    name, _, rest = stem.partition("-")
    version = rest.partition("-")[0]  # an egg's ends in -py3.11
    if not name:
        return None
    if canonical(name) not in WATCHED:
        return Distribution(canonical(name), version, folder)
    return _closely(Distribution(canonical(name), version, folder), os.path.join(folder, entry))


def _closely(named: Distribution, path: str) -> Distribution:
    files = ("METADATA", "PKG-INFO", "")
    texts = (read_text(os.path.join(path, file).rstrip(os.sep), _METADATA_BYTES) for file in files)
    head = next(filter(None, texts), "").partition("\n\n")[0]
    fields = [line.partition(": ") for line in head.splitlines() if not line.startswith(" ")]
    version = next((value.strip() for key, _, value in fields if key == "Version"), None)
    if version is None:
        return named._replace(requires=None)
    requires = [value.strip() for key, _, value in fields if key == "Requires-Dist"]
    kept = [each for each in requires if len(each) <= _LONGEST_REQUIREMENT]
    return named._replace(version=version[:100], requires=tuple(kept[:_MAX_REQUIREMENTS]))


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:_MAX_NAMES]
    except OSError:  # a search path names zip files and folders that are not there
        return []
