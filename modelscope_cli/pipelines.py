"""Models made of parts: diffusers' model_index.json, sentence-transformers' modules.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Component
from modelscope_cli.formats import config
from modelscope_cli.sources.base import Source

MAX_COMPONENTS = 256

Described = tuple[tuple[Component, ...], Mapping[str, Any] | None, str | None]


class ComponentPathEscape(FormatError):
    """A component's folder is named so that it would lie outside the model."""


class TooManyComponents(FormatError):
    """More components than any pipeline has."""


def describe(source: Source, names: Mapping[str, int]) -> Described:
    """The components with their configurations, the model's own configuration, and its file."""
    if "model_index.json" in names:
        index = _read(source, "model_index.json")
        return _diffusers(source, index), index, "model_index.json"
    modules = _sentence_transformers(source)
    own = "config.json" if "config.json" in names else None
    return modules, _read(source, own) if own else None, own


def _diffusers(source: Source, index: Mapping[str, Any]) -> tuple[Component, ...]:
    """Entries of the form `"unet": ["diffusers", "UNet2DConditionModel"]` that are folders."""
    folders = set(source.folders())
    entries = {
        name: value
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and name in folders
    }
    _bounded("model_index.json", len(entries))
    return tuple(
        Component(name, value[1] if isinstance(value[1], str) else None, _config_of(source, name))
        for name, value in entries.items()
    )


def _sentence_transformers(source: Source) -> tuple[Component, ...]:
    """Modules that lie in a folder of their own; the first usually is the model's root."""
    with source.open("modules.json") as file:
        modules = config.read_value(file)
    if not isinstance(modules, list):
        raise config.NotAnObject("modules.json", "does not hold a list of modules")
    _bounded("modules.json", len(modules))
    folders = set(source.folders())
    found: dict[str, Component] = {}
    for module in modules:
        path = module.get("path") if isinstance(module, dict) else None
        if not isinstance(path, str) or not path:
            continue
        _refuse_escape(path)
        if path in folders:
            kind = module.get("type")
            kind = kind.rpartition(".")[2] if isinstance(kind, str) else None
            found.setdefault(path, Component(path, kind, _config_of(source, path)))
    return tuple(found.values())


def _refuse_escape(path: str) -> None:
    parts = path.replace("\\", "/").split("/")
    if path.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in path:
        raise ComponentPathEscape("modules.json", f"the module path {path!r} leaves the model")


def _bounded(file: str, count: int) -> None:
    if count > MAX_COMPONENTS:
        raise TooManyComponents(file, f"names {count:,} components; {MAX_COMPONENTS} are allowed")


def _config_of(source: Source, folder: str) -> Mapping[str, Any] | None:
    names = source.files(folder)
    found = [n for n in ("config.json", "scheduler_config.json") if n in names]
    return _read(source, f"{folder}/{found[0]}") if found else None


def _read(source: Source, path: str) -> dict[str, Any]:
    with source.open(path) as file:
        return config.read_object(file)
