"""bitsandbytes itself, asked in the same run: every tensor of over 100 shapes in every mode."""

from __future__ import annotations

import itertools
import random
from math import prod
from typing import Any

import pytest

from modelscope_cli.dtypes import DTYPES, TORCH
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape
from modelscope_cli.schemes import bnb, bnb_state
from modelscope_cli.schemes.base import Logical, Member, Options, Packing, ceil_div

torch = pytest.importorskip("torch", reason="bitsandbytes runs on torch")
bitsandbytes = pytest.importorskip("bitsandbytes", reason="the library that packs")

STORAGES = ("U8", "I8", "F8_E4M3", "F16", "BF16", "F32", "F64")
ODD_STORAGES = ("BOOL", "F8_E8M0", "I16", "U16", "I32", "I64", "C64")


def shapes(count: int) -> list[Shape]:
    """Odd and even ones, of one to three dimensions, and those at the edges of blocks."""
    pick = random.Random(4)
    edges: list[Shape] = [(1, 1), (0, 5), (64, 1), (1, 65), (64, 64), (63, 65), (128, 129), (7,)]
    edges += [(2, 3, 5), (64 * 256, 1), (64 * 256 + 1, 1), (257, 64)]
    return edges + [
        tuple(pick.randint(1, limit) for _ in range(pick.choice((1, 2, 2, 2, 3))))
        for limit in itertools.islice(itertools.cycle((9, 40, 90)), count)
    ]


SHAPES = shapes(120)


def library(name: str) -> Any:
    """A torch dtype by our name."""
    return getattr(torch, DTYPES[name].torch or "")


def described(tensors: dict[str, Any]) -> dict[str, tuple[Shape, str, int]]:
    """Shape, dtype and bytes of each tensor."""
    return {
        name: (
            tuple(tensor.shape),
            TORCH[str(tensor.dtype).removeprefix("torch.")].name,
            tensor.numel() * tensor.element_size(),
        )
        for name, tensor in tensors.items()
    }


def ours(packing: Packing) -> dict[str, tuple[Shape, str, int]]:
    return {part.name: part[1:] for part in packing.parts}


def members(tensors: dict[str, Any], prefix: str) -> dict[str, Member]:
    """A state dict's tensors by suffix, with the values of quant_state."""
    found = {}
    for name, (shape, dtype, size) in described(tensors).items():
        value = bytes(tensors[name].tolist()) if "quant_state" in name else None
        assert value is None or len(value) == size
        found[name.removeprefix(prefix)] = Member(dtype, shape, value)
    return found


def fits(shape: Shape, storage: str) -> bool:
    """Whether bitsandbytes takes it on a CPU: it views bytes, more than one, as `storage`."""
    size = (prod(shape) + 1) // 2
    return storage == "U8" or (size > 1 and size % DTYPES[storage].block_bytes == 0) or size == 0


def check_four_bits(scheme: str, shape: Shape, options: Options) -> None:
    """Quantize random values of that shape; every tensor, and what we read out of them."""
    weight, state = bitsandbytes.functional.quantize_4bit(
        torch.randn(shape, dtype=library(options.dtype or "BF16")),
        blocksize=options.block,
        compress_statistics=bool(options.double_quant),
        quant_type=scheme,
        quant_storage=library(options.storage or "U8"),
    )
    tensors = {"weight": weight}
    tensors |= {f"weight.{name}": part for name, part in state.as_dict(packed=True).items()}
    in_file = tensors.pop(f"weight{bnb_state.SUFFIX}{scheme}")
    if options.double_quant:
        tensors["weight.nested_offset"] = state.offset

    packing = bnb.pack(scheme, shape, options)
    assert described(tensors) == ours(packing)
    assert packing.packed.name == "weight"

    offset = state.offset.item() if options.double_quant else None
    dtype = DTYPES[options.dtype or "BF16"].torch or ""
    text = bnb_state.written(scheme, shape, options.block or 64, dtype, offset)
    assert text == bytes(in_file.tolist())
    said = next(step for step in packing.steps if "quant_state" in step)
    digits = "" if offset is None else str(offset).replace("nan", "NaN")
    assert f" {len(text) - len(digits)} bytes of JSON" in said

    tensors.pop("weight.nested_offset", None)
    saved = members({**tensors, f"weight{bnb_state.SUFFIX}{scheme}": in_file}, "weight")
    assert bnb.see_through(saved, {}) == Logical(scheme, shape, 4, options.block or 64)


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("scheme", bnb.FOUR_BITS)
def test_four_bits_in_every_storage(scheme: str, double_quant: bool) -> None:
    asked = 0
    for number, shape in enumerate(SHAPES):
        for storage in filter(lambda name: fits(shape, name), STORAGES):
            dtype = (None, "F16", "F32", "BF16")[number % 4]
            options = Options(double_quant=double_quant, storage=storage, dtype=dtype)
            check_four_bits(scheme, shape, options)
            asked += 1
    assert asked > 400


@pytest.mark.parametrize("block", bnb.BLOCKS)
@pytest.mark.parametrize("double_quant", [False, True])
def test_four_bits_in_every_block_size(block: int, double_quant: bool) -> None:
    for shape, scheme in zip(SHAPES, itertools.cycle(bnb.FOUR_BITS)):
        check_four_bits(scheme, shape, Options(block=block, double_quant=double_quant))


def test_storage_on_cuda_rounds_down() -> None:
    """The meta device makes shapes as CUDA does; a CPU refuses what does not fit."""
    cut = 0
    for shape, storage in itertools.product(SHAPES, STORAGES + ODD_STORAGES):
        values = torch.empty(shape, dtype=torch.bfloat16, device="meta")
        made, absmax = torch.ops.bitsandbytes.quantize_4bit(values, 64, "nf4", library(storage))
        packing = bnb.pack("nf4", shape, Options(storage=storage))

        assert described({"weight": made, "weight.absmax": absmax}).items() <= ours(packing).items()
        cut += not fits(shape, storage)
    assert cut > 100


def test_it_takes_our_options_and_no_others() -> None:
    values = torch.randn(64, 64)
    for block in (0, 1, 16, *bnb.BLOCKS, 48, 8192):
        assert _refuses_block(block) == _raises(
            lambda size=block: bitsandbytes.functional.quantize_4bit(values, blocksize=size)
        )
    for name in ("F16", "BF16", "F32", "F64", "F8_E4M3", "I8", "U8"):
        assert (name in bnb.DTYPES_BEFORE) != _raises(
            lambda dtype=name: bitsandbytes.functional.quantize_4bit(values.to(library(dtype)))
        )


def _refuses_block(block: int) -> bool:
    try:
        bnb.pack("nf4", (64, 64), Options(block=block))
    except UsageError:
        return True
    return False


def _raises(call: Any) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


def test_absmax_is_quantized_blockwise() -> None:
    for count in (0, 1, 255, 256, 257, 3584):
        made, state = bitsandbytes.functional.quantize_blockwise(
            torch.randn(count), blocksize=bnb_state.NESTED_BLOCK
        )
        parts = {part.name: part for part in bnb.pack(
            "nf4", (count, 64), Options(double_quant=True)
        ).parts}  # fmt: skip

        assert parts["weight.absmax"].shape == tuple(made.shape)
        assert parts["weight.nested_absmax"].shape == tuple(state.absmax.shape)
        assert parts["weight.nested_quant_map"].shape == tuple(state.code.shape)
        assert state.absmax.numel() == ceil_div(count, 256)


def test_int8() -> None:
    asked = 0
    for shape in SHAPES:
        if len(shape) != 2:
            continue
        weight, scb, _ = bitsandbytes.functional.int8_vectorwise_quant(
            torch.randn(shape, dtype=torch.float16)
        )
        assert described({"weight": weight, "SCB": scb}) == ours(bnb.pack("int8", shape, Options()))
        asked += 1
    assert asked > 60
    for rows in (0, 4):
        with pytest.raises((ZeroDivisionError, IndexError)):
            bitsandbytes.functional.int8_vectorwise_quant(torch.empty(rows, 0))


LINEAR = [shape for shape in SHAPES if len(shape) == 2 and all(shape)]


def test_linear_layers_of_four_bits() -> None:
    modes = itertools.cycle(itertools.product(bnb.FOUR_BITS, (False, True)))
    for (rows, columns), (scheme, double_quant) in zip(LINEAR, modes, strict=False):
        layer = bitsandbytes.nn.Linear4bit(
            columns, rows, bias=False, quant_type=scheme, compress_statistics=double_quant
        ).to("cpu")
        saved = layer.state_dict()

        options = Options(double_quant=double_quant, dtype="F32")
        parts = ours(bnb.pack(scheme, (rows, columns), options))
        in_memory = parts.pop("weight.nested_offset", None)  # a number in the saved quant_state
        found = described(saved)
        assert found.pop(f"weight{bnb_state.SUFFIX}{scheme}")
        assert found == parts
        assert (in_memory is not None) == double_quant
        seen = bnb.see_through(members(saved, "weight"), {})
        assert seen == Logical(scheme, (rows, columns), 4, 64)


def test_linear_layers_of_int8() -> None:
    for rows, columns in LINEAR:
        layer = bitsandbytes.nn.Linear8bitLt(columns, rows, bias=False, has_fp16_weights=False)
        saved = layer.to("cpu").state_dict()

        found = described(saved)
        assert found.pop("weight_format") == ((), "U8", 1)
        assert found == ours(bnb.pack("int8", (rows, columns), Options()))
        seen = bnb.see_through({f".{k}": m for k, m in members(saved, "").items()}, {})
        assert seen == Logical("int8", (rows, columns), 8)


def test_parameters_of_no_linear_layer() -> None:
    """Experts in one 3-D parameter, under its own name."""
    module = torch.nn.Module()
    module.gate_up_proj = torch.nn.Parameter(torch.randn(3, 10, 7))
    replace = pytest.importorskip("bitsandbytes.nn.parametrize").replace_parameter_4bit
    replace(module, "gate_up_proj", compress_statistics=True, quant_type="fp4")

    found = members(module.state_dict(), "gate_up_proj")

    assert bnb.see_through(found, {}) == Logical("fp4", (3, 10, 7), 4, 64)
