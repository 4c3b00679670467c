"""Settings to try on a configuration class: other values for its keys, alone and together."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tools import knowledge_configs as asking
from tools.knowledge_nested import Mentions

_SPARED = (  # nothing is derived from what a run is told, or from names
    "transformers_version",
    "torch_dtype",
    "dtype",
    "model_type",
    "attn_implementation",
    "experts_implementation",
    "id2label",
    "label2id",
    "problem_type",
    "architectures",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "per_layer_config",
    "rope_parameters",
    "rope_scaling",
)


class Inputs:
    """The keys of a class that can be set, with values for each; nested ones by dotted path."""

    def __init__(self, key: str, record: Mapping[str, Any], default: Mapping[str, Any]) -> None:
        self.cls = asking.class_for(key)
        self.default = default
        self.random = random.Random(key)
        mentions = Mentions(self.cls)
        self.strings = [text for text in mentions.strings if text not in mentions.keys]
        own = [name for name in record["defaults"] if name not in _SPARED]
        ghosts = [name for name in mentions.keys if name not in own and _is_plain(name, record)]
        derived = [k for k, v in default.items() if _is_scalar(v) and k not in asking.OF_ALL]
        spared = (*own, *ghosts, *_SPARED)
        self.paths = [*own, *ghosts, *(name for name in derived if name not in spared)]
        for name in record.get("subs", {}):
            inner = default.get(name)
            if isinstance(inner, Mapping):
                self.paths += [f"{name}.{k}" for k, v in inner.items() if _counts(k, v)]

    def values(self, path: str) -> Iterator[Any]:
        """Other values for a key, by what it is now."""
        usual = asking_for(self.default, path)
        said = asking.annotation(self.cls, path) if "." not in path else ""
        if usual is not None and "None" in said:
            yield None
        if isinstance(usual, bool) or (usual is None and "bool" in said):
            yield from (not usual, bool(usual))
        elif isinstance(usual, int) or (usual is None and "int" in said and "list" not in said):
            layers = usual is not None and _LAYERS.search(path)
            yield from _FEW_LAYERS if layers else _whole(usual or 4, self.random)
        elif isinstance(usual, float) or (usual is None and "float" in said):
            yield from (usual * 2 if usual else 0.5, 0.25, 1.5)
        elif isinstance(usual, str):
            yield from self.strings[:8]
        elif isinstance(usual, list):
            yield from self._other_words(usual)
            yield from _lists(usual, self.random)
        elif usual is None:
            yield from (self.random.randint(2, 9), 3, 2, True, [1, 2], 0.25, "linear")

    def _other_words(self, usual: list[Any]) -> Iterator[list[Any]]:
        """As many strings, of those that the class knows of beside these."""
        if usual and all(isinstance(each, str) for each in usual):
            ends = {each.rpartition("_")[2] for each in usual}
            known = [each for each in self.strings if each.rpartition("_")[2] in ends]
            known += ["full_attention"] if "sliding_attention" in usual else []
            known += ["sliding_attention"] if "full_attention" in usual else []
            known += [{"dense": "sparse", "sparse": "dense"}.get(usual[0], usual[0])]
            words = list(dict.fromkeys([*usual, *known]))
            for _ in range(2):
                yield [self.random.choice(words) for _ in usual]

    def several(self, paths: Sequence[str], count: int) -> dict[str, Any]:
        """Random values for some keys."""
        chosen = self.random.sample(paths, min(count, len(paths)))
        values = {path: list(self.values(path)) for path in chosen}
        return {path: self.random.choice(each) for path, each in values.items() if each}


def asking_for(found: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None where nothing is there."""
    inner: Any = found
    for part in path.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def nested(settings: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths as the dictionaries of a file; nested ones say their model type."""
    found: dict[str, Any] = {}
    for path, item in settings.items():
        head, _, rest = path.partition(".")
        if rest:
            said = asking_for(default, f"{head}.model_type")
            inner = found.setdefault(head, {"model_type": said} if said else {})
            inner |= nested({rest: item}, default.get(head) or {})
        else:
            found[head] = item
    return found


def _is_plain(name: str, record: Mapping[str, Any]) -> bool:
    nested_keys = [each for key in record.get("subs", {}) for each in (key, f"{key}_dict")]
    return name not in (*_SPARED, *nested_keys) and not name.startswith("_")


def _is_scalar(found: Any) -> bool:
    return isinstance(found, (bool, int, float, str, list)) or found is None


def _counts(key: str, found: Any) -> bool:
    return isinstance(found, int) and not key.endswith("_id") and key not in (*_SPARED, *_OF_RUNS)


_LAYERS = re.compile(r"layers$|^n_layer|depth$")
_FEW_LAYERS = (7, 12, 5, 13, 24)  # lists of one entry a layer are quick to look through

_OF_RUNS = ("chunk_size_feed_forward", "is_encoder_decoder", "use_cache", "initializer_range")


def _whole(usual: int, rng: random.Random) -> Iterable[int]:
    near = [usual * 2, usual * 3, usual // 2, usual + 1, usual + 3, usual * 4]
    if usual < 200:
        near += [rng.randint(2, 40), rng.randint(2, 12), 1, 2, 3]
    return [each for each in dict.fromkeys(near) if each != usual and each > 0] + [0]


def _lists(usual: list[Any], rng: random.Random) -> Iterable[list[Any]]:
    if not usual:
        return [[0], [1, 2], [0, 3]]
    found = [usual[:-1], usual[1:], usual[::-1], usual + usual[-1:], usual * 2]
    if all(isinstance(each, int) and not isinstance(each, bool) for each in usual):
        found += [
            [each * 2 for each in usual],
            [each + 1 for each in usual],
            usual[:1] * len(usual),
        ]
    elif len(set(map(str, usual))) > 1:
        found.append([rng.choice(usual) for _ in usual])
    return [each for each in found if each and each != usual]
