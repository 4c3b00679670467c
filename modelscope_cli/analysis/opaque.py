"""Tensors that no family reads: weights packed in a way we cannot see through, and stray state."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import FAMILIES

_Place = tuple[str | None, str]  # component and template
_PACKING = frozenset(("U8", "I8", "I16", "U16", "I32", "U32"))
_BNB_STATE = (".absmax", ".quant_map", *FAMILIES[0].values)
# Integers that every model may hold, by the end of their names.
_ORDINARY = ("position_ids", "token_type_ids", "num_batches_tracked", "mask", "_index", "tid2eid")
# What only a packed weight is called, and whose layout that is, where no family reads it.
_OTHERS = {"W_q": "HQQ", "q_weight": "EXL2", "_data": "quanto", "_qdata": "torchao"}
_MISSING = {
    "qweight": ".scales",
    "weight_packed": ".weight_scale",
    "weight": ".absmax, .SCB or .weight_scale",
}
# Scales of a cache or of inputs that nothing else is called; those of one number say so alone.
_CACHE = ("k_scale", "v_scale", "kv_scale", "prob_scale", "prob_output_scale")
_STATE = frozenset(
    (
        *(suffix[1:] for family in FAMILIES for suffix in family.state if suffix[0] == "."),
        *_CACHE, "q_scale", "weight_scales", "weight_zeros", "scale_packed", "codebooks",
    )
) - {"scale", "scales"}  # fmt: skip
# What belongs to a packed weight when it lies beside one, whatever else bears such names.
_BESIDE = frozenset(
    ("scale", "scales", "biases", "zero", "zeros", "meta", "tables", "tables2", "_scale", "_shift",
     "q_scale_max", "q_groups", "q_group_map", "q_invperm", "q_perm", "q_scale", "compressed_idx")
)  # fmt: skip
_MAX_QUOTED = 40  # characters of an untrusted method


class Left(NamedTuple):
    """A row that no family took. `torn`: others of its kind, one row with it, are packed."""

    place: _Place
    dtype: str
    shape: Shape
    torn: bool = False


def method_of(declared: Mapping[str, Any]) -> str | None:
    """The method that a configuration names, as a scheme; None where it names none."""
    method = declared.get("quant_method")
    return method.lower()[:_MAX_QUOTED] if isinstance(method, str) and method else None


class Surroundings:
    """What else is in the model: it decides what a name means.

    `methods` are those by which weights were read, `suffixes` what their state was called.
    """

    def __init__(
        self,
        places: Container[_Place],
        declared: Mapping[str, Any],
        methods: Container[str],
        suffixes: Iterable[str],
    ) -> None:
        self.places = places
        self.method = method_of(declared)
        self.is_unread = self.method is not None and self.method not in methods
        self.suffixes = tuple(s for s in suffixes if s[0] == "." or s in ("_scales", "_scale_inv"))
        self.is_quantized = bool(declared or self.suffixes)

    def hidden(self, left: Left) -> Unknown | None:
        """Why the weights of a packed row cannot be told; None for a row that is not packed."""
        (component, template), dtype, shape, torn = left
        if dtype not in _PACKING or template.startswith("blk."):  # a GGUF's types say it all
            return None
        last = template.rpartition(".")[2]
        if not (torn or self._is_packed(left, last)):
            return None
        reason = self._missing(component, template, last)
        return Unknown(f"{dtype} {list(shape)} packs weights: {reason}")

    def _is_packed(self, left: Left, last: str) -> bool:
        (component, template), _, shape, _ = left
        if last in ("qweight", "weight_packed") or last in _OTHERS:
            return True
        if len(shape) > 1 and (last == "weight" or last.endswith(("_blocks", "_qdata"))):
            return True
        module = template.removesuffix(last)
        if last == "codes" and (component, f"{module}codebooks") in self.places:
            return True
        if any((component, template + suffix) in self.places for suffix in _BNB_STATE):
            return True
        return self.is_unread and not template.endswith(_ORDINARY) and last not in _STATE | _BESIDE

    def _missing(self, component: str | None, template: str, last: str) -> str:
        """What would have to be there, or whose layout it is."""
        module = template.removesuffix(last)
        known = any(self.method in family.methods for family in FAMILIES)
        if self.method is not None and not known:
            return f"{self.method} is declared, whose layout is not known here"
        if last in _OTHERS or last == "codes":
            return f"the layout of {_OTHERS.get(last, 'AQLM')} is not known here"
        if (component, f"{module}biases") in self.places:
            return "the layout of MLX is not known here"
        bnb = [suffix for suffix in _BNB_STATE if (component, template + suffix) in self.places]
        if bnb or self.method == "bitsandbytes":
            missing = ".absmax" if last != "weight" or bnb else ".absmax or .SCB"
        elif last.endswith("_blocks"):
            missing = f"{last.removesuffix('_blocks')}_scales"
        else:
            missing = _MISSING.get(last, "tensor that tells their number")
        declared = f" ({self.method} is declared)" if self.method else ""
        return f"no {missing} is beside it{declared}"

    def strays(self, rows: Sequence[Left], hidden: Iterable[_Place]) -> list[bool]:
        """Which rows are state of packed weights that are elsewhere, or of a cache."""
        modules = {(component, _module(template)) for component, template in hidden}
        is_quantized = self.is_quantized or bool(modules)
        return [self._is_stray(row, modules, is_quantized) for row in rows]

    def _is_stray(self, left: Left, modules: Container[_Place], is_quantized: bool) -> bool:
        (component, template), _, shape, _ = left
        last = template.rpartition(".")[2]
        if last == "pre_quant_scale" or (last in _CACHE and set(shape) <= {1}):
            return True
        if ".quant_state.bitsandbytes__" in template:
            return True
        if not is_quantized:
            return False
        if last in _STATE or (last in _BESIDE and (component, _module(template)) in modules):
            return True
        if last == "scales" and self._has_scales():
            return True
        if last == "scale" and len(shape) == 1 and shape != (1,):
            return False  # a norm's
        return template.endswith(self.suffixes) if self.suffixes else False

    def _has_scales(self) -> bool:
        """Whether the declared method keeps `.scales`."""
        return any(
            ".scales" in family.state for family in FAMILIES if self.method in family.methods
        )


def _module(template: str) -> str:
    """The module of a packed weight or of its state: `l.0` of `l.0.weight._data`, too."""
    return template.rpartition(".")[0].removesuffix(".weight")
