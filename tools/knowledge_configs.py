"""What transformers' configuration classes make of a config.json, found by asking them."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tools import knowledge_build as building  # first: it keeps transformers offline and quiet
from tools.knowledge_fitting import same

OF_ALL = (  # what all classes share and no file needs: how a run behaves, not what is loaded
    "transformers_version",
    "architectures",
    "output_hidden_states",
    "return_dict",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
)


@cache
def base() -> Any:
    """The configuration class that all others of transformers are made of."""
    from transformers import PretrainedConfig

    logging.disable(logging.CRITICAL)
    return PretrainedConfig


def model_types() -> list[str]:
    """Every model type with a configuration class."""
    from transformers import CONFIG_MAPPING

    base()
    return sorted(CONFIG_MAPPING.keys())


def class_for(key: str) -> Any:
    """The class of a record's key: a model type, or `@Class` for one that no type names."""
    if not key.startswith("@"):
        from transformers import CONFIG_MAPPING

        return CONFIG_MAPPING[key]
    return next(each for each in _subclasses(base()) if each.__name__ == key[1:])


def _subclasses(cls: Any) -> Iterator[Any]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


def key_of(cls: Any) -> str:
    """The key of a class's record."""
    from transformers import CONFIG_MAPPING

    known = cls.model_type in CONFIG_MAPPING and CONFIG_MAPPING[cls.model_type] is cls
    return cls.model_type if known else f"@{cls.__name__}"


# --- asking ---


def ask(cls: Any, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """All values an instance holds, those of nested ones within; None where it refuses."""
    config = made(cls, settings)
    try:
        return None if config is None else snapshot(config)
    except Exception:
        return None


def made(cls: Any, settings: Mapping[str, Any]) -> Any:
    """An instance; None where the class refuses, in whatever way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cls(**_copied(settings))
        except Exception:
            return None


def _copied(found: Any) -> Any:
    """Classes change what they are given."""
    if isinstance(found, Mapping):
        return {key: _copied(item) for key, item in found.items()}
    return list(map(_copied, found)) if isinstance(found, list) else found


def snapshot(config: Any) -> dict[str, Any]:
    """Attributes and properties as JSON has them."""
    found = {k: v for k, v in vars(config).items() if not k.startswith("_")}
    for name in properties(type(config)):
        try:
            found.setdefault(name, getattr(config, name))
        except Exception:
            continue
    as_json = {key: plain(item) for key, item in found.items()}
    return {key: item for key, item in as_json.items() if item is not ...}


def plain(found: Any) -> Any:
    """A value as JSON has it; `...` for one that JSON has not."""
    if isinstance(found, base()):
        return {**snapshot(found), "model_type": found.model_type}
    if isinstance(found, (list, tuple)):
        items = [plain(item) for item in found]
        return ... if ... in items else items
    if isinstance(found, Mapping):
        return {str(key): plain(item) for key, item in found.items()}
    if found is None or isinstance(found, (bool, int, float, str)):
        return found
    return str(found).removeprefix("torch.") if type(found).__name__ == "dtype" else ...


_PROPERTIES: dict[Any, list[str]] = {}


def properties(cls: Any) -> list[str]:
    """Values that a class computes whenever they are read."""
    if cls not in _PROPERTIES:
        _PROPERTIES[cls] = list(_read_properties(cls))
    return _PROPERTIES[cls]


def _read_properties(cls: Any) -> list[str]:
    return [
        name
        for each in cls.__mro__
        if each.__module__.startswith("transformers.models")
        for name, member in vars(each).items()
        if isinstance(member, property) and not name.startswith("_")
    ]


def flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted path; a list is one."""
    for key, item in found.items():
        if isinstance(item, Mapping) and item and "." not in key:
            yield from flat(item, f"{prefix}{key}.")
        elif "." not in key:
            yield prefix + key, item


# --- what a class says of itself ---


def fields(cls: Any) -> dict[str, Any]:
    """What the class holds before it derives anything; only what not all classes have."""
    shared = {each.name: each for each in dataclasses.fields(base())}
    found = {}
    for each in dataclasses.fields(cls):
        default = _default(each)
        inherited = each.name in shared and same(default, _default(shared[each.name]))
        if not inherited and each.name not in OF_ALL and not each.name.startswith("_"):
            item = plain(default)
            if item is not ... and not (isinstance(item, dict) and "model_type" in item):
                found[each.name] = item
    return found


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    made = field.default_factory
    return None if made is dataclasses.MISSING else made()


def annotation(cls: Any, key: str) -> str:
    """The type of a field as the class writes it."""
    found = next((each.type for each in dataclasses.fields(cls) if each.name == key), "")
    return found if isinstance(found, str) else str(found)


# --- records ---


def record(key: str) -> dict[str, Any]:
    """All of one class that needs no fitting."""
    cls = class_for(key)
    default = ask(cls, {}) or {}
    found: dict[str, Any] = {"defaults": fields(cls)}
    if cls.attribute_map:
        found["map"] = dict(cls.attribute_map)
        for name, own in cls.attribute_map.items():
            if name in found["defaults"] and own not in found["defaults"]:
                found["defaults"][own] = found["defaults"].pop(name)
        unheard = list(_unheard(cls, default))
        found |= {"unheard": unheard} if unheard else {}
    from tools.knowledge_nested import Mentions, old_keys, rope, subs

    found["defaults"] = {**old_keys(cls), **found["defaults"]}
    nested = subs(cls, default)
    for name in nested:
        found["defaults"].pop(name, None)
    if nested:
        found["subs"] = nested
    spec = rope(cls, default, Mentions(cls).keys)
    if spec is not None:
        found["rope"] = spec
    path = _text_path(cls)
    if path is not None:
        found["text"] = path
    return found


def _unheard(cls: Any, default: Mapping[str, Any]) -> Iterator[str]:
    """Standard names whose value in a file is lost: the field they stand for is set after them."""
    for name, own in cls.attribute_map.items():
        usual = default.get(own)
        if type(usual) is int:
            found = ask(cls, {name: usual + 1})
            if found is not None and found.get(own) == usual:
                yield name


def _text_path(cls: Any) -> list[str] | None:
    """Where `get_text_config(decoder=True)` finds it; None where the usual names tell."""
    config = made(cls, {})
    if config is None:
        return None
    try:
        text = config.get_text_config(decoder=True)
    except Exception:
        return None
    paths = building.config_paths(config)
    here = next((path for path, each in paths.items() if each is text), None)
    usual = next(
        (k for k in ("decoder", "generator", "text_config") if getattr(config, k, None)), ""
    )
    return [here] if here and here != usual else None


def shared() -> dict[str, Any]:
    """The record that goes for all classes."""
    from transformers import configuration_utils

    found = ask(base(), {}) or {}
    names = configuration_utils._LEGACY_LAYER_TYPE_REMAP
    return {
        "defaults": {k: v for k, v in found.items() if k not in OF_ALL and v is not None},
        "layer_types": dict(names),
    }
