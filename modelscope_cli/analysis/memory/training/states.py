"""What training keeps beside a model: gradients and optimizer states, of all of it or of LoRA.

AdamW as torch does it (two states in the parameter's dtype) and as bitsandbytes does it in 8 bit
(two bytes a parameter and two absmax for 256 of them; tensors under 4,096 stay in float32).
Adapters as peft makes them: A [rank, in] and B [out, rank] in float32, whatever the model is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown

OPTIMIZERS = ("adamw", "adamw-8bit")
ALL = "all"
_ADAPTER = "F32"  # peft's autocast_adapter_dtype lifts adapters of 16-bit models
_SMALLEST_IN_8_BIT = 4096  # bitsandbytes' min_8bit_size, in elements
_BLOCK = 256
_MAPS = 2 * 256 * 4  # bytes of the two dynamic maps, one pair a model
_FLOATS = ("F64", "F32", "BF16", "F16")


class Trained(NamedTuple):
    """Parameters alike that are trained: elements of each, how many of them."""

    elements: int
    dtype: str
    times: int = 1


class Linear(NamedTuple):
    """Linear layers alike: the module's name (`*` for numbers), in and out features of each."""

    name: str
    inputs: int
    outputs: int
    times: int = 1


class Training(NamedTuple):
    """Bytes beside the model. `adapters`: of LoRA's own weights, 0 without it.

    `parameters` are trained. The step counts of torch's AdamW, 4 bytes a tensor, lie on the CPU
    unless it is fused or capturable, and are left out.
    """

    parameters: int
    adapters: int
    gradients: int
    optimizer: int
    note: str


def full(parameters: Iterable[Trained], optimizer: str) -> Training | Unknown:
    """Every parameter is trained, in the dtype that it is loaded in.

    Unknown where weights are packed: they have no gradient.
    """
    trained = list(parameters)
    packed = next((each.dtype for each in trained if each.dtype not in _FLOATS), None)
    if packed is not None:
        return Unknown(f"weights packed as {packed} have no gradient: --train lora trains adapters")
    note = f"states in the parameters' dtype: {optimizer}"
    if optimizer != "adamw":
        note = "two states of 8 bit, float32 for tensors under 4,096 elements"
    return _training(trained, optimizer, 0, note)


def lora(
    linears: Iterable[Linear], optimizer: str, *, rank: int, targets: Sequence[str] = (ALL,)
) -> Training:
    """Adapters beside the linear layers named, packed or not. Raises UsageError for no such name.

    A target is the last parts of a module's name, as in peft; `all` is every layer given (the
    caller leaves out the head, as peft does).
    """
    chosen = chosen_linears(list(linears), targets)
    trained = [
        Trained(elements, _ADAPTER, each.times)
        for each in chosen
        for elements in (rank * each.inputs, rank * each.outputs)
    ]
    adapters = sum(_bytes(each) for each in trained)
    count = sum(each.times for each in chosen)
    note = f"rank {rank} beside {count:,} linear layers, adapters in float32 as peft keeps them"
    return _training(trained, optimizer, adapters, note)


def chosen_linears(linears: Sequence[Linear], targets: Sequence[str]) -> list[Linear]:
    """The layers that the targets name, each once. Raises UsageError naming what is there."""
    if ALL in targets:
        return list(linears)
    for target in targets:
        if not any(_is_target(each.name, target) for each in linears):
            names = sorted({each.name.rpartition(".")[2] for each in linears})
            raise UsageError(
                f"--lora-targets: no linear layer is called {target}",
                f"there are {', '.join(names[:_SHOWN])}" if names else None,
            )
    return [each for each in linears if any(_is_target(each.name, name) for name in targets)]


_SHOWN = 12


def _is_target(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _training(trained: Sequence[Trained], optimizer: str, adapters: int, note: str) -> Training:
    if optimizer not in OPTIMIZERS:
        raise UsageError(f"--optimizer: {optimizer} is none of {', '.join(OPTIMIZERS)}")
    states = _adamw if optimizer == "adamw" else _adamw_8bit
    maps = _MAPS if optimizer != "adamw" and any(_in_8_bit(each) for each in trained) else 0
    return Training(
        sum(each.elements * each.times for each in trained),
        adapters,
        sum(map(_bytes, trained)),
        sum(map(states, trained)) + maps,
        note,
    )


def _bytes(each: Trained) -> int:
    """As a gradient has them: of the parameter's dtype."""
    return each.elements * each.times * DTYPES[each.dtype].block_bytes


def _adamw(each: Trained) -> int:
    """`exp_avg` and `exp_avg_sq`, both `zeros_like` the parameter."""
    return 2 * _bytes(each)


def _adamw_8bit(each: Trained) -> int:
    if not _in_8_bit(each):
        return 2 * 4 * each.elements * each.times
    blocks = -(-each.elements // _BLOCK)
    return 2 * (each.elements + 4 * blocks) * each.times


def _in_8_bit(each: Trained) -> bool:
    return each.elements >= _SMALLEST_IN_8_BIT
