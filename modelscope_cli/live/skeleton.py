"""A model's class built on the meta device, as `from_pretrained` builds it before any weight."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.facts import Unknown
from modelscope_cli.live import limits
from modelscope_cli.live.library import Libraries, first_line, nothing_remote, quiet

# Of a configuration: code of the Hub, or the wish for a kernel that is not here.
_NEVER_ASKED = (
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_attn_implementation_autoset",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "quantization_config",  # applied by whoever asks, not by the class
    "fusion_config",
    "transformers_weights",
    "name_or_path",
    "_name_or_path",
)


class Skeleton(NamedTuple):
    """A model on meta, and the dtype it was built in. `note`: where it is not the file's class."""

    model: Any
    dtype: Any
    class_name: str
    note: str | None = None


def build(
    libraries: Libraries,
    config: Mapping[str, Any],
    architecture: str | None,
    dtype: str | None = None,
    prepare: Any = None,
) -> Skeleton | Unknown:
    """The class on meta, untied; `dtype` in safetensors' spelling, None: what the config says.

    `prepare(model, dtype)` runs where transformers' quantizer does, in the same context.
    Remote code is never run: a class that only `auto_map` has is Unknown.
    """
    with nothing_remote(), quiet():
        found = chosen(libraries, config, architecture)
        if isinstance(found, Unknown):
            return found
        cls, made = found
        wanted = torch_dtype(libraries, made, dtype)
        _set_dtype(made, wanted)
        try:
            with limits.time_limit(), limits.parameter_limit(libraries.torch):
                model = _on_meta(libraries, cls, made, wanted, prepare)
        except MemoryError:
            return Unknown(f"{cls.__name__} does not fit into this machine's memory, even on meta")
        except Exception as error:  # classes raise what they like on values they refuse
            return Unknown(f"{libraries.name} cannot build {cls.__name__}: {first_line(error)}")
    asked = architecture in (None, cls.__name__)
    note = None if asked else f"built as {cls.__name__}: {libraries.name} has no {architecture}"
    return Skeleton(model, wanted, cls.__name__, note)


def _on_meta(libraries: Libraries, cls: Any, config: Any, dtype: Any, prepare: Any) -> Any:
    with ExitStack() as stack:
        for context in cls.get_init_context(dtype, prepare is not None, False, False):
            stack.enter_context(context)
        model = cls(config)
        if prepare is not None:
            prepare(model, dtype)
    return model.eval()


def chosen(
    libraries: Libraries,
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    keep_quantization: bool = False,
) -> tuple[Any, Any] | Unknown:
    """The class, and the configuration object that it takes."""
    whole = _config(libraries, config)
    if isinstance(whole, Unknown):
        return whole
    cls = class_of(libraries, whole, architecture, config)
    if isinstance(cls, Unknown):
        return cls
    made = _own_config(whole, cls)
    if keep_quantization and "quantization_config" in config:
        made.quantization_config = config["quantization_config"]
    if getattr(made, "dtype", None) is None:
        made.dtype = getattr(whole, "dtype", None)
    return cls, made


def _config(libraries: Libraries, config: Mapping[str, Any]) -> Any:
    """The configuration object of transformers, or why there is none."""
    transformers = libraries.transformers
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        return Unknown("no model_type in this configuration: no class to build")
    if model_type not in transformers.CONFIG_MAPPING:
        code = "its code is remote (auto_map), which is never run; " if "auto_map" in config else ""
        return Unknown(f"{code}{libraries.name} has no model type {model_type!r}")
    key = limits.oversized(config)
    if key is not None:
        return Unknown(f"{key} of this configuration is beyond what a class can be built with")
    try:
        return transformers.CONFIG_MAPPING[model_type].from_dict(_plain(config))
    except Exception as error:
        return Unknown(f"{libraries.name} refuses this configuration: {first_line(error)}")


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without wishes, and with numbers that JSON has not: they are written {"__float__": "NaN"}."""
    return {
        str(key): _value(value) for key, value in config.items() if str(key) not in _NEVER_ASKED
    }


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        special = value.get("__float__") if len(value) == 1 else None
        return float(special) if special in _SPECIAL else _plain(value)
    return [_value(item) for item in value] if isinstance(value, list) else value


_SPECIAL = ("Infinity", "-Infinity", "NaN")


# Kinds of heads, the natural one first: what a model type is mostly used as.
_HEADS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_PRETRAINING_MAPPING_NAMES",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "MODEL_MAPPING_NAMES",
)


def class_of(
    libraries: Libraries, made: Any, architecture: str | None, config: Mapping[str, Any]
) -> Any:
    """The class named, if transformers has it and it takes this configuration; else the type's."""
    transformers = libraries.transformers
    if isinstance(architecture, str) and architecture.isidentifier():
        cls = getattr(transformers, architecture, None)
        if _is_model(transformers, cls) and _takes(cls, made):
            return cls
        if "auto_map" in config and cls is None:
            return Unknown(
                f"{architecture} is remote code (auto_map), which is never run, and "
                f"{libraries.name} has no class of that name"
            )
    for name in _names_of_type(transformers, made.model_type):
        cls = getattr(transformers, name, None)
        if _is_model(transformers, cls):
            return cls
    return Unknown(f"{libraries.name} has no class for model type {made.model_type!r}")


def _names_of_type(transformers: Any, model_type: str) -> Iterator[str]:
    auto = transformers.models.auto.modeling_auto
    for table in _HEADS:
        names = getattr(auto, table, {}).get(model_type, ())
        yield from (names,) if isinstance(names, str) else names


def _is_model(transformers: Any, cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)


def _takes(cls: Any, made: Any) -> bool:
    return _own_config(made, cls, None) is not None


def _own_config(made: Any, cls: Any, default: Any = ...) -> Any:
    """The configuration that a class takes: the whole, or the nested one of its kind."""
    wanted = getattr(cls, "config_class", None)
    fallback = made if default is ... else default
    if wanted is None or isinstance(made, wanted):
        return made
    nested = (getattr(made, key, None) for key in getattr(made, "sub_configs", {}))
    return next((sub for sub in nested if isinstance(sub, wanted)), fallback)


def torch_dtype(libraries: Libraries, made: Any, dtype: str | None) -> Any:
    """The dtype to load in: the one asked for, else the configuration's, else float32."""
    torch = libraries.torch
    if dtype is not None:
        return getattr(torch, DTYPES[dtype].torch or "float32")
    said = getattr(made, "dtype", None)
    said = getattr(torch, said, None) if isinstance(said, str) else said
    usable = isinstance(said, torch.dtype) and said.is_floating_point
    return said if usable else torch.float32


def _set_dtype(made: Any, dtype: Any) -> None:
    made.dtype = dtype
    for key in getattr(made, "sub_configs", {}) or {}:
        sub = getattr(made, key, None)
        if sub is not None and not isinstance(sub, Mapping):
            sub.dtype = dtype


def tie(model: Any, untied: Collection[str] = ()) -> None:
    """Tie what the class ties, but for `untied`: targets in the file that differ from the other."""
    for target in untied:
        model.all_tied_weights_keys.pop(target, None)
    model.tie_weights(recompute_mapping=False)


def loaded_dtype(libraries: Libraries, model: Any, dtype: Any) -> Any:
    """`name, tensor -> torch dtype` of a parameter or persistent buffer after loading.

    float32 where the class's plan says so, else as the skeleton declares it: the rule of
    `convert_and_load_state_dict_in_model`.
    """
    plan = model._get_dtype_plan(dtype)
    if not plan:
        return lambda name, tensor: tensor.dtype
    from transformers.core_model_loading import build_glob_alternation

    pattern, groups, _ = build_glob_alternation(list(plan))

    def loaded(name: str, tensor: Any) -> Any:
        found = pattern.search(name)
        return tensor.dtype if found is None else plan[groups[found.lastgroup]]

    return loaded


def spelling(torch_dtype: Any) -> str:
    """Safetensors' name of a torch dtype."""
    return TORCH[str(torch_dtype).removeprefix("torch.")].name
