"""How configurations nest and turn: sub-configurations, rope parameters, old keys."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from tools.knowledge_configs import (
    ask,
    base,
    class_for,
    fields,
    key_of,
    made,
    plain,
    properties,
)
from tools.knowledge_fitting import same


class Mentions:
    """Names and strings in the code that fills in a configuration: which keys to try at all."""

    def __init__(self, cls: Any) -> None:
        self.keys: dict[str, Any] = {}  # with the default where the code names one
        self.strings: dict[str, None] = {}
        for name in ("__post_init__", "__init__", "convert_rope_params_to_dict"):
            for each in cls.__mro__:
                code = vars(each).get(name)
                if each.__module__.startswith("transformers.models") and inspect.isfunction(code):
                    self._read(code)
        for name in properties(cls):
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
            if isinstance(node, ast.Constant):
                name = _name(node)
                self.strings |= {name: None} if name else {}
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Compare):
                name = _name(node.left)
                self.keys |= {name: None} if name and name not in self.keys else {}

    def _call(self, node: ast.Call) -> None:
        """`kwargs.pop("key", default)`, `getattr(self, "key")`."""
        function = getattr(node.func, "attr", getattr(node.func, "id", ""))
        place = _KEY_AT.get(function)
        name = _name(node.args[place]) if place is not None and len(node.args) > place else None
        if name is None or place is None or self.keys.get(name) is not None:
            return
        default = node.args[-1] if len(node.args) == place + 2 else None
        said = isinstance(default, ast.Constant) and function in ("get", "pop")
        self.keys[name] = getattr(default, "value", None) if said else None


def old_keys(cls: Any) -> dict[str, Any]:
    """Keys that are no fields, with the numbers that the class takes where a file has none."""
    known = Mentions(cls).keys.items()
    idle = ("rope", "rotary")
    return {
        name: item
        for name, item in known
        if isinstance(item, (bool, int, float)) and not any(each in name for each in idle)
    }


_KEY_AT = {"get": 0, "pop": 0, "setdefault": 0, "getattr": 1, "hasattr": 1}  # which argument


def _name(node: ast.AST) -> str | None:
    """The identifier that a string in the code is."""
    found = node.value if isinstance(node, ast.Constant) else None
    return found if isinstance(found, str) and found.isidentifier() else None


# --- sub-configurations ---


def subs(cls: Any, default: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`{key: {"type": record, …}}` of the configurations within this one."""
    config = made(cls, {})
    found = {}
    for key, spec in (getattr(cls, "sub_configs_defaults", None) or {}).items():
        fixed = isinstance(spec.config_class, type) and issubclass(spec.config_class, base())
        record = key_of(spec.config_class) if fixed else spec.model_type
        found[key] = {"type": record, "init": plain(spec.init_kwargs)}
        found[key] |= {"fixed": True} if fixed else {}
        found[key] |= {"optional": True} if spec.optional else {}
    for key, item in vars(config).items() if config is not None else ():
        if isinstance(item, base()) and key not in found and not key.startswith("_"):
            found[key] = {"type": key_of(type(item)), "fixed": True}
    for key, spec in found.items():
        if not spec.get("init"):
            spec.pop("init", None)
        if _exists(spec["type"]):
            _probe(cls, key, spec, default)
    return found


def _exists(key: str) -> bool:
    """Whether transformers has the type that a sub-configuration begins with."""
    try:
        return class_for(key) is not None
    except KeyError:
        return False


def _probe(cls: Any, key: str, spec: dict[str, Any], default: Mapping[str, Any]) -> None:
    """How files of other ages may give this sub-configuration."""
    own = fields(cls)
    inner = default.get(key)
    if not isinstance(inner, Mapping):
        return
    numbers = [k for k, v in inner.items() if type(v) is int and v > 1 and k not in own]
    numbers = [k for k in numbers if not k.endswith("_id") and "token" not in k]
    for trial in numbers[:3]:
        changed = {trial: inner[trial] * 2}
        for name, settings in (("flat", changed), ("old", {f"{key}_dict": changed})):
            found = (ask(cls, settings) or {}).get(key)
            if isinstance(found, Mapping) and same(found.get(trial), changed[trial]):
                spec[name] = True
    init = spec.get("init", {})
    trial = next(iter(sorted(numbers, key=lambda k: k in init)), None)
    started = [k for k in init if k not in ("model_type", trial)]
    if trial is not None and started:
        said = {key: {trial: inner[trial] * 2, "model_type": inner.get("model_type")}}
        found = (ask(cls, said) or {}).get(key)
        alone = ask(class_for(spec["type"]), {}) or {}
        telling = [k for k in started if not same(alone.get(k), init[k])]
        kept = [k for k in telling if isinstance(found, Mapping) and same(found.get(k), init[k])]
        if len(kept) > len(telling) / 2:
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
    else:
        _base(spec, cls, found, keys)
    if (
        "nested" not in spec
        and "partial_rotary_factor" in found
        and "partial_rotary_factor" not in (raw or {})
    ):
        _partial(spec, cls, found, keys)
    if not isinstance(raw, Mapping) and "nested" not in spec:
        extra = {k: v for k, v in found.items() if k not in _STANDARD}
        if extra:  # a default that the class builds itself
            spec["own"] = extra | {"rope_type": found.get("rope_type", "default")}
    return spec


_STANDARD = ("rope_theta", "rope_type", "partial_rotary_factor")


def _base(
    spec: dict[str, Any], cls: Any, found: Mapping[str, Any], keys: Mapping[str, Any]
) -> None:
    """Another name that old files have for rope_theta."""
    for key in (*fields(cls), *keys):
        if key != "rope_theta" and ("rope" in key or "rotary" in key or "theta" in key):
            changed = (ask(cls, {key: 12345.0}) or {}).get("rope_parameters") or {}
            if changed.get("rope_theta") == 12345.0:
                spec["base"] = key


def _partial(
    spec: dict[str, Any], cls: Any, found: Mapping[str, Any], keys: Mapping[str, Any]
) -> None:
    """The part of a head that turns, and another name that old files have for it."""
    spec["partial"] = found["partial_rotary_factor"]
    for key in (*fields(cls), *keys):
        if "rotary_" not in key or key == "partial_rotary_factor":
            continue
        changed = (ask(cls, {key: 0.125}) or {}).get("rope_parameters") or {}
        if changed.get("partial_rotary_factor") == 0.125:
            spec["pct"] = key


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
