"""A config.json as transformers' configuration class would hold it: nothing left out.

What the classes do was found by asking them (`tools.make_knowledge`): one record a model type.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from modelscope_cli.knowledge.expressions import MISSING, value
from modelscope_cli.knowledge.lines import look_up

_TABLE = "configs"
_EVERY = ""  # the record of what all configurations share
SAID = "^"  # in expressions: the values as they were before any was derived
_DEEPEST = 8  # sub-configurations within each other; no model nests more than three


def effective(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with its class's defaults and all that follows from other values.

    Keys can be read under the name of the file and the standard one (`n_head`,
    `num_attention_heads`); sub-configurations are filled in by their own model types. Values
    that the class derives in a way not known here are left out. A model type that is not known
    comes back as it is. Never raises, whatever the values are.
    """
    return _filled(config, _type_of(config), 0)


def text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The effective configuration of the text decoder, as `get_text_config(decoder=True)`."""
    whole = effective(config)
    record = _record(_type_of(config))
    for path in record.get("text", ("decoder", "generator", "text_config")):
        found = value(path, whole)
        if isinstance(found, Mapping) and found:
            return found
    if whole.get("is_encoder_decoder") is True:
        return _decoder_only(whole, record.get("map", {}))
    return whole


def defaults(model_type: str | None) -> Mapping[str, Any]:
    """What the class of a model type holds when nothing is said; empty for an unknown one."""
    return _filled({}, model_type, 0) if _record(model_type) else {}


def is_known_config(model_type: str | None) -> bool:
    """Whether there is a record of this model type's configuration class."""
    return bool(_record(model_type))


def _type_of(config: Mapping[str, Any]) -> str | None:
    found = config.get("model_type")
    return found if isinstance(found, str) else None


@cache
def _lines(name: str) -> Mapping[str, Any]:
    return look_up(_TABLE, name) or {}


def _record(name: str | None) -> Mapping[str, Any]:
    return _lines(name) if name and len(name) < 200 else {}


def _filled(given: Mapping[str, Any], name: str | None, depth: int) -> dict[str, Any]:
    record = _record(name)
    if not record:
        return _unknown(given, depth)
    names = record.get("map", {})
    heard = names.keys() - record.get("unheard", ())
    scope = {**_lines(_EVERY).get("defaults", {}), **record.get("defaults", {})}
    scope.update((key, item) for key, item in given.items() if key not in names)
    scope.update((names[key], item) for key, item in given.items() if key in heard)
    scope["dtype"] = scope.get("dtype") or given.get("torch_dtype")
    for key, spec in record.get("subs", {}).items():
        _fill_sub(scope, key, spec, given, depth)
    _remap_layer_types(scope)
    if "rope" in record:
        from modelscope_cli.knowledge import rope

        scope["rope_parameters"] = rope.parameters(record["rope"], given, scope)
    _look_at_layers(scope)
    if "rules" in record:
        scope[SAID] = dict(scope)
        for path, expression in record["rules"]:
            _set(scope, path, value(expression, scope))
        del scope[SAID]
    _remap_layer_types(scope)
    labels = scope.get("id2label")
    scope["num_labels"] = len(labels) if isinstance(labels, Mapping) else scope.get("num_labels", 2)
    scope.update((name, scope[own]) for name, own in names.items() if own in scope)
    return scope


def _unknown(given: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """As it is; but sub-configurations may be of a type that is known."""
    found = dict(given)
    for key, item in given.items():
        if isinstance(item, Mapping) and depth < _DEEPEST and _record(_type_of(item)):
            found[key] = _filled(item, _type_of(item), depth + 1)
    return found


def _fill_sub(
    scope: dict[str, Any], key: str, spec: Mapping[str, Any], given: Mapping[str, Any], depth: int
) -> None:
    """A sub-configuration: the file's, else the class's own beginning of one."""
    said = scope.get(key)
    if spec.get("flat") and said is None:  # old files have its keys one level up
        known = _record(spec["type"]).get("defaults", {})
        said = {k: v for k, v in given.items() if k in known or k.startswith("rope_")} or None
    if said is None and spec.get("optional"):
        return
    if not isinstance(said, Mapping):
        said = spec.get("init", {})
    elif spec.get("merged"):
        said = {**spec.get("init", {}), **said}
    name = spec["type"] if spec.get("fixed") else _type_of(said) or spec["type"]
    old = given.get(f"{key}_dict") if spec.get("old") else None
    if isinstance(old, Mapping) and depth < _DEEPEST:
        said = {**said, **_filled(old, name, depth + 1)}
    scope[key] = _filled(said, name, depth + 1) if depth < _DEEPEST else dict(said)
    if not name.startswith("@"):
        scope[key].setdefault("model_type", name)


def _look_at_layers(scope: dict[str, Any]) -> None:
    """Old files say once for all what newer ones say for each layer that is not as the others."""
    layers = scope.get("per_layer_config")
    if not isinstance(layers, Mapping) or not layers:
        return
    said = [layer for layer in layers.values() if isinstance(layer, Mapping)]
    for key, name in _ONCE_FOR_ALL.items():
        values = [layer[key] for layer in said if key in layer]
        if name in scope and values and all(each == values[0] for each in values):
            scope[name] = values[0]


_ONCE_FOR_ALL = {
    "head_dim": "global_head_dim",
    "num_key_value_heads": "num_global_key_value_heads",
}


def _set(scope: dict[str, Any], path: str, found: Any) -> None:
    *parents, last = path.split(".")
    inner: Any = scope
    for part in parents:
        inner = inner.get(part)
        if not isinstance(inner, dict):
            return
    if found is MISSING:
        inner.pop(last, None)
    else:
        inner[last] = found


def _remap_layer_types(scope: dict[str, Any]) -> None:
    """Old names of kinds of layers."""
    names = _lines(_EVERY).get("layer_types", {})
    for key in ("layer_types", "mtp_layer_types"):
        found = scope.get(key)
        if isinstance(found, list):
            scope[key] = [
                names.get(item, item) if isinstance(item, str) else item for item in found
            ]


def _decoder_only(whole: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`decoder_layers` as `num_hidden_layers`, `decoder_x` as `x`: flat encoder-decoder models."""
    found = dict(whole)
    for key in whole:
        if key.startswith("decoder_"):
            short = key.removeprefix("decoder_")
            new = _OF_DECODER.get(key, short)
            found[names.get(new, new)] = found[new] = whole[key]
    found.update((name, found[own]) for name, own in names.items() if own in found)
    return found


_OF_DECODER = {
    "decoder_layers": "num_hidden_layers",
    "decoder_attention_heads": "num_attention_heads",
}
