"""GPTQ as AutoGPTQ and GPTQModel save it: words of packed inputs, a column for each output.

`qweight` I32 [in * bits / 32, out], `scales` F16 [groups, out], `qzeros` I32
[groups, out * bits / 32], `g_idx` I32 [in]; each count rounded up
(GPTQModel 7.7, `GPTQQuantLinear._register_gptq_buffers`). v1 and v2 differ in values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes import evidence, paper
from modelscope_cli.schemes.base import (
    Held,
    Logical,
    Member,
    Options,
    Packing,
    Part,
    ceil_div,
    part,
    total_step,
)
from modelscope_cli.schemes.evidence import Contradiction

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "gptq": ("bits", "group", "storage", "dtype", "act_order", "symmetric")
}
BITS = (2, 3, 4, 8)
GROUP = 128
WORDS = {"I32": 32, "I16": 16, "I8": 8}  # GPTQModel's `pack_dtype`
SCALES = ("F16", "BF16", "F32")

_PLANAR = (5, 6, 7)  # GPTQModel's own: as many words, read here and not packed
_BLOCK = 32  # values that bits which do not divide 32 are packed by


class _Plan(NamedTuple):
    bits: int
    group: int  # -1: a whole column
    storage: str
    scales: str

    @property
    def word(self) -> int:
        return WORDS[self.storage]

    def groups(self, inputs: int) -> int:
        return min(inputs, 1) if self.group == -1 else ceil_div(inputs, self.group)


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[out, in] -> qweight, qzeros, scales and g_idx.

    g_idx is saved with or without act-order, and qzeros for symmetric weights too. Raises
    UsageError for what the packing code cannot do: 3 bits where `in` or `out` is no multiple
    of 32, or in words that are not int32.
    """
    plan = _plan(shape, options)
    outputs, inputs = shape
    groups = plan.groups(inputs)
    parts = (
        part("qweight", plan.storage, ceil_div(inputs * plan.bits, plan.word), outputs),
        part("qzeros", plan.storage, groups, ceil_div(outputs * plan.bits, plan.word)),
        part("scales", plan.scales, groups, outputs),
        part("g_idx", "I32", inputs),
    )
    return Packing(scheme, shape, parts, _steps(shape, plan, parts))


def _plan(shape: Shape, options: Options) -> _Plan:
    if len(shape) != 2:
        raise UsageError(f"gptq packs matrices [out, in], not {list(shape)}")
    plan = _Plan(
        4 if options.bits is None else options.bits,
        GROUP if options.group is None else options.group,
        options.storage or "I32",
        options.dtype or "F16",
    )
    if plan.bits not in BITS:
        raise UsageError(f"gptq has 2, 3, 4 or 8 bits a weight, not {plan.bits}")
    if plan.group < 1 and plan.group != -1:
        raise UsageError(f"gptq: a group of {plan.group:,} weights is none; -1 is a whole column")
    if plan.storage not in WORDS:
        raise UsageError(f"gptq packs into {', '.join(WORDS)}, not {plan.storage}")
    if plan.scales not in SCALES:
        raise UsageError(f"gptq keeps scales as {', '.join(SCALES)}, not {plan.scales}")
    _require_blocks(shape, plan)
    return plan


def _require_blocks(shape: Shape, plan: _Plan) -> None:
    if plan.bits != 3:
        return
    if plan.storage != "I32":
        raise UsageError(f"gptq packs 32 values of 3 bits into 3 words of I32, not {plan.storage}")
    for what, size in zip(("outputs", "inputs"), shape, strict=True):
        if size % _BLOCK:
            raise UsageError(
                f"gptq packs 3 bits by 32 values into 3 words: {size:,} {what} are no multiple"
            )


def _steps(shape: Shape, plan: _Plan, parts: tuple[Part, ...]) -> tuple[str, ...]:
    outputs, inputs = shape
    qweight, qzeros, scales, g_idx = parts
    bits, word = plan.bits, plan.word
    fill = paper.fill(bits, word)
    if plan.group == -1:
        grouping = f"one scale per output for all {inputs:,} inputs"
    else:
        sizes = paper.division(inputs, plan.group)
        grouping = f"one scale per output for {plan.group:,} inputs: {sizes} groups"
    return (
        paper.weights_step(shape),
        f"{bits} bits each, {fill}, down the inputs: {paper.words(inputs, bits, word)} words",
        f"inputs come first, so it looks transposed: {paper.saved(qweight)}",
        grouping,
        paper.saved(scales),
        f"as many zero points, packed by outputs: {paper.words(outputs, bits, word)} words",
        f"saved for symmetric weights too: {paper.saved(qzeros)}",
        f"each input's group, saved without act-order too: {paper.saved(g_idx)}",
        total_step(parts, outputs * inputs),
    )


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """[out, in]: `out` from the scales, `in` from g_idx, else from full words of qweight.

    Unknown where the shapes are AWQ's, whose tensors have the same names.
    """
    try:
        return _read(members, declared)
    except Contradiction as found:
        return Unknown(f"not GPTQ: {found}")


def _read(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical:
    packed = evidence.matrix(members, ".qweight")
    scales = evidence.matrix(members, ".scales")
    rows, outputs = packed.shape
    word = WORDS.get(packed.dtype)
    if word is None:
        raise Contradiction(f"{evidence.text('.qweight', packed)} is of no integer that packs")
    if scales.shape[1] != outputs:
        raise Contradiction(
            f"{evidence.text('.qweight', packed)} has {outputs:,} columns, "
            f"{evidence.text('.scales', scales)} {scales.shape[1]:,}; in AWQ they differ so"
        )
    if outputs == 0 and ".g_idx" not in members and evidence.method(declared) == "awq":
        raise Contradiction("no outputs, no .g_idx, and the config says AWQ")
    possible = _bits_of_zeros(members, packed, scales, word)
    inputs, bits = _inputs(members, declared, (rows, outputs, word), possible)
    group = evidence.group_size(inputs, scales.shape[0], evidence.numbers(declared, "group_size"))
    return Logical("gptq", (outputs, inputs), bits, group)


def _bits_of_zeros(
    members: Mapping[str, Member], packed: Member, scales: Member, word: int
) -> list[int]:
    """The bits that qzeros could have been packed with; all, where there are none."""
    everything = sorted((*BITS, *_PLANAR))
    if ".qzeros" not in members:
        return everything
    zeros = evidence.matrix(members, ".qzeros")
    outputs = scales.shape[1]
    possible = [bits for bits in everything if ceil_div(outputs * bits, word) == zeros.shape[1]]
    fits = zeros.dtype == packed.dtype and zeros.shape[0] == scales.shape[0]
    if not possible or not fits:
        raise Contradiction(
            f"{evidence.text('.qzeros', zeros)} does not fit {evidence.text('.scales', scales)} "
            f"and {evidence.text('.qweight', packed)}"
        )
    return possible


def _inputs(
    members: Mapping[str, Member],
    declared: Mapping[str, Any],
    stored: tuple[int, int, int],
    possible: list[int],
) -> tuple[int, float]:
    """How many inputs, and bits each."""
    rows, outputs, word = stored
    wanted = evidence.numbers(declared, "bits")
    g_idx = members.get(".g_idx")
    if g_idx is None:
        full = [bits for bits in possible if _fills(rows, bits, word)]
        bits = _only(full, wanted, f".qweight of {rows:,} rows, and no .g_idx")
        return rows * word // bits, bits
    if len(g_idx.shape) != 1:
        raise Contradiction(f"{evidence.text('.g_idx', g_idx)} is no list of groups")
    inputs = g_idx.shape[0]
    fitting = [b for b in possible if _packs((outputs, inputs), b, word, rows)]
    if not fitting:
        raise Contradiction(
            f".qweight {[rows, outputs]} cannot hold {inputs:,} inputs, as many as "
            f"{evidence.text('.g_idx', g_idx)}"
        )
    if len(fitting) == 1 or not inputs:
        return inputs, fitting[0]
    # Few inputs and outputs fit several: then what is known is how many bits they take here.
    return inputs, next((b for b in wanted if b in fitting), rows * word / inputs)


def _fills(rows: int, bits: int, word: int) -> bool:
    """Whether words are full; what was saved before g_idx was took no others."""
    return rows % bits == 0 if word % bits else True


def _packs(shape: Shape, bits: int, word: int, rows: int) -> bool:
    if word % bits and any(size % _BLOCK for size in shape):
        return False
    return ceil_div(shape[1] * bits, word) == rows


def _only(possible: list[int], wanted: list[int], what: str) -> int:
    for bits in wanted:
        if bits in possible:
            return bits
    if len(possible) != 1:
        choice = " or ".join(map(str, possible)) or "no number of"
        raise Contradiction(f"{what}: {choice} bits would fit")
    return possible[0]


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """A matrix of words as columns of inputs, each word full."""
    name = dtype or "I32"
    word = WORDS.get(name)
    if len(stored) != 2 or word is None:
        return
    rows, outputs = stored
    for bits in BITS:
        if bits == 3 and (word != 32 or rows % 3 or outputs % _BLOCK):
            continue
        inputs = rows * word // bits
        note = f"{name}, at {bits} bits: words of inputs down each column, scales beside them"
        yield Held("gptq", inputs * outputs, (outputs, inputs), note)
