"""Classes of transformers and how they are built: on the meta device, as `from_pretrained` does."""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

# Which auto classes name a type's natural class, the first that has one.
_PRIORITY = (
    "CAUSAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "MULTIMODAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "PRETRAINING",
    "MASKED_LM",
)
# Roles in which a model is part of another one, by the auto mapping that its class is found in.
ROLES = {"base": "BASE", "causal": "CAUSAL_LM", "seq2seq": "SEQ_TO_SEQ_CAUSAL_LM"}
# Two models within one: it has no default configuration.
_PAIRS = {
    "encoder-decoder": ("bert", "bert"),
    "speech-encoder-decoder": ("wav2vec2", "bert"),
    "vision-encoder-decoder": ("vit", "gpt2"),
}


@cache
def auto_mappings() -> dict[str, dict[str, tuple[str, ...]]]:
    """`{"CAUSAL_LM": {model type: class names}}`, `BASE` for AutoModel's."""
    from transformers.models.auto import modeling_auto

    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for key in dir(modeling_auto):
        if key.startswith("MODEL_FOR_") and key.endswith("_NAMES"):
            short = key.removeprefix("MODEL_FOR_").removesuffix("_NAMES").removesuffix("_MAPPING")
            found[short] = _as_tuples(getattr(modeling_auto, key))
    found["BASE"] = _as_tuples(modeling_auto.MODEL_MAPPING_NAMES)
    return found


def _as_tuples(mapping: Any) -> dict[str, tuple[str, ...]]:
    return {k: (v,) if isinstance(v, str) else tuple(v) for k, v in mapping.items()}


def model_types() -> list[str]:
    """Every model type that has a class."""
    return sorted({kind for mapping in auto_mappings().values() for kind in mapping})


def class_names(model_type: str) -> list[str]:
    """The classes of a type, the natural one first: what generates, else AutoModel's."""
    tags: dict[str, list[str]] = {}
    for tag, mapping in auto_mappings().items():
        for name in mapping.get(model_type, ()):
            tags.setdefault(name, []).append(tag)
    ranked = sorted(tags, key=lambda name: (_rank(tags[name]), name))
    return [*ranked, *sorted(_others(model_type, set(ranked)))]


def _rank(tags: list[str]) -> int:
    places = [_PRIORITY.index(tag) for tag in tags if tag in _PRIORITY]
    return min(places, default=100 if "BASE" in tags else 500)


def _others(model_type: str, known: set[str]) -> Iterator[str]:
    """Classes with that configuration that no auto class names: they can be `architectures` too."""
    import transformers

    config_class = transformers.CONFIG_MAPPING[model_type]
    for module in _modeling(config_class.__module__.rpartition(".")[0]):
        for name, found in vars(module).items():
            own = inspect.isclass(found) and found.__module__ == module.__name__
            if not own or name in known or name.endswith("PreTrainedModel"):
                continue
            is_model = issubclass(found, transformers.PreTrainedModel)
            if is_model and found.config_class is config_class and hasattr(transformers, name):
                yield name


def _modeling(package: str) -> Iterator[Any]:
    """The modules of a package that define models."""
    folder = Path(importlib.import_module(package).__file__ or "").parent
    for path in sorted(folder.glob("modeling_*.py")):
        try:
            yield importlib.import_module(f"{package}.{path.stem}")
        except ImportError:
            continue  # needs a library that is not here


def class_of(name: str) -> Any:
    """The class of that name."""
    import transformers

    return getattr(transformers, name)


def default_config(model_type: str, **changes: Any) -> Any:
    """The default configuration, or with values for some keys."""
    import transformers

    if model_type in _PAIRS:
        encoder, decoder = _PAIRS[model_type]
        changes.setdefault("encoder", {"model_type": encoder})
        changes.setdefault("decoder", {"model_type": decoder, "is_decoder": True})
        changes["decoder"]["add_cross_attention"] = True
    return transformers.CONFIG_MAPPING[model_type](**changes)


def build(model_class: Any, config: Any, dtype: str = "bfloat16") -> Any:
    """The model as `from_pretrained` builds it before it loads: on meta, nothing tied."""
    import torch
    from transformers.utils.generic import ContextManagers

    of = getattr(torch, dtype)
    for level in config_paths(config).values():
        level.dtype = of
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ContextManagers(model_class.get_init_context(of, False, False, False)):
            return model_class(config)


def config_paths(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration and those within it, by path; its own is ""."""
    found = {prefix: config}
    for key in getattr(config, "sub_configs", None) or {}:
        inner = getattr(config, key, None)
        if hasattr(inner, "to_dict"):
            found |= config_paths(inner, f"{prefix}.{key}" if prefix else key)
    return found
