"""Values in a quantization config that can mean nothing, whatever the tensors are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from modelscope_cli.facts import Note
from modelscope_cli.schemes.evidence import is_size

_MAX_GROUPS = 64
_MAX_BITS = 32
_MAX_QUOTED = 40
_SIZES = ("group_size", "bits", "num_bits")


def notes(declared: Mapping[str, Any]) -> tuple[Note, ...]:
    """One warning that names all of them; none where everything makes sense."""
    wrong = list(dict.fromkeys(_wrong(declared)))
    if not wrong:
        return ()
    said = f"the quantization config says {', '.join(wrong)}, which makes no sense"
    return (Note(f"{said}: tensor names and shapes decide", warning=True),)


def _wrong(declared: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong_sizes(declared, declared.get("quant_method") == "modelopt")
    if not _is_block(declared.get("weight_block_size")):
        yield f"weight_block_size {quoted(declared['weight_block_size'])}"
    groups = declared.get("config_groups")
    if groups is None:
        return
    if not isinstance(groups, Mapping):
        yield f"config_groups {quoted(groups)}"
        return
    for group in islice(groups.values(), _MAX_GROUPS):
        weights = group.get("weights") if isinstance(group, Mapping) else group
        if isinstance(weights, Mapping):
            yield from _wrong_sizes(weights)
            if not _is_block(weights.get("block_structure")):
                yield f"block_structure {quoted(weights['block_structure'])}"
        elif weights is not None or group is None:
            yield f"a group of config_groups {quoted(weights)}"


def _wrong_sizes(values: Mapping[str, Any], none_is_zero: bool = False) -> Iterator[str]:
    for key in _SIZES:
        said = values.get(key)
        if said is None or (key == "group_size" and said == -1 and type(said) is int):
            continue  # -1: a whole row
        if none_is_zero and key == "group_size" and said == 0:
            continue  # so ModelOpt writes that there are none
        if not is_size(said) or (key != "group_size" and said > _MAX_BITS):
            yield f"{key} {quoted(said)}"


def _is_block(said: object) -> bool:
    if said is None or isinstance(said, str):  # older releases write "128x128"
        return True
    return isinstance(said, (list, tuple)) and len(said) == 2 and all(map(is_size, said))


def quoted(value: object) -> str:
    """An untrusted value in a note, short."""
    if isinstance(value, (list, tuple)) and len(value) <= 4 and all(map(_is_number, value)):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, (list, tuple, dict)):
        return "a list" if isinstance(value, (list, tuple)) else "an object"
    if isinstance(value, int) and value.bit_length() > 128:  # str() refuses 4,300 digits
        return "a huge number"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
