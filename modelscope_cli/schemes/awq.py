"""AWQ as AutoAWQ saves it: in its gemm layout, a row of packed words for each input.

gemm: `qweight` I32 [in, out * bits / 32], `qzeros` I32 [groups, out * bits / 32], `scales` F16
[groups, out]. Its other layouts (gemv, gemv_fast and llm-awq, marlin) are read too; the shapes
are those of AutoAWQ 0.2.9's `WQLinear_*` classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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

OPTIONS: Mapping[str, tuple[str, ...]] = {"awq": ("bits", "group", "dtype")}
BITS = (2, 3, 4, 8)  # AutoAWQ itself writes 4 only, GPTQModel the others
GROUP = 128
WORD = 32
OUTPUTS = 8  # `out` is a multiple of it (AutoAWQ asserts it, GPTQModel refuses others)
SCALES = ("F16", "BF16")

_PLANAR = (5, 6, 7)
_GEMV_GROUPS = (128, 64, 32, 16)  # of gemv layouts, whose scales are padded


def pack(scheme: str, shape: Shape, options: Options) -> Packing:
    """[out, in] -> qweight, qzeros and scales of the gemm layout.

    Raises UsageError where AutoAWQ asserts: `out` a multiple of 8, `in` one of the group.
    """
    bits = 4 if options.bits is None else options.bits
    group = GROUP if options.group is None else options.group
    dtype = options.dtype or "F16"
    _require(shape, bits, group, dtype)
    outputs, inputs = shape
    groups = min(inputs, 1) if group == -1 else inputs // group
    words = ceil_div(outputs * bits, WORD)
    parts = (
        part("qweight", "I32", inputs, words),
        part("qzeros", "I32", groups, words),
        part("scales", dtype, groups, outputs),
    )
    return Packing(scheme, shape, parts, _steps(shape, bits, group, parts))


def _require(shape: Shape, bits: int, group: int, dtype: str) -> None:
    if len(shape) != 2:
        raise UsageError(f"awq packs matrices [out, in], not {list(shape)}")
    if bits not in BITS:
        raise UsageError(f"awq has 4 bits a weight (or 2, 3, 8), not {bits}")
    if group < 1 and group != -1:
        raise UsageError(f"awq: a group of {group:,} weights is none; -1 is a whole column")
    if dtype not in SCALES:
        raise UsageError(f"awq keeps scales as {' or '.join(SCALES)}, not {dtype}")
    outputs, inputs = shape
    if outputs % OUTPUTS:
        raise UsageError(f"awq packs outputs by {OUTPUTS}: {outputs:,} are no multiple of it")
    if group != -1 and inputs % group:
        raise UsageError(f"awq: {inputs:,} inputs are no whole number of groups of {group:,}")


def _steps(shape: Shape, bits: int, group: int, parts: tuple[Part, ...]) -> tuple[str, ...]:
    outputs, inputs = shape
    qweight, qzeros, scales = parts
    fill = paper.fill(bits, WORD)
    if group == -1:
        grouping = f"one scale per output for all {inputs:,} inputs"
    else:
        sizes = paper.division(inputs, group)
        grouping = f"one scale per output for {group:,} inputs: {sizes} groups"
    return (
        paper.weights_step(shape),
        f"{bits} bits each, {fill}, along the outputs: {paper.words(outputs, bits, WORD)} words",
        f"inputs come first: {paper.saved(qweight)}",
        grouping,
        paper.saved(scales),
        f"as many zero points, packed alike: {paper.saved(qzeros)}",
        total_step(parts, outputs * inputs),
    )


def see_through(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical | Unknown:
    """[out, in] out of whichever of AWQ's layouts the shapes are.

    Unknown where they are GPTQ's, whose tensors have the same names.
    """
    try:
        return _read(members, declared)
    except Contradiction as found:
        return Unknown(f"not AWQ: {found}")


def _read(members: Mapping[str, Member], declared: Mapping[str, Any]) -> Logical:
    packed = evidence.matrix(members, ".qweight")
    scales = evidence.matrix(members, ".scales")
    if packed.dtype == "I16":
        return _gemv_fast(members, packed, scales, declared)
    if packed.dtype != "I32":
        raise Contradiction(f"{evidence.text('.qweight', packed)} is of no integer that packs")
    if ".qzeros" not in members:
        return _marlin(packed, scales)
    zeros = evidence.matrix(members, ".qzeros")
    if zeros.dtype != "I32":
        raise Contradiction(f"{evidence.text('.qzeros', zeros)} is not packed")
    if packed.shape[0] == zeros.shape[0] and packed.shape[1] != zeros.shape[1]:
        return _gemv(packed, zeros, scales, declared)
    return _gemm(members, packed, zeros, scales, declared)


def _gemm(
    members: Mapping[str, Member],
    packed: Member,
    zeros: Member,
    scales: Member,
    declared: Mapping[str, Any],
) -> Logical:
    inputs, words = packed.shape
    groups, outputs = scales.shape
    if zeros.shape != (groups, words):
        raise Contradiction(
            f"{evidence.text('.qzeros', zeros)} does not fit {evidence.text('.qweight', packed)} "
            f"and {evidence.text('.scales', scales)}"
        )
    fitting = [b for b in (*BITS, *_PLANAR) if ceil_div(outputs * b, WORD) == words]
    if not fitting or outputs % OUTPUTS:
        raise Contradiction(
            f"{outputs:,} outputs of {evidence.text('.scales', scales)} do not fill "
            f"{words:,} columns of {evidence.text('.qweight', packed)}; in GPTQ these are as many"
        )
    if outputs == 0 and (".g_idx" in members or evidence.method(declared) != "awq"):
        raise Contradiction("no outputs, and the config does not say AWQ")
    group = evidence.even_group(inputs, groups, evidence.declared_groups(declared))
    return Logical("awq", (outputs, inputs), _bits(fitting, declared, outputs, words), group)


def _bits(fitting: list[int], declared: Mapping[str, Any], outputs: int, words: int) -> float:
    """Few outputs fit several; then the config tells, else the bits that they take here."""
    if len(fitting) == 1:
        return fitting[0]
    wanted = evidence.numbers(declared, "bits", "w_bit")
    return next((b for b in wanted if b in fitting), words * WORD / outputs if outputs else 4)


def _gemv(packed: Member, zeros: Member, scales: Member, declared: Mapping[str, Any]) -> Logical:
    """Out of qweight [out, in/8], qzeros [out, width], scales [out, width * 8], 4 bits."""
    outputs, inputs = packed.shape[0], packed.shape[1] * 8
    width = zeros.shape[1]
    if scales.shape != (outputs, width * 8):
        raise Contradiction(
            f"{evidence.text('.scales', scales)} does not fit {evidence.text('.qzeros', zeros)} "
            f"and {evidence.text('.qweight', packed)}"
        )
    return Logical("awq-gemv", (outputs, inputs), 4, _padded_group(inputs, width, declared))


def _gemv_fast(
    members: Mapping[str, Member], packed: Member, scales: Member, declared: Mapping[str, Any]
) -> Logical:
    """Out of qweight I16 [out/4, in], scales and zeros F16 [width * 8, out]; llm-awq too."""
    outputs, inputs = packed.shape[0] * 4, packed.shape[1]
    zeros = members.get(".qzeros") or members.get(".scaled_zeros")
    if zeros is not None and (zeros.shape, zeros.dtype) != (scales.shape, scales.dtype):
        raise Contradiction(
            f"{evidence.text('zeros', zeros)} differ from {evidence.text('.scales', scales)}"
        )
    width, rest = divmod(scales.shape[0], 8)
    if scales.shape[1] != outputs or rest:
        raise Contradiction(
            f"{evidence.text('.scales', scales)} does not fit {evidence.text('.qweight', packed)}"
        )
    return Logical("awq-gemv-fast", (outputs, inputs), 4, _padded_group(inputs, width, declared))


def _padded_group(inputs: int, width: int, declared: Mapping[str, Any]) -> int | None:
    """The group size of which AutoAWQ pads the scales to `width` words of 8."""
    wanted = evidence.numbers(declared, "group_size", "q_group_size")
    for group in (*wanted, *_GEMV_GROUPS, inputs):
        if group and inputs % group == 0 and _zeros_width(inputs, group) == width:
            return None if group == inputs else group
    if inputs == width == 0:
        return None
    raise Contradiction(f"{width * 8:,} scales for rows of {inputs:,} weights: no group size fits")


def _zeros_width(inputs: int, group: int) -> int:
    """AutoAWQ's `calculate_zeros_width`."""
    multiple = max(128 // group, 1)
    return ceil_div(ceil_div(inputs // group, 8), multiple) * multiple


def _marlin(packed: Member, scales: Member) -> Logical:
    """Out of qweight [in/16, out * 2], scales [groups, out], no zeros, 4 bits."""
    inputs, outputs = packed.shape[0] * 16, scales.shape[1]
    if packed.shape[1] != outputs * 2:
        raise Contradiction(
            f"{evidence.text('.scales', scales)} does not fit {evidence.text('.qweight', packed)}, "
            "and no .qzeros are there"
        )
    group = evidence.even_group(inputs, scales.shape[0])
    return Logical("awq-marlin", (outputs, inputs), 4, group)


def holds(stored: Shape, dtype: str | None) -> Iterator[Held]:
    """A matrix of words as each of AWQ's layouts."""
    if len(stored) != 2 or dtype not in (None, "I32", "I16"):
        return
    rows, columns = stored
    if dtype == "I16":
        shape = (rows * 4, columns)
        note = "I16, at 4 bits, gemv_fast layout: four outputs in a row, F16 scales"
        yield Held("awq-gemv-fast", rows * 4 * columns, shape, note)
        return
    for bits in BITS:
        outputs, rest = divmod(columns * WORD, bits)
        if not rest and outputs % OUTPUTS == 0:
            note = f"I32, at {bits} bits, gemm layout: a row of words for each input"
            yield Held("awq", rows * outputs, (outputs, rows), note)
    note = "I32, at 4 bits, gemv layout: a row of words for each output"
    yield Held("awq-gemv", rows * columns * 8, (rows, columns * 8), note)
