"""Tied weights: what transformers would hold once although the file may hold it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from modelscope_cli.analysis.experts import levels
from modelscope_cli.analysis.load_dtype import is_cast, load_dtype
from modelscope_cli.analysis.memory.kv.settings import quoted
from modelscope_cli.analysis.roles import TRAINING, RowFact
from modelscope_cli.dtypes import DType
from modelscope_cli.facts import TensorTable, Unknown

# Names of input embeddings (not of positions or token types) and of output heads in
# transformers' classes. Equal shapes and dtypes then tell which of them can be one tensor.
_INPUTS = (
    ".embed_tokens.weight", ".shared.weight", ".wte.weight", ".word_embedding.weight",
    ".word_embeddings.weight", ".tok_embeddings.weight", ".embed_in.weight",
    ".tokens_embed.weight", ".embeddings.weight", ".w.weight",
)  # fmt: skip
_OUTPUTS = (
    ".lm_head.weight", ".embed_out.weight", ".decoder.weight", ".vocab_projector.weight",
    ".generator_lm_head.weight", ".lm_loss.weight", ".proj_out.weight",
    ".output_projection.weight", ".lm_head.out_proj.weight", ".pred_layer.proj.weight",
)  # fmt: skip
_TOP_OUTPUTS = ("head.weight", "output.weight")  # heads only where they are the whole name
_SHARED = ".shared.weight"
_COPIES = (".encoder.embed_tokens.weight", ".decoder.embed_tokens.weight")
# Heads of BERT's kind hold their bias twice: in the head, and in its decoder.
_DECODER = ".decoder.weight"
_BIASES = (
    ".lm_head.bias", ".lm_head.decoder.bias", ".predictions.bias", ".predictions.decoder.bias",
)  # fmt: skip
# These classes tie the copies of their shared embedding whatever the configuration says.
_ALWAYS_SHARED = frozenset({"t5", "mt5", "umt5", "longt5", "pop2piano", "udop"})


Pairs = tuple[tuple[str, str], ...]


class Loaded(NamedTuple):
    """A checkpoint as transformers would hold it: each tied tensor once.

    The first `in_file` of the ties are facts of a torch file, which stores those tensors once;
    `apart` are the parameters if only they were tied. With no other tie and no dtype changed the
    basis is exact.
    `parameters` and `bytes` (floats at the dtype loaded as) are Unknown where the tie is.
    """

    parameters: int | Unknown
    bytes: int | Unknown
    tied: Pairs
    basis: str = "estimate"
    in_file: int = 0
    apart: int = 0


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
    known = _distinct(_same_pairs(same_tensors))
    pairs = _distinct((*known, *_both_in_file(table, rows, config)))
    if len(pairs) > len(known):
        ties = _config_ties(config)
        if isinstance(ties, Unknown):
            return Loaded(ties, ties, ())
    stored, again = {name for _, name in known}, {name for _, name in pairs}
    sizes = _weights(rows, table, again)
    dtype = load_dtype(config, table)
    size = _held_bytes(rows, table, again, dtype)
    exact = pairs and pairs == known and size == _held_bytes(rows, table, again, None)
    return Loaded(
        parameters - sum(sizes.values()),
        size,
        pairs,
        "exact" if exact else "estimate",
        len(known),
        parameters - sum(sizes[name] for name in stored),
    )


def _weights(rows: Sequence[RowFact], table: TensorTable, names: set[str]) -> Counter[str]:
    """The logical weights of the tensors of these names; a buffer has none."""
    sizes: Counter[str] = Counter()
    for fact in rows if names else ():
        count = fact.parameters
        if isinstance(count, int) and count:
            found = (table.names[index] for index in fact.row.indices)
            each = count // len(fact.row.indices)
            sizes.update({name: each for name in found if name in names})
    return sizes


def _held_bytes(
    rows: Sequence[RowFact], table: TensorTable, again: set[str], dtype: DType | None
) -> int:
    return sum(_row_bytes(fact, table, again, dtype) for fact in rows)


def _row_bytes(fact: RowFact, table: TensorTable, again: set[str], dtype: DType | None) -> int:
    """Bytes of a row's tensors in memory, but for those that others are tied to."""
    kept = [i for i in fact.row.indices if table.names[i] not in again] if again else []
    indices = kept if again else fact.row.indices
    if not indices or fact.row.template.startswith(TRAINING):
        return 0
    first = indices[0]
    size = table.bytes[first]
    if dtype is not None and is_cast(fact, table.dtypes[first]):
        size = table.elements[first] * dtype.block_bytes
    return size * len(indices)


def _same_pairs(same_tensors: Sequence[Sequence[str]]) -> Pairs:
    """In a torch file, names of one place, shape and stride are one tensor when it is loaded."""
    return tuple((names[0], other) for names in same_tensors for other in names[1:])


def _distinct(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The same ties, each tensor tied once, to the first of its group."""
    firsts: dict[str, str] = {}

    def first(name: str) -> str:
        while name in firsts:
            name = firsts[name]
        return name

    for one, other in pairs:
        source, target = first(one), first(other)
        if source != target:
            firsts[target] = source
    return tuple((first(target), target) for target in firsts)


def _both_in_file(
    table: TensorTable, rows: Sequence[RowFact], config: Mapping[str, Any] | None
) -> Iterator[tuple[str, str]]:
    """Pairs that are one tensor where the configuration ties, as far as it does not say no."""
    places = _places(rows, table)
    inputs = [name for name in places if _ends(name, _INPUTS)]
    model_type = (config or {}).get("model_type")
    always = isinstance(model_type, str) and model_type in _ALWAYS_SHARED
    ties = _config_ties(config) is not False
    if ties or always:
        for shared in (name for name in inputs if _ends(name, (_SHARED,))):
            yield from ((shared, copy) for copy in _copies(shared, inputs, table, places))
    if not ties:
        return
    for head in filter(_is_head, places):
        alike = [name for name in inputs if _alike(table, places[name], places[head])]
        if alike and head not in inputs:
            yield max(alike, key=lambda name: _nearness(name, head)), head
        bias = head.removesuffix("weight") + "bias"
        of_head = head.removesuffix(_DECODER) + ".bias"
        if head.endswith(_DECODER) and bias in places and of_head in places:
            yield of_head, bias


def _copies(
    shared: str, inputs: Sequence[str], table: TensorTable, places: Mapping[str, int]
) -> Iterator[str]:
    """The embeddings of an encoder and a decoder that lie beside one they share."""
    prefix = shared.removesuffix("shared.weight")
    for name in inputs:
        copy = name.startswith(prefix) and f".{name.removeprefix(prefix)}" in _COPIES
        if copy and _alike(table, places[shared], places[name]):
            yield name


def _alike(table: TensorTable, one: int, other: int) -> bool:
    return table.shapes[one] == table.shapes[other] and table.dtypes[one] == table.dtypes[other]


def _nearness(source: str, head: str) -> tuple[int, bool]:
    """How much of the way to both is the same; of an encoder and a decoder, the decoder."""
    parts = zip(source.split("."), head.split("."), strict=False)
    together = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))
    return together, "decoder" in source


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    """Whether the last parts of a name are one of those; a plain comparison, patterns cost 1 ms."""
    return f".{name}".endswith(endings)


def _is_head(name: str) -> bool:
    return name in _TOP_OUTPUTS or _ends(name, _OUTPUTS)


def _could_be_tied(name: str) -> bool:
    return _is_head(name) or _ends(name, _INPUTS) or _ends(name, _BIASES)


def _places(rows: Sequence[RowFact], table: TensorTable) -> dict[str, int]:
    """Where the tensors lie that a tie could concern: plain ones, for a packed one has none."""
    return {
        table.names[index]: index
        for fact in rows
        if fact.logical is None and _could_be_tied(fact.row.template)
        for index in fact.row.indices
    }


def _config_ties(config: Mapping[str, Any] | None) -> bool | Unknown:
    if config is None:
        return Unknown("both embeddings are in the file and no configuration says if they are tied")
    for level in levels(config):
        value = level.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
        if value is not None:
            return Unknown(f"tie_word_embeddings is {quoted(value)}, not true or false")
    return Unknown(
        "both embeddings are in the file; the configuration leaves tie_word_embeddings to the "
        "model class"
    )
