"""What is asked of a footprint: the options' texts as values, contradictions refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.memory import modes
from modelscope_cli.analysis.memory.modes import BITS, Mode
from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.training.step import Training

MAX_TOKENS = 2**40
FIT = "fit"
MAX = "max"
_STEPS = {"": 1, "K": 1024, "M": 1024**2}
_MOST_DIGITS = 9
_COUNT = re.compile(r"([0-9][0-9_,]*)([KkMm]?)")
_FLOATS = ("BF16", "F16", "F32", "F64")
_SHORT = {"bf16": "BF16", "fp16": "F16", "half": "F16", "fp32": "F32", "float": "F32"}
GGML_CACHES = ("Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q5_0", "Q5_1")  # llama.cpp's alone
_CACHED = {"fp8": "F8_E4M3", "fp8_e4m3": "F8_E4M3", "fp8_e5m2": "F8_E5M2", "int8": "I8"}


class Asked(NamedTuple):
    """A footprint's request. `only`: one row was asked for; else all, the stored one on top."""

    modes: tuple[Mode, ...]
    only: bool
    batch: int | None  # None: the largest that fits
    context: int | str | None  # None: the default; or `max`, `fit`
    encoder_context: int | None
    kv_dtype: str | None
    transformers: int
    training: Training | None = None


def asked(
    *,
    bits: str | None,
    quant: str | None,
    double_quant: bool,
    dtype: str | None,
    transformers: str,
    batch: str,
    context: str | None,
    encoder_context: int | None,
    kv_dtype: str | None,
    training: Training | None = None,
) -> Asked:
    """The request. Raises UsageError for what no number is, or contradicts itself."""
    scheme = None if quant is None else _scheme(quant, bits)
    float_dtype = None if dtype is None else _float_dtype(dtype, bits)
    if double_quant and (bits not in (None, "4") or scheme not in (None, "nf4", "fp4")):
        raise UsageError("--double-quant is of 4 bit: --bits 4, or --quant nf4 or fp4")
    rows = (modes.bits_of(scheme),) if scheme else (bits,) if bits else BITS
    made = tuple(
        modes.mode(
            row, scheme, double_quant=double_quant, dtype=float_dtype,
            transformers=int(transformers),
        )
        for row in rows
    )  # fmt: skip
    return Asked(
        made,
        len(made) == 1,
        None if batch == FIT else _positive("--batch", batch),
        context if context in (None, FIT, MAX) else tokens("--context", context or ""),
        encoder_context,
        None if kv_dtype is None else _cache_dtype(kv_dtype),
        int(transformers),
        training,
    )


def _scheme(typed: str, bits: str | None) -> str:
    from modelscope_cli.analysis import packing

    scheme = typed.strip().lower()
    if scheme not in packing.SCHEME_NAMES:
        there_are = f"there are: {', '.join(packing.SCHEME_NAMES)}"
        near = did_you_mean(scheme, packing.SCHEME_NAMES) or there_are
        raise UsageError(f"--quant: {typed!r} is no packing scheme", near)
    if bits is not None and modes.bits_of(scheme) != bits:
        raise UsageError(f"--bits {bits} and --quant {scheme} contradict each other")
    return scheme


def _float_dtype(typed: str, bits: str | None) -> str:
    name = _named(typed)
    if name not in _FLOATS:
        fits = ("bfloat16", "float16", "float32")
        raise UsageError(f"--dtype: {typed!r} is not one of {', '.join(fits)}")
    width = {"32": 4, "16": 2}.get(bits or "")
    if width is not None and DTYPES[name].block_bytes != width:
        raise UsageError(f"--bits {bits} and --dtype {typed} contradict each other")
    return name


def _cache_dtype(typed: str) -> str:
    name = _CACHED.get(typed.lower(), _named(typed))
    if name not in (*_FLOATS[:3], *_CACHED.values(), *GGML_CACHES):
        fits = ("bfloat16", "float16", "float32", "fp8", "int8", "and of a GGUF q8_0, q4_0")
        raise UsageError(f"--kv-dtype: {typed!r} is not one of {', '.join(fits)}")
    return name


def _named(typed: str) -> str:
    lower = typed.strip().lower().removeprefix("torch.")
    if lower in TORCH:
        return TORCH[lower].name
    return _SHORT.get(lower, lower.upper())


def tokens(flag: str, typed: str) -> int:
    """`4096`, `32k` (32,768), `1M`. Raises UsageError."""
    found = _COUNT.fullmatch(typed.strip())
    count = 0
    if found is not None:
        digits = re.sub(r"[_,]", "", found[1])
        count = int(digits[:20]) * _STEPS[found[2].upper()]
    if not 0 < count <= MAX_TOKENS:
        raise UsageError(
            f"{flag}: {typed!r} is no number of tokens", "4096, 32k (32,768), max or fit"
        )
    return count


def _positive(flag: str, typed: str) -> int:
    if not (typed.isascii() and typed.isdecimal()) or len(typed) > _MOST_DIGITS or not int(typed):
        raise UsageError(f"{flag}: {typed!r} is no number of sequences", "1, 8 or fit")
    return int(typed)


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def size(flag: str, typed: str) -> int:
    """Bytes: `512MiB`, `1.5GB`, `536870912`. Raises UsageError."""
    found = _SIZE.fullmatch(typed.strip())
    if found is None or len(found[1]) > 20:
        raise UsageError(f"{flag}: {typed!r} is no size", "512MiB, 1GB, 0")
    unit = (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
    whole, _, part = found[1].partition(".")
    return int(int(whole + part) * unit // 10 ** len(part))


def needs_training(train: str | None, given: Sequence[str]) -> None:
    """Options of a training that is none, or of LoRA without it. Raises UsageError."""
    if not given or train == "lora":
        return
    lora = [flag for flag in given if flag.startswith("--lora")]
    if train is None:
        raise UsageError(f"{given[0]} is of training", "--train full, --train lora")
    if lora:
        raise UsageError(f"{lora[0]} is of LoRA", "--train lora")


def contradictions(*, gpus: str | None, check: bool, fits: Sequence[str]) -> None:
    """What needs cards and has none. Raises UsageError."""
    if gpus is not None:
        return
    if check:
        raise UsageError("--check needs cards to check against", "--gpus 1x24GiB")
    for flag in fits:
        raise UsageError(f"{flag} fit needs cards to fit on", "--gpus 1x24GiB")
