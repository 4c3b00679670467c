"""`mscope config`: a model's configuration, nested ones included."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from modelscope_cli import load
from modelscope_cli.analysis import config as analysis
from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.facts import ModelFacts, Note, Unknown
from modelscope_cli.formats.gguf_metadata import plain_value
from modelscope_cli.options import Model, Opening, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Column, Fields, Lines, Report, Section, Table
from modelscope_cli.titles import title

_MARKS = {"added": "+", "removed": "-", "changed": "~"}
_TENSORS_NOT_COMPARED = "config --diff compares configurations, not tensors"


@command_
def command(
    model: Model = None,
    *,
    get: Annotated[
        str | None, typer.Option(metavar="KEY", help="Print one value, such as rope_scaling.type.")
    ] = None,
    resolved: Annotated[
        bool,
        typer.Option(
            "--resolved", help="Fill in transformers' defaults and mark them (needs \\[live])."
        ),
    ] = False,
    diff: Annotated[
        str | None, typer.Option(metavar="OTHER", help="Compare with another model's.")
    ] = None,
    opening: Opening,
    output: Output,
) -> Report:
    """Show the configuration of a model, nested sub-configurations included."""
    if get is not None and diff is not None:
        raise UsageError("--get and --diff exclude each other")
    if get == "":
        raise UsageError("--get is an empty string", "is a variable unset?")
    how = load.How(*opening)
    facts, notes = _open(model, how, resolved)
    if diff is not None:
        other, more = _open(diff, how, resolved)
        return _difference(facts, other, (*notes, *more))
    if get is not None:
        return _one_value(facts, get, notes)
    return _whole(facts, notes)


class _Config:
    """One model's configuration; `own` is what its file says, `full` what is shown."""

    def __init__(self, facts: ModelFacts, own: Mapping[str, Any], full: Mapping[str, Any]) -> None:
        self.facts = facts
        self.own = own
        self.full = full
        self.origin = analysis.origins(full, own)


def _open(model: str | None, how: load.How, resolved: bool) -> tuple[_Config, tuple[Note, ...]]:
    facts = load.open_model(model, how, want_tensors=False)
    parts = {part.name: part.config for part in facts.components if part.config}
    own = _own(facts) if facts.config is not None or not parts else {}
    if not resolved:
        both = {**own, **parts}
        return _Config(facts, both, both), facts.notes
    from modelscope_cli.live import configuration

    filled = configuration.resolved(own)
    if isinstance(filled, Unknown):
        warning = Note(f"defaults are unknown: {filled.reason}", warning=True)
        return _Config(facts, {**own, **parts}, {**own, **parts}), (*facts.notes, warning)
    return _Config(facts, {**own, **parts}, {**filled, **parts}), facts.notes


def _own(facts: ModelFacts) -> Mapping[str, Any]:
    """config.json; for a GGUF its metadata."""
    if facts.config is not None:
        return facts.config
    if facts.choices:
        raise UsageError(f"{facts.ref.target}: {_reason(facts)}")
    metadata = facts.files[0].metadata if facts.files else {}
    if facts.ref.format == "gguf":
        if len(facts.files) > 1 and "split.count" not in metadata:
            raise UsageError(
                f"{facts.ref.target}: {len(facts.files)} GGUF files, each with its own metadata",
                "--weights GLOB chooses one",
            )
        return {key: plain_value(value) for key, value in metadata.items()}
    raise NotFound(
        f"{facts.ref.target}: no config.json here",
        "mscope params lists the tensors without one",
    )


def _reason(facts: ModelFacts) -> str:
    return facts.tensors.reason if isinstance(facts.tensors, Unknown) else ""


def _whole(config: _Config, notes: Sequence[Note]) -> Report:
    marked = any(origin == analysis.DEFAULT for origin in config.origin.values())
    columns = [
        Column("key", "key", "name"),
        Column("value", "value"),
        *([Column("origin", "origin")] if marked else []),
    ]

    def sections(folded: bool) -> list[Section]:
        rows = [
            [key, _text(value), *([config.origin[key]] if marked else [])]
            for key, value in analysis.flat(config.full)
        ]
        return [Table(columns, rows)]

    def records() -> Iterator[dict[str, Any]]:
        for key, value in analysis.flat(config.full):
            yield {"key": key, "value": value, "origin": config.origin[key]}

    return Report(
        "config",
        config.facts.ref,
        title(config.facts),
        sections,
        lambda: {"config": config.full, "origin": config.origin},
        ("key", "value", "origin"),
        records,
        notes,
    )


def _one_value(config: _Config, key: str, notes: Sequence[Note]) -> Report:
    value = analysis.value_at(config.full, key)
    text = value if isinstance(value, str) else _text(value)
    return Report(
        "config",
        config.facts.ref,
        "",
        lambda folded: [Lines([text], verbatim=True)],
        lambda: {"config": config.full, "origin": config.origin, "key": key, "value": value},
        ("key", "value"),
        lambda: [{"key": key, "value": value}],
        notes,
    )


def _difference(a: _Config, b: _Config, notes: Sequence[Note]) -> Report:
    changes = analysis.differences(a.full, b.full)
    columns = (
        Column("mark", ""),
        Column("key", "key", "name"),
        Column("a", a.facts.ref.target),
        Column("b", b.facts.ref.target),
        Column("status", "status", rank=1),
    )

    def sections(folded: bool) -> list[Section]:
        if not changes:
            return [Lines(["the configurations are equal"])]
        rows = [[_MARKS[c.status], c.key, *_sides(c), c.status] for c in changes]
        counts = [(s, sum(c.status == s for c in changes), "count") for s in _MARKS]
        return [Table(columns, rows), Fields(counts)]

    tensors = ("only_in_a", "only_in_b", "changed", "values")
    return Report(
        "config-diff",
        None,
        f"{a.facts.ref.target} against {b.facts.ref.target}",
        sections,
        lambda: {
            "models": [a.facts.ref._asdict(), b.facts.ref._asdict()],
            "equal": not changes,
            "config": [change._asdict() for change in changes],
            **dict.fromkeys(tensors),
            "unknown": dict.fromkeys(tensors, _TENSORS_NOT_COMPARED),
        },
        analysis.Change._fields,
        lambda: [change._asdict() for change in changes],
        notes,
        exit_code=1 if changes else 0,
    )


def _sides(change: analysis.Change) -> tuple[str, str]:
    """Both values as text; nothing on the side that lacks the key."""
    a = "" if change.status == "added" else _text(change.a)
    b = "" if change.status == "removed" else _text(change.b)
    return a, b


def _text(value: Any) -> str:
    """A value as people read it: JSON, but a string without quotes where none are needed."""
    if isinstance(value, str) and value not in ("", "true", "false", "null"):
        number = value.lstrip("-")[:1].isdigit()
        return f'"{value}"' if number or value != value.strip() else value
    return json.dumps(value, ensure_ascii=False)
