"""What transformers' quantizers make of a checkpoint that is packed already.

As read in `transformers.quantizers`, release 5.23: tests hold the table of methods to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_cli.analysis.memory.weights import linear
from modelscope_cli.analysis.memory.weights.held import Held, template_of
from modelscope_cli.schemes.base import Logical
from modelscope_cli.units import size_text

# Every quant_method that transformers has a quantizer for; it skips any other with a warning.
METHODS = frozenset(
    ("aqlm", "auto-round", "awq", "bitnet", "bitsandbytes", "bitsandbytes_4bit",
     "bitsandbytes_8bit", "compressed-tensors", "eetq", "fbgemm_fp8", "fouroversix", "fp8",
     "fp_quant", "gemma", "gguf", "gptq", "higgs", "hqq", "metal", "mxfp4", "mxfp8", "nvfp4",
     "quanto", "quark", "sinq", "spqr", "torchao", "vptq")
)  # fmt: skip
_FP8 = "without a GPU, or below compute capability 8.9, transformers dequantizes to {dtype}: {size}"
# What becomes of packed weights where kernels, hardware or a library are missing.
_OTHERWISE: Mapping[str, str] = {
    "fp8": _FP8,
    "mxfp8": _FP8,
    "mxfp4": "without the kernels package or Triton, or below compute capability 7.5, transformers "
    "dequantizes to {dtype}: {size}",
    "compressed-tensors": "compressed-tensors dequantizes to {dtype} in the first forward pass: "
    "{size} from then on; without that library transformers refuses to load it",
    "gptq": "without optimum and gptqmodel transformers refuses to load it: nothing is dequantized",
    "awq": "without gptqmodel transformers refuses to load it: nothing is dequantized",
    "bitsandbytes": "without bitsandbytes transformers refuses to load it: nothing is dequantized",
    "nvfp4": "transformers quantizes to NVFP4 but refuses a checkpoint that is NVFP4 already",
}
# How a scheme is called in a row's name.
_NAMES: Mapping[str, str] = {
    "nf4": "nf4 (bitsandbytes)",
    "fp4": "fp4 (bitsandbytes)",
    "int8": "int8 (bitsandbytes)",
    "gptq": "GPTQ {bits:g} bit",
    "awq": "AWQ {bits:g} bit",
    "mxfp4": "MXFP4",
    "nvfp4": "NVFP4",
    "fp8": "FP8",
    "fp8-channel": "FP8 by channel",
    "fp8-block": "FP8 by block",
}
_BY_COMPRESSED_TENSORS = ("-quantized", "_quantized")
_SKIPPED = ("modules_to_not_convert", "llm_int8_skip_modules", "ignore", "exclude_modules")
_MOST_KEYS = 4096
STORED_SO = "stored so: not packed in the checkpoint"


def name(logical: Logical) -> str:
    """`GPTQ 4 bit`: how weights are packed, for people."""
    family = "awq" if logical.scheme.startswith("awq") else logical.scheme
    if family.endswith(_BY_COMPRESSED_TENSORS):
        return f"{family} {logical.bits:g} bit (compressed-tensors)"
    return _NAMES.get(family, family).format(bits=logical.bits)


def otherwise(method: str | None, dtype: str, loaded_bytes: int) -> str | None:
    """What happens to weights packed by `method` where it cannot be as stored; None: not known.

    `loaded_bytes` is all that is loaded once they are dequantized to `dtype`.
    """
    text = _OTHERWISE.get(method or "")
    size = f"{loaded_bytes:,} bytes ({size_text(loaded_bytes)}) in all"
    return None if text is None else text.format(dtype=dtype.lower(), size=size)


def skipped(method: str | None) -> str | None:
    """What transformers does with a method that it does not know."""
    if method is None or method in METHODS:
        return None
    return f"transformers knows no quant_method {method!r} and skips it: weights load as plain ones"


class Leaves:
    """Why weights of a packed checkpoint are not packed, by what it declares of its quantization.

    Keys are taken literally, `*` for numbers: what a file says is never run as an expression.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._keys = dict(_keys(declared))

    def reason(self, held: Held) -> str:
        """Of one parameter."""
        template = template_of(held.first_module)
        for key, place in self._keys.items():
            module = template if "*" in key else held.first_module
            if module == key or module.startswith(f"{key}.") or module.endswith(f".{key}"):
                return f"named in {place}"
        if held.kind in _KINDS and (held.kind != "linear" or not held.is_matrix):
            return _KINDS[held.kind]
        return STORED_SO


_KINDS: Mapping[str, str] = {
    "embedding": "an embedding, not a linear layer",
    "conv": "a convolution, not a linear layer",
    "norm": "a norm",
    "linear": linear.SMALL,
}


def _keys(declared: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for place in _SKIPPED:
        found = declared.get(place)
        for key in found[:_MOST_KEYS] if isinstance(found, list) else ():
            if isinstance(key, str) and key:
                yield key.removesuffix(".weight"), place
