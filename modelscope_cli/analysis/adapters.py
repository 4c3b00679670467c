"""Adapters: a few weights that peft lays upon a model that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.facts import Unknown

_LONGEST = 200  # characters of a name from an untrusted file


def kind_of(config: Mapping[str, Any]) -> str | None:
    """`LoRA`, as an adapter_config.json names it; None of what is no adapter."""
    found = config.get("peft_type")
    if not isinstance(found, str) or "model_type" in config:
        return None
    return "LoRA" if found.upper() == "LORA" else found[:_LONGEST]


def base_of(config: Mapping[str, Any]) -> str | None:
    """The model that it adapts, as its file names it."""
    found = config.get("base_model_name_or_path")
    return found[:_LONGEST] if isinstance(found, str) and found else None


def told(config: Mapping[str, Any]) -> Unknown | None:
    """Why a whole model's figures cannot be told of an adapter; None of what is no adapter."""
    kind = kind_of(config)
    if kind is None:
        return None
    base = base_of(config)
    if base is None:
        return Unknown(f"a {kind} adapter, which does not name its model: these are its own bytes")
    return Unknown(f"a {kind} adapter of {base}: these are its own bytes, ask for those of {base}")
