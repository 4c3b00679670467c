"""`mscope params`: named parameters and buffers of a model."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from modelscope_cli import load
from modelscope_cli.analysis import params as analysis
from modelscope_cli.errors import UsageError, did_you_mean
from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.options import Model, Opening, Output, choice
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports import params as reports

_MANY = 1000  # names
_LONGEST = 256  # characters of what is compared
_LAST_PARTS = 8  # of a name


@command_
def command(
    model: Model = None,
    *,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only names that fit; without a wildcard: contain it."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out names that fit.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar=f"{'|'.join(analysis.SORTS)}[:desc]",
            help="Order of the rows.",
            autocompletion=lambda: [*analysis.SORTS, *(f"{s}:desc" for s in analysis.SORTS)],
        ),
    ] = "order",
    top: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")
    ] = None,
    by: Annotated[
        str | None,
        choice("--by", names=analysis.GROUPINGS, help="Sum up by this instead of listing."),
    ] = None,
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, help="With --by module: name parts that count.")
    ] = 2,
    fold: Annotated[
        bool | None,
        typer.Option(
            "--fold/--no-fold",
            help="Repeated layers as one row; on for terminals and md.",
            show_default=False,
        ),
    ] = None,
    opening: Opening,
    output: Output,
) -> Report:
    """List the named parameters and buffers of a model, from its headers alone."""
    chosen = analysis.Choice(match or (), exclude or (), *_sort(sort), top)
    facts = load.open_model(model, load.How(*opening))
    if isinstance(facts.tensors, Unknown):
        of = reports.of_choices if facts.choices else reports.without_tensors
        return of(facts, facts.tensors)
    examined = analysis.examine(facts, facts.tensors, chosen)
    if facts.tensors.names and not examined.rows:
        _refuse_empty(chosen, facts.tensors.names)
    if facts.quantization:
        facts = _told(facts, examined)
    if by is not None:
        return reports.of_groups(facts, examined, by, depth)
    return reports.of_tensors(facts, examined, fold)


def _told(facts: ModelFacts, examined: analysis.Params) -> ModelFacts:
    from modelscope_cli.analysis import disagreement  # few models declare anything

    return disagreement.told(facts, examined.rows)


def _sort(text: str) -> tuple[str, bool]:
    column, _, direction = text.partition(":")
    if column not in analysis.SORTS or direction not in ("", "asc", "desc"):
        hint = did_you_mean(column, analysis.SORTS)
        raise UsageError(f"--sort: {text!r} is not {'|'.join(analysis.SORTS)}[:desc]", hint)
    return column, direction == "desc"


def _comparable(typed: str, names: Sequence[str]) -> Sequence[str]:
    """The names with the same numbers as were typed: comparing all 90,000 takes seconds."""
    if len(names) < _MANY:
        return names
    numbers = re.compile(r"\d+").findall
    return [name for name in names if numbers(name) == numbers(typed)]


def _refuse_empty(chosen: analysis.Choice, names: Sequence[str]) -> None:
    if not chosen.match:
        raise UsageError(f"--exclude {', '.join(chosen.exclude)} leaves no tensor")
    but = f" without {', '.join(chosen.exclude)}" if chosen.exclude else ""
    typed = chosen.match[0]
    hint = did_you_mean(typed, _comparable(typed, names)) or _with_a_part_like(typed, names)
    raise UsageError(f"no tensor's name fits {', '.join(chosen.match)}{but}", hint)


def _with_a_part_like(typed: str, names: Sequence[str]) -> str | None:
    """A hint with names whose last parts, some in a row, are close to what was typed."""
    from difflib import get_close_matches

    width = typed.count(".") + 1
    if len(typed) > _LONGEST:
        return None
    examples: dict[str, str] = {}  # by the parts
    for name in names:
        parts = name.split(".")[-_LAST_PARTS:]
        for start in range(len(parts) - width + 1):
            piece = ".".join(parts[start : start + width])
            if len(piece) <= _LONGEST and not piece.isdigit():
                examples.setdefault(piece, name)
        if len(examples) > _MANY:
            break
    found = dict.fromkeys(examples[piece] for piece in get_close_matches(typed, examples, n=3))
    return f"did you mean {' or '.join(found)}?" if found else None
