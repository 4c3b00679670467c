"""Tied weights: what transformers would hold once although the file may hold it twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.experts import levels
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.facts import TensorTable, Unknown

# Names of input and output embeddings in transformers' classes, by the end of the name.
_INPUTS = (
    "embed_tokens.weight",
    "shared.weight",
    "wte.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
    "embeddings.weight",
)
_OUTPUTS = ("lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight")


class Loaded(NamedTuple):
    """A checkpoint as transformers would hold it: each tied tensor once.

    `parameters` and `bytes` (at the file's dtypes) are Unknown where the tie is.
    """

    parameters: int | Unknown
    bytes: int | Unknown
    tied: tuple[tuple[str, str], ...]
    basis: str = "estimate"


def loaded(
    table: TensorTable,
    rows: Sequence[RowFact],
    parameters: int | Unknown,
    config: Mapping[str, Any] | None,
    same_tensors: Sequence[Sequence[str]] = (),
) -> Loaded:
    """What is left of the file's tensors once tied ones count once.

    `rows` are the rows of `table`, `parameters` its logical weights.
    """
    if isinstance(parameters, Unknown):
        return Loaded(parameters, parameters, ())
    pairs = _same_pairs(same_tensors)
    if not pairs and (pairs := _both_in_file(table, rows)):
        ties = _config_ties(config)
        if isinstance(ties, Unknown):
            return Loaded(ties, ties, ())
        pairs = pairs if ties else ()
    again = {second for _, second in pairs}
    twice = [row for row, name in enumerate(table.names) if name in again] if again else []
    return Loaded(
        parameters - sum(table.elements[row] for row in twice),
        sum(row.bytes for row in rows) - sum(table.bytes[row] for row in twice),
        pairs,
    )


def _same_pairs(same_tensors: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """In a torch file, names of one place, shape and stride are one tensor when it is loaded."""
    return tuple((names[0], other) for names in same_tensors for other in names[1:])


def _both_in_file(table: TensorTable, rows: Sequence[RowFact]) -> tuple[tuple[str, str], ...]:
    """(input, output) embedding pairs of equal shape and dtype that are both stored."""
    inputs, outputs = _ending(rows, _INPUTS), _ending(rows, _OUTPUTS)
    return tuple(
        (table.names[a], table.names[b])
        for b in outputs
        for a in inputs[:1]
        if table.shapes[a] == table.shapes[b] and table.dtypes[a] == table.dtypes[b]
    )


def _ending(rows: Sequence[RowFact], endings: tuple[str, ...]) -> list[int]:
    """Tensors of plain rows whose names end like that; a packed one cannot be tied."""
    return [
        index
        for fact in rows
        if fact.logical is None and fact.row.template.endswith(endings)
        for index in fact.row.indices
    ]


def _config_ties(config: Mapping[str, Any] | None) -> bool | Unknown:
    if config is None:
        return Unknown("both embeddings are in the file and no configuration says if they are tied")
    for level in levels(config):
        value = level.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
    return Unknown(
        "both embeddings are in the file; the configuration leaves tie_word_embeddings to the "
        "model class"
    )
