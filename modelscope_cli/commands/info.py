"""`mscope info`: one card that answers everyone's first questions."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from collections.abc import Mapping

from modelscope_cli import footprint, load, model_card
from modelscope_cli.analysis import adapters
from modelscope_cli.analysis.layer_counts import MAIN, layer_counts
from modelscope_cli.analysis.memory import request
from modelscope_cli.analysis.memory.kv.limits import why_no_limit
from modelscope_cli.analysis.memory.row import DEFAULT_RUNTIME
from modelscope_cli.errors import NotFound
from modelscope_cli.facts import ModelFacts, Note, Unknown
from modelscope_cli.options import Model, Opening, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports import info as reports

_BLOCKS = ".block_count"  # of a GGUF, after its architecture


@command_
def command(model: Model = None, *, opening: Opening, output: Output) -> Report:
    """Tell what a model is: size, dtypes, layers, context, licence, memory, and where it lies."""
    how = load.How(*opening)
    return reports.report(_card(_open(model, how), how))


def _open(model: str | None, how: load.How) -> ModelFacts:
    """The model; of one in the HF cache without its weights, what its configuration says."""
    try:
        return load.open_model(model, how)
    except NotFound as error:
        try:
            facts = load.open_model(model, how, want_tensors=False)
        except NotFound:
            raise error from None
        if facts.config is None:
            raise
        warning = Note(error.message, warning=True)
        return facts._replace(tensors=Unknown(error.message), notes=(*facts.notes, warning))


def _card(facts: ModelFacts, how: load.How) -> reports.Card:
    found = footprint.of(facts, _as_stored(), DEFAULT_RUNTIME)
    return reports.Card(
        facts,
        found.params,
        _type(facts),
        _architectures(facts),
        _layers(facts),
        found.limit or _no_limit(facts),
        model_card.licence_of(facts, how),
        found.top,
        found.work.batch,
        found.work.context,
        found.notes,
    )


def _no_limit(facts: ModelFacts) -> Unknown:
    if facts.config is None and not _metadata(facts):
        return Unknown("there is no configuration")
    return adapters.told(facts.config or {}) or why_no_limit(facts.config or {})


def _as_stored() -> request.Asked:
    return request.asked(
        bits="stored",
        quant=None,
        double_quant=False,
        dtype=None,
        transformers="5",
        batch="1",
        context=None,
        encoder_context=None,
        kv_dtype=None,
    )


def _metadata(facts: ModelFacts) -> Mapping[str, object]:
    """What a GGUF says of itself."""
    return facts.files[0].metadata if facts.ref.format == "gguf" and facts.files else {}


def _type(facts: ModelFacts) -> str | Unknown:
    found = (facts.config or {}).get("model_type") or _metadata(facts).get("general.architecture")
    if isinstance(found, str) and found:
        return found
    if (kind := adapters.kind_of(facts.config or {})) is not None:
        base = adapters.base_of(facts.config or {})
        return f"{kind} adapter" + (f" of {base}" if base else "")
    kinds = [part.type or part.name for part in facts.components]
    if kinds:
        return f"a pipeline of {', '.join(kinds)}"
    return Unknown("no configuration names it")


def _architectures(facts: ModelFacts) -> tuple[str, ...]:
    found = (facts.config or {}).get("architectures")
    return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()


def _layers(facts: ModelFacts) -> Mapping[str, int] | Unknown:
    metadata = _metadata(facts)
    blocks = metadata.get(f"{metadata.get('general.architecture')}{_BLOCKS}")
    if isinstance(blocks, int):
        return {MAIN: blocks}
    return adapters.told(facts.config or {}) or layer_counts(facts.config)
