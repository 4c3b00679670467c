"""What a model's files declare of its quantization, brought to one form: a hint, never proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from modelscope_cli.facts import Note
from modelscope_cli.schemes import nonsense

_KEYS = ("quantization_config", "compression_config")
_DEPTH = 4  # of sub-configs: thinker_config.text_config is the deepest seen
MAX_PLACES = 32  # declarations looked at; a model of parts has one or two
_MAX_QUOTED = 40  # characters of an untrusted value in a note
# The same thing under the name that GPTQ and transformers use.
_RENAMED = {"w_bit": "bits", "q_group_size": "group_size"}
# What each file is about where it does not say itself.
_METHOD_OF_FILE = {"quantize_config.json": "gptq", "quant_config.json": "awq"}
_ALIASES = {
    "sparseml": "compressed-tensors",
    "compressed_tensors": "compressed-tensors",
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
}
# First come, first served: a key that only one method's configuration has.
_METHOD_OF_KEY = {
    "load_in_4bit": "bitsandbytes",
    "load_in_8bit": "bitsandbytes",
    "quant_algo": "modelopt",
    "config_groups": "compressed-tensors",
    "w_bit": "awq",
    "desc_act": "gptq",
}
_COMPARED = ("quant_method", "bits", "group_size", "quant_algo")


class _Declaration(NamedTuple):
    """One place that declares quantization: how a note names it, and what stands there."""

    place: str
    raw: Any
    method: str | None = None  # where it does not say one


def read(
    config: Mapping[str, Any] | None, others: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """The quantization a model declares, `{}` where none, and what was odd about it.

    `config` is config.json (also its sub-configs are looked into), `others` the values of
    hf_quant_config.json, quantize_config.json and quant_config.json by file name, of whatever
    type. The result has raw keys and values, `quant_method` in the spelling of
    `Family.methods` where it is known, and `bits` and `group_size` for AutoAWQ's own names.
    config.json goes first; another file adds what it leaves out, and a note what contradicts it.
    """
    merged: dict[str, Any] = {}
    first, notes = "", []
    mistyped: dict[str, list[str]] = {}
    for found in chain(islice(_in_config(config or {}), MAX_PLACES), _in_files(others)):
        if found.raw is None:  # `"quantization_config": null` is common, and says nothing
            continue
        if not isinstance(found.raw, Mapping):
            mistyped.setdefault(_kind(found.raw), []).append(found.place)
            continue
        stated, remarks = _normal(found, merged.get("quant_method") or found.method)
        notes += remarks
        if merged and stated:
            notes += _contradictions(first, merged, found.place, stated)
        first = first or (found.place if stated else "")
        if merged.get("quant_method") in (None, stated.get("quant_method")):
            merged = {**stated, **merged}
    notes += [_wrong_type(places, is_, "an object") for is_, places in mistyped.items()]
    return merged, (*notes, *nonsense.notes(merged))


def _in_config(config: Mapping[str, Any]) -> Iterator[_Declaration]:
    """Declarations of config.json, the outermost first."""
    level: list[tuple[str, Mapping[str, Any]]] = [("", config)]
    for _ in range(_DEPTH):
        for path, each in level:
            for key in _KEYS:
                if key in each:
                    method = "compressed-tensors" if key == "compression_config" else None
                    yield _Declaration(f"config.json: {path}{key}", each[key], method)
        level = [
            (f"{path}{_quoted(key)}.", value)
            for path, each in level
            for key, value in each.items()
            if isinstance(value, Mapping) and key not in _KEYS
        ]


def _in_files(others: Mapping[str, Any]) -> Iterator[_Declaration]:
    """Declarations of the files beside config.json."""
    for name, value in others.items():
        if name == "hf_quant_config.json" and isinstance(value, Mapping):
            yield _Declaration(f"{name}: quantization", value.get("quantization"), "modelopt")
        else:
            yield _Declaration(name, value, _METHOD_OF_FILE.get(name))


def _normal(found: _Declaration, otherwise: str | None) -> tuple[dict[str, Any], list[Note]]:
    """The declaration with its method spelled as we know it, and AutoAWQ's keys renamed.

    `otherwise` is the method where it tells none.
    """
    stated = dict(found.raw)
    notes: list[Note] = []
    method = stated.pop("quant_method", None)
    if method is not None and not isinstance(method, str):
        notes.append(_wrong_type([f"{found.place}.quant_method"], _kind(method), "text"))
        method = None
    if not stated and method is None:
        return {}, notes
    method = method or _inferred(stated) or otherwise
    for old, new in _RENAMED.items():
        if old in stated:
            stated.setdefault(new, stated[old])
    if method is not None:
        stated = {"quant_method": _spelled(method, stated), **stated}
    return stated, notes


def _inferred(stated: Mapping[str, Any]) -> str | None:
    """The method by keys that no other has; transformers itself does so for bitsandbytes."""
    keys = (key for key in _METHOD_OF_KEY if stated.get(key) not in (None, False))
    key = next(keys, "desc_act" if "desc_act" in stated else None)
    return None if key is None else _METHOD_OF_KEY[key]


def _spelled(method: str, stated: Mapping[str, Any]) -> str:
    """A method's name as `Family.methods` has it; one of ours or not."""
    name = method.lower()
    if name.startswith("modelopt"):  # modelopt_fp4, modelopt_mixed: what engines call them
        return "modelopt"
    if "auto-round" in name or "auto_round" in name:  # packs as another method does
        packing = str(stated.get("packing_format", "")).lower()
        return next((other for other in ("awq", "gptq") if other in packing), name)
    return _ALIASES.get(name, name)


def _contradictions(
    first: str, merged: Mapping[str, Any], place: str, stated: Mapping[str, Any]
) -> Iterator[Note]:
    """A note where two places say different things of the same."""
    differing = [
        f"{key} {_quoted(stated[key])} instead of {_quoted(merged[key])}"
        for key in _COMPARED
        if key in merged and key in stated and not _same(merged[key], stated[key])
    ]
    if differing:
        yield Note(f"{place} says {', '.join(differing)}; {first} is taken", warning=True)


def _same(a: object, b: object) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.lower() == b.lower()
    return a == b


def _wrong_type(places: Sequence[str], is_: str, wanted: str) -> Note:
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    said = f"{places[0]}{more} is {is_}, not {wanted}"
    return Note(f"{said}: it is ignored, tensor names decide", warning=True)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return names.get(type(value), "a number")


def _quoted(value: object) -> str:
    """An untrusted value in a note, short."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and value.bit_length() > 128:  # str() refuses 4,300 digits
        return "a huge number"
    text = str(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"
