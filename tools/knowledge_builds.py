"""Small builds of a model type's classes, and what buffers and module lists they have."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from modelscope_cli.dtypes import TORCH
from modelscope_cli.knowledge.expressions import look_up
from tools import knowledge_build as building
from tools import knowledge_configs as asking
from tools.knowledge_classes import Parts
from tools.knowledge_nested import old_keys

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
LAYERS = re.compile(r"layers$|^n_layer|^depth$|^num_blocks$")
_TRIED = (4, 6, 8, 12)  # numbers of layers; the first with which the default's buffers are there

# What a class takes only together with another key: `{type: {key: what goes with its value}}`.
_TOGETHER: dict[str, dict[str, Callable[[Any], dict[str, Any]]]] = {
    "gpt_neo": {"num_layers": lambda n: {"attention_types": [[["global"], n]]}},
}

Buffer = tuple[str, str | None, int]  # template, dtype, ordinal among shapes of that template


class Observed(NamedTuple):
    """What one build has: shapes and numbers of buffers, lengths of module lists."""

    scope: Mapping[str, Any]
    shapes: Mapping[Buffer, tuple[int, ...]]
    counts: Mapping[Buffer, int]
    lists: Mapping[str, int]
    parts: tuple[str, ...]  # configurations of models that have a record of their own


class Small:
    """Builds of a model type's classes, with few layers unless a change says otherwise."""

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type
        self.layers: int | None = None  # as many as the default has

    def shrink(self, names: list[str]) -> None:
        """Use as few layers as have what the default configuration has."""
        whole = [self.observe(name) for name in names]
        for layers in _TRIED:
            self.layers = layers
            if all(
                each is None or _has(self.observe(name), each)
                for name, each in zip(names, whole, strict=True)
            ):
                return
        self.layers = None

    def observe(
        self, name: str, changes: Mapping[str, Any] | None = None, *, whole: bool = False
    ) -> Observed | None:
        """One build, described (`whole`: with the models within it); None where it fails."""
        try:
            with building.time_limit():
                config = self.config(changes or {})
                scope = _with_old_keys(
                    asking.snapshot(copy.deepcopy(config)), config, changes or {}
                )
                model = building.build(building.class_of(name), config)
                return observed(model, scope, whole=whole)
        except Exception as error:
            if not changes:
                print(f"{self.model_type}/{name}: {type(error).__name__}", file=sys.stderr)
            return None

    def config(self, changes: Mapping[str, Any]) -> Any:
        """`changes` by dotted path, given to the class as a file would."""
        default = building.default_config(self.model_type)
        settings = _shrunk(default, self.layers)
        for path, item in changes.items():
            *parents, last = path.split(".")
            level = settings
            for parent in parents:
                if not isinstance(level.get(parent), dict):
                    level[parent] = {}
                level = level[parent]
            level[last] = item
        for key, others in _TOGETHER.get(self.model_type, {}).items():
            if key in changes:
                settings |= others(changes[key])
        return building.default_config(self.model_type, **settings)


def _with_old_keys(
    scope: dict[str, Any], config: Any, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """What a file may say though an instance does not hold it."""
    for at, level in building.config_paths(config).items():
        inner: Any = look_up(scope, at) if at else scope
        for name, usual in old_keys(type(level)).items():
            path = f"{at}.{name}" if at else name
            if isinstance(inner, dict):
                inner.setdefault(name, changes.get(path, usual))
    return scope


def _has(small: Observed | None, whole: Observed) -> bool:
    """Whether the small one has the same buffers and lists."""
    return (
        small is not None
        and small.shapes == whole.shapes
        and small.lists.keys() == whole.lists.keys()
    )


def _shrunk(level: Any, layers: int | None) -> dict[str, Any]:
    """Settings for few layers, nested ones too."""
    found: dict[str, Any] = {}
    fields = asking.fields(type(level))
    for key, item in fields.items():
        if layers and type(item) is int and LAYERS.search(key) and item > layers:
            found[key] = layers
            for other, entries in fields.items():
                if isinstance(entries, list) and len(entries) == item:
                    found[other] = entries[:layers]
    for key in getattr(level, "sub_configs", None) or {}:
        inner = getattr(level, key, None)
        if inner is not None and hasattr(inner, "to_dict"):
            found[key] = {
                **_started(level, key),
                **_shrunk(inner, layers),
                "model_type": inner.model_type,
            }
    return found


def _started(level: Any, key: str) -> dict[str, Any]:
    spec = type(level).sub_configs_defaults.get(key)
    return dict(spec.init_kwargs) if spec is not None else {}


def observed(model: Any, scope: Mapping[str, Any], *, whole: bool = False) -> Observed:
    """What is the class's own: models within it by their configurations are left out."""
    import torch

    outer = {} if whole else _parts(model)
    shapes: dict[Buffer, tuple[int, ...]] = {}
    counts: dict[Buffer, int] = {}
    lists: dict[str, int] = {}
    seen: set[int] = set()
    for path, module in model.named_modules():
        if any(f"{path}.".startswith(each) for each in outer):
            continue
        entries = [type(each) for name, each in module._modules.items() if name.isdecimal()]
        alike = isinstance(module, torch.nn.Sequential) and len(set(entries)) == 1
        if entries and (alike or isinstance(module, torch.nn.ModuleList)):
            name = template(path)
            lists[name] = max(lists.get(name, 0), len(entries))
        unsaved = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
        for name, tensor in sorted({**unsaved, **_not_saved(model, path, module)}.items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                _count(shapes, counts, template(f"{path}.{name}" if path else name), tensor)
    return Observed(scope, shapes, counts, lists, tuple(outer.values()))


def _not_saved(model: Any, path: str, module: Any) -> dict[str, Any]:
    """Parameters that no file has though nothing is tied to them: tables computed when built."""
    ignored = getattr(model, "_keys_to_ignore_on_save", None) or ()
    names = {f"{path}.{name}" if path else name: name for name in module._parameters}
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {
        name: module._parameters[name]
        for full, name in names.items()
        if full in ignored and full not in tied
    }


def _parts(model: Any) -> dict[str, str]:
    """Paths (with their dot) of models within it, and of their configurations."""
    from transformers import PreTrainedModel

    parts = Parts(model)
    models = (pair for pair in model.named_modules() if isinstance(pair[1], PreTrainedModel))
    places = {f"{path}.": parts.of(module) for path, module in models}
    return {path: place.partition(":")[2] for path, place in places.items() if place}


def _count(
    shapes: dict[Buffer, tuple[int, ...]], counts: dict[Buffer, int], name: str, tensor: Any
) -> None:
    dtype = TORCH[str(tensor.dtype).removeprefix("torch.")].name
    said = None if dtype == "BF16" else dtype
    shape = tuple(tensor.shape)
    for ordinal in range(100):
        key = (name, said, ordinal)
        if shapes.setdefault(key, shape) == shape:
            counts[key] = counts.get(key, 0) + 1
            return


def template(name: str) -> str:
    """A name with `*` for its numbers."""
    return _NUMBER.sub("*", name)
