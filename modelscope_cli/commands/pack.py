"""`mscope pack`: packing arithmetic, forwards and backwards."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import re
from typing import Annotated

import typer

from modelscope_cli import load
from modelscope_cli.analysis import disagreement, left_alone, packing
from modelscope_cli.analysis import params as params_analysis
from modelscope_cli.analysis.experts import is_routed
from modelscope_cli.dtypes import SAFETENSORS, TORCH
from modelscope_cli.errors import NotFound, UsageError, did_you_mean
from modelscope_cli.facts import ModelFacts, Note, Shape, TensorTable, Unknown
from modelscope_cli.options import Model, Opening, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports import pack as reports
from modelscope_cli.schemes.base import Options

_SHAPE = re.compile(r"\d{1,19}([x,*]\d{1,19}){0,7}")
_MAX_ELEMENTS = 2**63 - 1
_SHORT_DTYPES = {"bf16": "BF16", "fp16": "F16", "half": "F16", "fp32": "F32", "float": "F32"}


@command_
def command(
    context: typer.Context,
    model: Model = None,
    *,
    shape: Annotated[
        str | None, typer.Option(metavar="OUTxIN", help="Pack one weight of this shape.")
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="nf4 (the default), fp4, int8, gptq, awq, fp8, mxfp4, q4_k and others.",
            autocompletion=lambda: list(packing.SCHEME_NAMES),
        ),
    ] = None,
    stored: Annotated[
        str | None,
        typer.Option(metavar="AxB", help="Backwards: what a stored shape can hold."),
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this tensor of MODEL, step by step.")
    ] = None,
    bits: Annotated[int | None, typer.Option(metavar="N", help="Bits a weight.")] = None,
    group: Annotated[
        int | None, typer.Option(metavar="N", help="Weights that share a scale.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(metavar="N", help="The same, where a scheme calls it a block.")
    ] = None,
    double_quant: Annotated[
        bool | None,
        typer.Option("--double-quant", help="Quantize the scales too.", show_default=False),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="The dtype packed bytes are kept as.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="The dtype of the scales.")
    ] = None,
    act_order: Annotated[
        bool | None,
        typer.Option("--act-order", help="GPTQ with reordered columns.", show_default=False),
    ] = None,
    symmetric: Annotated[
        bool | None,
        typer.Option(
            "--symmetric/--asymmetric", help="Without or with zero points.", show_default=False
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Quantize that shape for real, and compare."),
    ] = False,
    opening: Opening,
    output: Output,
) -> Report:
    """Write out packing arithmetic, for one shape or for a model, forwards or backwards."""
    options = Options(
        bits, group, block, double_quant, _dtype("--storage", storage), _dtype("--dtype", dtype),
        act_order, symmetric,
    )  # fmt: skip
    if shape is not None and stored is not None:
        raise UsageError("--shape and --stored exclude each other")
    typed = _typed(context)  # what a settings file or the environment says is no request
    if shape is not None:
        _refuse_beside("--shape", typed & {"model", "tensor"}, "a shape is all it looks at")
    if stored is not None:
        _refuse_beside("--stored", typed & _NOT_BACKWARDS, "--storage says the stored dtype")
    if verify and shape is None:
        raise UsageError("--verify needs --shape", "mscope pack --shape 4096x14336 --verify")
    if stored is None:  # a wrong scheme or option is said at once, whatever the model's weights
        scheme = None if scheme is None else packing.named(scheme)
        packing.check(scheme or packing.DEFAULT_SCHEME, options)
    if shape is not None:
        return _of_shape(_parse_shape("--shape", shape), scheme, options, verify)
    how = load.How(*opening)
    if stored is not None:
        return _backwards(_parse_shape("--stored", stored), options, model, how)
    return _of_model(load.open_model(model, how), scheme, options, tensor, typed)


_NOT_BACKWARDS = {"scheme", "tensor", *Options._fields} - {"storage"}


def _typed(context: typer.Context) -> set[str]:
    """The parameters that stand on the command line itself."""
    sources = {
        param.name: context.get_parameter_source(param.name or "")
        for param in context.command.params
    }
    return {
        name
        for name, source in sources.items()
        if name is not None and source is not None and source.name == "COMMANDLINE"
    }


def _refuse_beside(flag: str, others: set[str], hint: str) -> None:
    """Options that would do nothing."""
    if others:
        other = min(others)
        other = "MODEL" if other == "model" else packing.flag(other)
        raise UsageError(f"{flag} and {other} exclude each other", hint)


def _of_shape(shape: Shape, scheme: str | None, options: Options, verify: bool) -> Report:
    packed = packing.pack(scheme or packing.DEFAULT_SCHEME, shape, options)
    if not verify:
        return reports.of_shape(packed)
    from modelscope_cli.live import pack_check

    compared = pack_check.verify(packed.scheme, shape, options)
    return reports.of_shape(
        packed, [(each.name, each.ours, each.theirs, each.verdict) for each in compared]
    )


def _backwards(stored: Shape, options: Options, model: str | None, how: load.How) -> Report:
    if model is None:
        readings = packing.backwards(stored, options.storage)
        return reports.of_stored(stored, options.storage, readings, None)
    facts = load.open_model(model, how)
    table = _table(facts)
    rows = params_analysis.examine(facts, table, params_analysis.Choice()).rows
    readings = packing.backwards(stored, options.storage, rows, table)
    return reports.of_stored(stored, options.storage, readings, facts)


def _of_model(
    facts: ModelFacts,
    scheme: str | None,
    options: Options,
    tensor: str | None,
    typed: set[str],
) -> Report:
    table = _table(facts)
    examined = params_analysis.examine(facts, table, params_analysis.Choice())
    rows = examined.folded()  # in natural order
    facts = disagreement.told(facts, rows)
    hidden = None
    if packing.is_packed(rows):
        _refuse_to_repack(facts.ref.target, typed)
        found = packing.as_stored(rows, examined.totals.parameters)
        used = None
        packing.require_seen(found, table, facts.ref.target)
    else:
        hidden = packing.declared(facts.quantization)
        used = scheme or (None if hidden else packing.DEFAULT_SCHEME)
        if used is None:
            _refuse_without_scheme(typed)
            found = packing.as_stored(rows, examined.totals.parameters)
        else:
            found = packing.what_if(rows, table, used, options, facts.config)
    if tensor is not None:
        found = packing.only(found, rows, table, tensor)
        packing.require_seen(found, table, facts.ref.target)
    notes = [*facts.notes, *_hidden_note(hidden, used), *_notes(found, used)]
    steps = found.packed[0].steps if tensor is not None and found.packed else ()
    return reports.of_model(facts, found, used, notes, steps)


def _refuse_to_repack(target: str, typed: set[str]) -> None:
    flags = [packing.flag(name) for name in ("scheme", *Options._fields) if name in typed]
    if flags:
        raise UsageError(f"{target} is packed already: {flags[0]} is for unquantized models")


def _refuse_without_scheme(typed: set[str]) -> None:
    flags = [packing.flag(name) for name in Options._fields if name in typed]
    if flags:
        raise UsageError(f"{flags[0]} needs --scheme here: the model says it is quantized already")


def _hidden_note(hidden: str | None, scheme: str | None) -> list[Note]:
    if hidden is None:
        return []
    ending = "" if scheme else "; --scheme NAME shows what packing it would give"
    return [Note(f"{hidden}, but nothing here could be read as packed{ending}", warning=True)]


def _notes(found: packing.ModelPacking, scheme: str | None) -> list[Note]:
    hidden = [row for row in found.packed if isinstance(row.logical_shape, Unknown)]
    notes = [
        Note(f"{row.row.name}: {row.logical_shape.reason}", warning=True)
        for row in hidden[:3]
        if isinstance(row.logical_shape, Unknown)
    ]
    if len(hidden) > len(notes):
        notes.append(Note(f"{len(hidden) - len(notes)} more could not be seen through", True))
    if scheme is not None and not found.packed:
        notes.append(Note(f"nothing here can be packed as {scheme}", warning=True))
    if scheme in left_alone.BITSANDBYTES and any(
        is_routed(row.row.template) for row in found.packed
    ):
        notes.append(Note(_FUSED_EXPERTS))
    return notes


_FUSED_EXPERTS = (
    "experts are counted as the linear layers that transformers 4 makes of them; transformers 5 "
    "fuses them into one parameter, which bitsandbytes leaves alone"
)


def _table(facts: ModelFacts) -> TensorTable:
    if isinstance(facts.tensors, Unknown):
        raise NotFound(f"{facts.ref.target}: {facts.tensors.reason}")
    return facts.tensors


def _parse_shape(flag: str, text: str) -> Shape:
    plain = text.replace("\N{MULTIPLICATION SIGN}", "x")
    if not _SHAPE.fullmatch(plain.strip("[]() ").replace(" ", "").lower()):
        raise UsageError(f"{flag}: {text!r} is not a shape", "write it as 4096x14336")
    shape = tuple(int(size) for size in re.findall(r"\d+", plain))
    elements = 1
    for size in shape:
        elements *= size
    if elements > _MAX_ELEMENTS:
        raise UsageError(f"{flag}: {text} has more elements than any tensor can have")
    return shape


def _dtype(flag: str, text: str | None) -> str | None:
    if text is None:
        return None
    spelled = _SHORT_DTYPES.get(text.lower(), text.upper())
    if text.lower() in TORCH:
        spelled = TORCH[text.lower()].name
    if spelled not in SAFETENSORS:
        raise UsageError(f"{flag}: {text!r} is no dtype", did_you_mean(text.upper(), SAFETENSORS))
    return spelled
