"""Which classes keep a cache at all, and for which ours was compared with a forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory.kv.settings import NotKnown, quoted
from modelscope_cli.knowledge import configs
from modelscope_cli.knowledge.lines import look_up

_TABLE = "kv_cache"
_LONGEST = 200  # characters of a model type
# Endings of classes that are the encoder of a model that has both, or run only that.
_ENCODER_ALONE = ("EncoderModel", "Encoder", "ForTokenClassification", "ForAudioClassification")
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "LMModel")


class Known(NamedTuple):
    """`exact`: a forward of this class left the bytes that ours says."""

    caches: bool
    exact: bool = False
    note: str | None = None


def known(config: Mapping[str, Any], architecture: str | None) -> Known:
    """What is known of a class. Raises NotKnown for what may be anything."""
    model_type = config.get("model_type")
    record = _record(model_type)
    if record is not None:
        return _recorded(record, config, architecture)
    if isinstance(model_type, str) and configs.is_known_config(model_type):
        return Known(caches=False, note="encoders keep no cache")
    return _of_unknown_type(config, architecture)


def is_compared(config: Mapping[str, Any]) -> bool:
    """Whether a forward of this type has left what our rules say, for any of its classes."""
    record = _record(config.get("model_type"))
    return record is not None and bool(record.get("exact"))


def needs(decoder: Mapping[str, Any]) -> Sequence[str]:
    """The keys by which a decoder's class tells one layer from another."""
    record = _record(decoder.get("model_type"))
    return record.get("needs", ()) if record is not None else ()


def _record(model_type: Any) -> Mapping[str, Any] | None:
    named = isinstance(model_type, str) and len(model_type) < _LONGEST
    return look_up(_TABLE, model_type) if named else None


def _recorded(
    record: Mapping[str, Any], config: Mapping[str, Any], architecture: str | None
) -> Known:
    exact, tried = record.get("exact", ()), {*record.get("differs", ()), *record.get("untried", ())}
    none = record.get("none", ())
    when = record.get("when")
    if when is not None and configs.effective(config).get(when) is not True:
        return Known(caches=False, note=f"keeps no cache unless {when} is true")
    listed = architecture in exact or architecture in tried
    if architecture in none or (none and not exact and not tried):
        return Known(caches=False, note="this class keeps no cache")
    alone = not listed and (architecture or "").endswith(_ENCODER_ALONE)
    if alone and configs.effective(config).get("is_encoder_decoder") is True:
        return Known(caches=False, note="encoders keep no cache")
    compared = architecture in exact if listed else bool(exact) and not tried
    return Known(caches=True, exact=compared)


def _of_unknown_type(config: Mapping[str, Any], architecture: str | None) -> Known:
    """A type that transformers does not have: as far as its name and keys tell, a decoder."""
    named = config.get("model_type")
    said = "no model_type" if named is None else f"unknown model_type {quoted(named)}"
    generates = architecture is not None and any(part in architecture for part in _GENERATING)
    if not generates and (architecture is not None or config.get("use_cache") is not True):
        raise NotKnown(f"{said}: whether it keeps a cache is not known")
    return Known(caches=True, note=f"{said}: counted as a plain decoder's")
