"""What transformers' configuration classes make of a config.json, found by asking them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import random
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tools import knowledge_build as building  # first: it keeps transformers offline and quiet
from tools.knowledge_fitting import same

_OF_ALL = (  # what all classes share and no file needs: how a run behaves, not what is loaded
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
    """transformers' configuration class that all others are made of."""
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return snapshot(cls(**_copied(settings)))
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
    for name in _properties(type(config)):
        try:
            found.setdefault(name, getattr(config, name))
        except Exception:
            continue
    plain = {key: _plain(item) for key, item in found.items()}
    return {key: item for key, item in plain.items() if item is not ...}


def _plain(found: Any) -> Any:
    if isinstance(found, base()):
        return {**snapshot(found), "model_type": found.model_type}
    if isinstance(found, (list, tuple)):
        items = [_plain(item) for item in found]
        return ... if ... in items else items
    if isinstance(found, Mapping):
        return {str(key): _plain(item) for key, item in found.items()}
    if found is None or isinstance(found, (bool, int, float, str)):
        return found
    return str(found).removeprefix("torch.") if type(found).__name__ == "dtype" else ...


@cache
def _properties(cls: Any) -> list[str]:
    """Values that a class computes whenever they are read."""
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
        if not inherited and each.name not in _OF_ALL and not each.name.startswith("_"):
            plain = _plain(default)
            if plain is not ... and not (isinstance(plain, dict) and "model_type" in plain):
                found[each.name] = plain
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


class Mentions:
    """Names and strings in the code that fills in a configuration: which keys to try at all."""

    def __init__(self, cls: Any) -> None:
        self.keys: dict[str, None] = {}
        self.strings: dict[str, None] = {}
        for name in ("__post_init__", "__init__", "convert_rope_params_to_dict"):
            for each in cls.__mro__:
                code = vars(each).get(name)
                if each.__module__.startswith("transformers.models") and inspect.isfunction(code):
                    self._read(code)
        for name in _properties(cls):
            for each in cls.__mro__:
                member = vars(each).get(name)
                if isinstance(member, property) and member.fget is not None:
                    self._read(member.fget)

    def _read(self, code: Any) -> None:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(code))))
        except (OSError, TypeError, SyntaxError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if node.value.isidentifier():
                    self.strings[node.value] = None
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant):
                if isinstance(node.left.value, str) and node.left.value.isidentifier():
                    self.keys[node.left.value] = None

    def _call(self, node: ast.Call) -> None:
        """`kwargs.pop("key", …)`, `getattr(self, "key")`."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        position = 1 if name in ("getattr", "hasattr") else 0
        if name in ("get", "pop", "setdefault", "getattr", "hasattr"):
            if len(node.args) > position and isinstance(node.args[position], ast.Constant):
                key = node.args[position].value  # type: ignore[attr-defined]
                if isinstance(key, str) and key.isidentifier():
                    self.keys[key] = None


# --- sub-configurations ---


def subs(cls: Any, default: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`{key: {"type": record, …}}` of the configurations within this one."""
    made = _instance(cls)
    found = {}
    for key, spec in (getattr(cls, "sub_configs_defaults", None) or {}).items():
        fixed = isinstance(spec.config_class, type) and issubclass(spec.config_class, base())
        record = key_of(spec.config_class) if fixed else spec.model_type
        found[key] = {"type": record, "init": _plain(spec.init_kwargs)}
        found[key] |= {"fixed": True} if fixed else {}
        found[key] |= {"optional": True} if spec.optional else {}
    for key, item in vars(made).items() if made is not None else ():
        if isinstance(item, base()) and key not in found and not key.startswith("_"):
            found[key] = {"type": key_of(type(item)), "fixed": True}
    for key, spec in found.items():
        if not spec.get("init"):
            spec.pop("init", None)
        _probe(cls, key, spec, default)
    return found


def _instance(cls: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cls()
        except Exception:
            return None


def _probe(cls: Any, key: str, spec: dict[str, Any], default: Mapping[str, Any]) -> None:
    """How files of other ages may give this sub-configuration."""
    own = fields(cls)
    inner = default.get(key)
    if not isinstance(inner, Mapping):
        return
    wide = [k for k in ("intermediate_size", "hidden_size", "vocab_size") if k in inner]
    trial = next((k for k in wide if k not in own and isinstance(inner[k], int)), None)
    if trial is None:
        return
    changed = inner[trial] * 2
    for name, settings in (("flat", {trial: changed}), (f"old", {f"{key}_dict": {trial: changed}})):
        found = (ask(cls, settings) or {}).get(key)
        if isinstance(found, Mapping) and same(found.get(trial), changed):
            spec[name] = True
    started = next((k for k in spec.get("init", {}) if k not in (trial, "model_type")), None)
    if started is not None:
        said = {key: {trial: changed, "model_type": inner.get("model_type")}}
        found = (ask(cls, said) or {}).get(key)
        if isinstance(found, Mapping) and same(found.get(started), spec["init"][started]):
            spec["merged"] = True


# --- rope ---


def rope(cls: Any, default: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the class standardizes `rope_parameters`: see `modelscope_cli.knowledge.rope`."""
    found = default.get("rope_parameters")
    if not isinstance(found, Mapping) or not found:
        return None
    raw = fields(cls).get("rope_parameters")
    theta = getattr(cls, "default_theta", None)
    spec: dict[str, Any] = {}
    if isinstance(theta, (int, float)):
        spec["theta"] = theta
    if cls.default_rope_type != "default":
        spec["type"] = cls.default_rope_type
    labels = getattr(cls, "_rope_type_labels", None)
    if labels:
        spec["labels"] = list(labels)
    if all(isinstance(item, Mapping) for item in found.values()):
        _nested(spec, cls, found, keys)
    elif "partial_rotary_factor" in found and "partial_rotary_factor" not in (raw or {}):
        spec["partial"] = found["partial_rotary_factor"]
    if not isinstance(raw, Mapping) and "nested" not in spec:
        extra = {k: v for k, v in found.items() if k not in _STANDARD}
        if extra:  # a default that the class builds itself
            spec["own"] = extra | {"rope_type": found.get("rope_type", "default")}
    return spec


_STANDARD = ("rope_theta", "rope_type", "partial_rotary_factor")


def _nested(
    spec: dict[str, Any], cls: Any, found: Mapping[str, Any], keys: Mapping[str, Any]
) -> None:
    spec["nested"] = {k: {**v} for k, v in found.items()}
    scaled = ask(cls, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}) or {}
    after = scaled.get("rope_parameters") or {}
    spec["into"] = [k for k in found if "factor" in (after.get(k) or {})]
    thetas = {}
    for key in ("rope_theta", *keys):
        if "theta" not in key and "freq" not in key:
            continue
        changed = (ask(cls, {key: 12345.0}) or {}).get("rope_parameters") or {}
        for label in found:
            if (changed.get(label) or {}).get("rope_theta") == 12345.0:
                thetas[label] = key
    for label, key in thetas.items():
        usual = spec["nested"][label].pop("rope_theta", None)
        spec.setdefault("thetas", {})[label] = [key, usual]


# --- records ---


def record(key: str) -> dict[str, Any]:
    """All of one class that needs no fitting."""
    cls = class_for(key)
    default = ask(cls, {}) or {}
    found: dict[str, Any] = {"defaults": fields(cls)}
    if cls.attribute_map:
        found["map"] = dict(cls.attribute_map)
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


def _text_path(cls: Any) -> list[str] | None:
    """Where `get_text_config(decoder=True)` finds it; None where the usual names tell."""
    made = _instance(cls)
    if made is None:
        return None
    try:
        text = made.get_text_config(decoder=True)
    except Exception:
        return None
    paths = building.config_paths(made)
    here = next((path for path, each in paths.items() if each is text), None)
    usual = next((k for k in ("decoder", "generator", "text_config") if getattr(made, k, None)), "")
    return [here] if here and here != usual else None


def shared() -> dict[str, Any]:
    """The record that goes for all classes."""
    from transformers import configuration_utils

    made = ask(base(), {}) or {}
    names = configuration_utils._LEGACY_LAYER_TYPE_REMAP
    return {
        "defaults": {k: v for k, v in made.items() if k not in _OF_ALL and v is not None},
        "layer_types": dict(names),
    }
