"""`rope_parameters` as configuration classes make it of what files of any age say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCALED = ("llama3", "yarn", "longrope")  # types that note the length of the pretraining


def parameters(
    spec: Mapping[str, Any], given: Mapping[str, Any], scope: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The standardized dictionary, flat or one for each label; None where there is none.

    `given` is what the file says, `scope` the same with the defaults of the class. `spec`:
    `theta` and `type` are the class's defaults, `partial` its default partial_rotary_factor,
    `base` and `pct` other names of rope_theta and of that, `own` the dictionary it starts from,
    `labels` the names it nests under, `nested` the defaults of a class that always nests,
    `into` the labels that take an old `rope_scaling`, `thetas` the key in which old files keep
    a label's base, and its default.
    """
    scaling = given.get("rope_scaling")
    scaling = scaling if isinstance(scaling, Mapping) else None
    own = scope.get("rope_parameters")
    own = own if isinstance(own, Mapping) and own else spec.get("own", {})
    defaults = _Defaults(spec, given, scope)
    if "nested" in spec:
        found = _copied(own or spec["nested"])
        for label in spec["into"]:
            if isinstance(found.get(label), dict):
                found[label].update(scaling or {})
    else:
        found = _copied(scaling or own)
    labels = _labels(spec, scope, found)
    if not labels:
        return defaults.applied(found)
    for label in labels:
        if isinstance(found[label], dict):
            key, usual = spec.get("thetas", {}).get(label, ("rope_theta", defaults.theta))
            found[label].setdefault("rope_theta", _either(given, scope, key, usual))
            found[label] = defaults.applied(found[label])
    return found


class _Defaults:
    """What a file may leave out of a dictionary of rope parameters."""

    def __init__(
        self, spec: Mapping[str, Any], given: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        usual = _either(given, scope, spec.get("base", ""), spec.get("theta"))
        self.theta = _either(given, scope, "rope_theta", usual)
        usual = _either(given, scope, spec.get("pct", ""), spec.get("partial"))
        self.partial = _either(given, scope, "partial_rotary_factor", usual)
        self.type = spec.get("type", "default")
        self.scope = scope

    def applied(self, found: dict[str, Any]) -> dict[str, Any]:
        found.setdefault("rope_theta", self.theta)
        if self.partial is not None:
            found.setdefault("partial_rotary_factor", self.partial)
        found.setdefault("rope_type", found.get("type", "default"))
        if found["rope_type"] == "default":
            found["rope_type"] = self.type
        if found["rope_type"] in _SCALED:
            own = self.scope.get("original_max_position_embeddings")
            if own is not None:
                found["original_max_position_embeddings"] = own
            usual = self.scope.get("max_position_embeddings")
            found.setdefault("original_max_position_embeddings", usual)
        return found


def _either(given: Mapping[str, Any], scope: Mapping[str, Any], key: str, usual: Any) -> Any:
    found = given.get(key)
    found = scope.get(key) if found is None else found
    return usual if found is None else found


def _labels(
    spec: Mapping[str, Any], scope: Mapping[str, Any], found: Mapping[str, Any]
) -> list[str]:
    """The keys of `found` that hold dictionaries of their own."""
    names = spec.get("labels") or scope.get("layer_types") or ()
    names = names if isinstance(names, (list, tuple)) else ()
    return [key for key in found if key in names or key in spec.get("nested", ())]


def _copied(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(key): dict(item) if isinstance(item, Mapping) else item for key, item in found.items()
    }
