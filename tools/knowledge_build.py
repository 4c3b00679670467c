"""Classes of transformers and how they are built: on the meta device, as `from_pretrained` does."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import json
import os
import signal
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
ROLES = {
    "base": "BASE",
    "causal": "CAUSAL_LM",
    "seq2seq": "SEQ_TO_SEQ_CAUSAL_LM",
    "backbone": "BACKBONE",
}
# What the default configuration leaves out and its class cannot be built without.
_PLAIN_ROPE = {
    kind: {"rope_type": "default", "rope_theta": 10000.0}
    for kind in ("full_attention", "sliding_attention")
}
_MISSING: dict[str, dict[str, Any]] = {
    "autoformer": {"prediction_length": 24},
    "aya_vision": {
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "num_attention_heads": 16,
            "vision_use_head": False,
        }
    },
    "beit": {"out_indices": [3, 5, 7, 11]},
    "bridgetower": {"contrastive_hidden_size": 512, "logit_scale_init_value": 2.6592},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "cohere_compass": {
        "text_config": {"model_type": "cohere_compass_text", "rope_parameters": _PLAIN_ROPE}
    },
    "cohere_compass_text": {"rope_parameters": _PLAIN_ROPE},
    "dbrx": {"attn_config": {"rope_theta": 500000.0}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", *["sparse"] * 63]}},
    "diffusion_gemma": {
        "text_config": {"top_k_experts": 2, "moe_intermediate_size": 704, "num_experts": 8}
    },
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2},
    "emu3": {"vocabulary_map": {"<image>": 5}},
    "encoder-decoder": {
        "encoder": {"model_type": "bert"},
        "decoder": {"model_type": "bert", "is_decoder": True, "add_cross_attention": True},
    },
    "esm": {"vocab_size": 33},
    "granite4_vision": {"deepstack_layer_map": [[1, 0]], "downsample_rate": "4/8"},
    "hiera": {"decoder_hidden_size": 512, "decoder_depth": 2, "decoder_num_heads": 16},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl": {"text_config": {"model_type": "hunyuan_vl_text", "head_dim": 128}},
    "hunyuan_vl_text": {"head_dim": 128},
    "informer": {"prediction_length": 24},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "ministral": {"head_dim": 128},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "moshi": {"audio_vocab_size": 2048},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 128},
    "perception_lm": {
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": {
                "embed_dim": 1024,
                "img_size": [448, 448],
                "depth": 23,
                "global_pool": "",
                "use_post_transformer_norm": False,
                "init_values": 0.1,
                "ref_feat_shape": [32, 32],
            },
        }
    },
    "speech-encoder-decoder": {
        "encoder": {"model_type": "wav2vec2"},
        "decoder": {"model_type": "bert", "is_decoder": True, "add_cross_attention": True},
    },
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "time_series_transformer": {"prediction_length": 24},
    "timm_backbone": {"backbone": "resnet50"},
    "vision-encoder-decoder": {
        "encoder": {"model_type": "vit"},
        "decoder": {"model_type": "gpt2", "is_decoder": True, "add_cross_attention": True},
    },
}

# What single classes need beside.
_NEEDS: dict[str, dict[str, Any]] = {
    "ReformerModelWithLMHead": {"is_decoder": True},
    "T5GemmaEncoderModel": {"is_encoder_decoder": False},
    "ViltForImagesAndTextClassification": {"num_images": 2},
    "Wav2Vec2BertForCTC": {"vocab_size": 32},
    "Wav2Vec2ConformerForCTC": {"vocab_size": 32},
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


@cache
def model_types() -> tuple[str, ...]:
    """Every model type that has a class, named by an auto class or not."""
    import transformers

    named = {kind for mapping in auto_mappings().values() for kind in mapping}
    parts = {kind for kind in transformers.CONFIG_MAPPING if kind not in named}
    return tuple(sorted(named | {kind for kind in parts if any(_others(kind, set()))}))


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
            if not own or name in known or _is_abstract(name, found):
                continue
            is_model = issubclass(found, transformers.PreTrainedModel)
            if is_model and found.config_class is config_class and hasattr(transformers, name):
                yield name


def _is_abstract(name: str, found: Any) -> bool:
    return "pretrained" in name.lower() and "forward" not in vars(found)


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
    """The default configuration as it is when it has been in a file (lists, not tuples).

    With `changes`, what a file with these values makes.
    """
    import transformers

    config_class = transformers.CONFIG_MAPPING[model_type]
    config = config_class(**copy.deepcopy(_MISSING.get(model_type, {}) | changes))
    try:
        return config_class.from_dict(json.loads(json.dumps(config.to_dict())))
    except Exception:  # what it writes it does not read
        return config


def config_of(model_type: str, name: str) -> Any:
    """The configuration that a class is built with by default."""
    return default_config(model_type, **_NEEDS.get(name, {}))


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


@contextlib.contextmanager
def time_limit(seconds: int = 20) -> Iterator[None]:
    """Some values make a model of a million layers."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
