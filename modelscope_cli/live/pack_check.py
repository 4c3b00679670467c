"""`pack --verify`: bitsandbytes itself quantizes random values, and says what it made of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.errors import MissingExtra, UsageError
from modelscope_cli.facts import Shape
from modelscope_cli.live.library import nothing_remote
from modelscope_cli.schemes import bnb, bnb_state
from modelscope_cli.schemes.base import Options, Packing, Part
from modelscope_cli.units import size_text

# Measured with nf4: its CPU code holds the values as float32 several times over.
_BYTES_A_WEIGHT = 20


class Compared(NamedTuple):
    """A tensor by our arithmetic and as bitsandbytes made it; None: that side has it not."""

    name: str
    ours: Part | None
    theirs: Part | None

    @property
    def verdict(self) -> str:
        """`equal` or `differs`: name, shape, dtype and bytes."""
        return "equal" if self.ours == self.theirs else "differs"


def verify(scheme: str, shape: Shape, options: Options) -> list[Compared]:
    """Every tensor that packing makes, by our arithmetic and by bitsandbytes on the CPU.

    nf4 and fp4 are compared with their quant_state, which a saved file holds. Raises UsageError
    for a scheme that bitsandbytes has not and for what it refuses, MissingExtra without it.
    """
    if scheme not in bnb.OPTIONS:
        raise UsageError(
            f"--verify asks bitsandbytes, which has no {scheme}",
            f"it can verify {', '.join(bnb.OPTIONS)}",
        )
    packing = bnb.pack(scheme, shape, options)
    _require_memory(shape)
    with nothing_remote():
        made = _quantized(packing, options)
    theirs = {name: _part(name, tensor) for name, tensor in made.items()}
    ours = {part.name: part for part in (*packing.parts, *_saved_state(packing, options, made))}
    return [Compared(name, ours.get(name), theirs.get(name)) for name in {**ours, **theirs}]


def _require_memory(shape: Shape) -> None:
    needed = prod(shape) * _BYTES_A_WEIGHT
    try:
        here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on every system
        return
    if needed > here:
        raise UsageError(
            f"--verify: quantizing {prod(shape):,} weights takes about {size_text(needed)} of "
            f"memory, this machine has {size_text(here)}"
        )


def _quantized(packing: Packing, options: Options) -> Mapping[str, Any]:
    """The tensors that bitsandbytes makes of random values, by the names it saves them under."""
    try:
        import bitsandbytes
        import torch
    except ImportError as error:
        raise MissingExtra("--verify asks bitsandbytes, which is not installed", "bnb") from error
    before = "F16" if packing.scheme == "int8" else options.dtype or bnb.DTYPE
    try:
        values = torch.empty(
            packing.logical_shape, dtype=getattr(torch, DTYPES[before].torch or "")
        )
        values.normal_(generator=torch.Generator().manual_seed(0))
        if packing.scheme == "int8":
            weight, scb, _ = bitsandbytes.functional.int8_vectorwise_quant(values)
            return {"weight": weight, "SCB": scb}
        return _four_bits(bitsandbytes, torch, values, packing, options)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"bitsandbytes {bitsandbytes.__version__} refuses {list(packing.logical_shape)} as "
            f"{packing.scheme}: {reason}"
        ) from error


def _four_bits(
    bitsandbytes: Any, torch: Any, values: Any, packing: Packing, options: Options
) -> Mapping[str, Any]:
    weight, state = bitsandbytes.functional.quantize_4bit(
        values,
        blocksize=options.block or bnb.BLOCK,
        compress_statistics=bool(options.double_quant),
        quant_type=packing.scheme,
        quant_storage=getattr(torch, DTYPES[packing.packed.dtype].torch or ""),
    )
    made = {f"weight.{name}": part for name, part in state.as_dict(packed=True).items()}
    offset = {} if state.offset is None else {"weight.nested_offset": state.offset}
    return {"weight": weight, **offset, **made}


def _saved_state(packing: Packing, options: Options, made: Mapping[str, Any]) -> Iterator[Part]:
    """The quant_state a saved file holds: its size depends on the offset that was found."""
    if packing.scheme not in bnb.FOUR_BITS:
        return
    offset = made.get("weight.nested_offset")
    value = bnb_state.written(
        packing.scheme,
        packing.logical_shape,
        options.block or bnb.BLOCK,
        DTYPES[options.dtype or bnb.DTYPE].torch or "",
        None if offset is None else offset.item(),
    )
    yield Part(f"weight{bnb_state.SUFFIX}{packing.scheme}", (len(value),), "U8", len(value))


def _part(name: str, tensor: Any) -> Part:
    dtype = TORCH[str(tensor.dtype).removeprefix("torch.")].name
    return Part(name, tuple(tensor.shape), dtype, tensor.numel() * tensor.element_size())
