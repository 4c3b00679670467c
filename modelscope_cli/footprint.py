"""From facts and a request to a footprint: the rows, what fits, what was asked of the library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis import params
from modelscope_cli.analysis.memory import rows
from modelscope_cli.analysis.memory.kv_cache import KVCache, context_limit
from modelscope_cli.analysis.memory.prepared import Prepared, prepare
from modelscope_cli.analysis.memory.request import GGML_CACHES, MAX, Asked
from modelscope_cli.analysis.memory.rows import Model, Row, Workload
from modelscope_cli.analysis.params import Choice, Params, Totals
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import FileFact, ModelFacts, Note, TensorTable, Unknown
from modelscope_cli.schemes.base import Logical

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.gguf_rows import GgufModel

DEFAULT_CONTEXT = 4096


class Footprint(NamedTuple):
    """The rows, the one on top, and what all of them assume."""

    rows: tuple[Row, ...]
    top: Row
    model: Model
    parameters: Totals
    work: Workload
    limit: int | None
    at_limit: KVCache | Unknown | None  # the top row's cache at the model's limit
    context_said: bool
    runtime: int
    notes: tuple[Note, ...] = ()


def of(facts: ModelFacts, asked: Asked, runtime: int) -> Footprint:
    """The footprint of a model, from its headers and configuration."""
    if facts.ref.format == "gguf":
        return _of_gguf(facts, asked, runtime)
    _require_cache_dtype(asked, is_gguf=False)
    examined = _examined(facts)
    model = model_of(facts, examined)
    limit = context_limit(model.config)
    work = workload(asked, limit)
    found = tuple(rows.row(model, mode, work) for mode in asked.modes)
    top = found[0]
    at_limit = None
    if limit is not None and limit != work.context:
        at_limit = rows.cache_of(model, top.dtype, work._replace(context=limit))
    said = asked.context is not None
    notes = _notes(work, limit)
    return Footprint(
        found, top, model, examined.totals, work, limit, at_limit, said, runtime, notes
    )


def _of_gguf(facts: ModelFacts, asked: Asked, runtime: int) -> Footprint:
    """Of GGUF files: the rows of one, or of several one row each."""
    from modelscope_cli.analysis.memory import gguf_cache, gguf_rows

    _require_cache_dtype(asked, is_gguf=True)
    files = gguf_models(facts)
    first, several = files[0], len(files) > 1
    limit = gguf_cache.context_limit(first.metadata)
    work = workload(asked, limit)
    wanted = asked.modes[:1] if several else asked.modes
    found = tuple(
        gguf_rows.row(file, mode, work, several=several) for file in files for mode in wanted
    )
    at_limit = None
    if limit is not None and limit != work.context:
        at_limit = gguf_rows.cache(first, wanted[0], work._replace(context=limit))
    model = Model((first.prepared(),), {}, None)
    return Footprint(
        found, found[0], model, _examined(facts).totals, work, limit, at_limit,
        asked.context is not None, runtime, _notes(work, limit),
    )  # fmt: skip


def gguf_models(facts: ModelFacts) -> list[GgufModel]:
    """The GGUF files of a model, the parts of a split set together."""
    from modelscope_cli.analysis.memory.gguf_rows import GgufModel
    from modelscope_cli.formats.gguf_file_type import file_type_name

    table = facts.tensors if isinstance(facts.tensors, TensorTable) else TensorTable()
    sets: list[list[FileFact]] = []
    for file in facts.files:
        if sets and file.metadata.get("split.no") not in (None, 0):
            sets[-1].append(file)
        else:
            sets.append([file])
    at: dict[str | None, list[int]] = {}
    for index, path in enumerate(table.files):
        at.setdefault(path, []).append(index)
    found = []
    for parts in sets:
        own = table.take([index for part in parts for index in at.get(part.path, ())])
        first = parts[0]
        rows_ = params.examine(facts, own, Choice()).rows
        name = file_type_name(first.metadata, first.path)
        found.append(GgufModel(first.path, name, first.metadata, rows_, own))
    return found


def _require_cache_dtype(asked: Asked, *, is_gguf: bool) -> None:
    """Raises UsageError for a cache that only the other engine has."""
    dtype = asked.kv_dtype
    if dtype is None:
        return
    if not is_gguf and dtype in GGML_CACHES:
        raise UsageError(f"--kv-dtype {dtype.lower()}: only llama.cpp has it, for a GGUF")
    if is_gguf and dtype not in GGML_CACHES and not dtype.startswith(("F16", "F32", "BF16")):
        raise UsageError(f"--kv-dtype: llama.cpp has no cache of {dtype}", "q8_0, q4_0, f16")


def _notes(work: Workload, limit: int | None) -> tuple[Note, ...]:
    if limit is None or work.context <= limit:
        return ()
    text = f"--context {work.context:,} is beyond the model's limit of {limit:,}"
    return (Note(text, warning=True),)


def workload(asked: Asked, limit: int | None) -> Workload:
    """What is run: the context asked for, by default 4,096 or the model's limit if that is less."""
    context = asked.context
    if context == MAX:
        if limit is None:
            raise UsageError("--context max: the configuration tells no limit", "--context 32k")
        context = limit
    if not isinstance(context, int):
        context = min(DEFAULT_CONTEXT, limit or DEFAULT_CONTEXT)
    return Workload(asked.batch or 1, context, asked.encoder_context, asked.kv_dtype)


def _examined(facts: ModelFacts) -> Params:
    table = facts.tensors if isinstance(facts.tensors, TensorTable) else TensorTable()
    return params.examine(facts, table, Choice())


def model_of(facts: ModelFacts, examined: Params | None = None) -> Model:
    """The components of a model, ready to be weighed."""
    examined = examined or _examined(facts)
    config = facts.config or {}
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    return Model(
        tuple(_components(facts, examined)),
        config,
        first if isinstance(first, str) else None,
        _packed_by(examined.rows),
        facts.tensors if isinstance(facts.tensors, Unknown) else examined.alternatives,
    )


def _components(facts: ModelFacts, examined: Params) -> list[Prepared]:
    """One for the model; of a pipeline one for each of its components."""
    table = examined.table
    by_component: dict[str | None, list[RowFact]] = {}
    for fact in examined.rows:
        by_component.setdefault(table.components[fact.row.indices[0]], []).append(fact)
    configs: dict[str | None, Mapping[str, Any] | None] = {
        component.name: component.config for component in facts.components
    }
    return [
        prepare(its_rows, table, configs.get(name) or (None if name else facts.config))
        for name, its_rows in by_component.items()
    ] or [prepare([], table, facts.config)]


def _packed_by(found: Sequence[RowFact]) -> str | None:
    """The scheme of the checkpoint's packed weights."""
    for fact in found:
        if isinstance(fact.logical, Logical):
            return fact.logical.scheme
    return None
