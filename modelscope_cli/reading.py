"""A source to ModelFacts: which files are the model, read each, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli import choosing, quantized
from modelscope_cli.choosing import Place
from modelscope_cli.errors import MissingShard, MscopeError, NotFound
from modelscope_cli.facts import (
    Component,
    FileContents,
    FileFact,
    ModelFacts,
    ModelRef,
    Note,
    TensorTable,
    Unknown,
)
from modelscope_cli.formats import base, weight_sets
from modelscope_cli.formats.weight_sets import WeightSet
from modelscope_cli.sources.base import Source

CONFIG_FILES = ("config.json", "adapter_config.json", "params.json")
_NO_WEIGHTS = "no weight files here, only a configuration; memory --exact builds the class from it"


def holds_a_model(names: Sequence[str]) -> bool:
    """Whether a folder with these file names is a model."""
    return bool(
        {"config.json", "model_index.json", "adapter_config.json", "modules.json"} & set(names)
        or weight_sets.find(names)
    )


def read_file(source: Source, name: str, *, want_tensors: bool = True) -> ModelFacts:
    """One file as the model: weights, a shard index, or a config.json alone."""
    names = source.files()
    place = Place("", None, names)
    if name.lower().endswith(".json") and weight_sets.of_index(name) is None:
        config = _json(source, name)
        return ModelFacts(
            source.ref._replace(format="config", files=0),
            Unknown(_NO_WEIGHTS.replace("here", f"in {name}")),
            config=config,
            config_file=name,
        )
    weights = set_of_file(name, names)
    config_file = _config_beside(weights, names)
    config_beside = _json(source, config_file) if config_file else None
    if not want_tensors and config_beside is not None:
        there = {each.name: each for each in place.sets()}
        ref = _unread(source, [(place, weights if weights.files else there[weights.name])])
        return ModelFacts(ref, Unknown("not read"), config=config_beside, config_file=config_file)
    facts = read_sets(source, [(place, weights)], None)
    quantization, remarks = quantized.declared(source, names, config_beside)
    return facts._replace(
        config=config_beside,
        config_file=config_file,
        notes=(*remarks, *facts.notes),
        quantization=quantization,
    )


def read_folder(
    source: Source,
    pattern: str | None,
    *,
    quant: str | None = None,
    jobs: int | None = None,
    want_tensors: bool = True,
) -> ModelFacts:
    """A folder as the model: its own weights, and those of its components.

    `pattern` chooses weight files by name, `quant` GGUF files by their type (`Q4_K_M`); `jobs`
    files are read at once (None: one after the other, quickest on a local disk).
    """
    names = source.files()
    components, config, config_file = _described(source, names)
    own = choosing.places(source, names, components)
    if not want_tensors and (config is not None or any(part.config for part in components)):
        return ModelFacts(
            _would_read(source, own, pattern, quant), Unknown("not read"), config=config,
            config_file=config_file, components=components,
        )  # fmt: skip
    chosen, notes = _chosen(source, own, pattern, quant)
    if not chosen:
        facts = _without_weights(source, config, config_file, components)
        return facts._replace(notes=notes)
    facts = read_sets(source, chosen, jobs)
    quantization, remarks = quantized.declared(source, names, config)
    return facts._replace(
        config=config,
        config_file=config_file,
        components=components,
        notes=(*notes, *remarks, *facts.notes),
        quantization=quantization,
    )


def _chosen(
    source: Source, own: Sequence[Place], pattern: str | None, quant: str | None
) -> tuple[choosing.Chosen, tuple[Note, ...]]:
    """The sets to read, and a note on those that are left aside."""
    if quant is not None:
        return choosing.by_type(source, own, quant), ()
    if pattern is not None:
        return choosing.by_pattern(source, own, pattern), ()
    chosen, aside = choosing.by_default(own)
    return chosen, choosing.aside_note(aside, choosing.below(source, own))


def _would_read(
    source: Source, own: Sequence[Place], pattern: str | None, quant: str | None
) -> ModelRef:
    """What a listing would say of the format and the files, told from names alone."""
    try:
        if pattern is None and quant is None:
            return _unread(source, choosing.by_default(own)[0])
        return _unread(source, _chosen(source, own, pattern, quant)[0])
    except MscopeError:  # a choice that fits nothing is no matter for a configuration
        return source.ref


def _unread(source: Source, chosen: choosing.Chosen) -> ModelRef:
    formats = {weights.format for _, weights in chosen}
    files = sum(max(1, len(weights.files)) for _, weights in chosen)
    if not formats:
        return source.ref._replace(format="config", files=0)
    return source.ref._replace(format=formats.pop() if len(formats) == 1 else None, files=files)


def _without_weights(
    source: Source,
    config: Mapping[str, Any] | None,
    config_file: str | None,
    components: Sequence[Component],
) -> ModelFacts:
    if config is None:
        raise NotFound(
            f"{source.ref.target}: no weight files and no configuration here", _elsewhere(source)
        )
    ref = source.ref._replace(format="config", files=0)
    return ModelFacts(
        ref, Unknown(_NO_WEIGHTS), config=config, config_file=config_file, components=components
    )


def _elsewhere(source: Source) -> str | None:
    """A hint at sub-folders that do hold a model, one level down."""
    inside = [
        folder
        for folder in source.folders()[: choosing.MAX_FOLDERS]
        if _has_a_model(source, folder)
    ]
    return f"there are models in: {', '.join(inside[:8])}" if inside else None


def _has_a_model(source: Source, folder: str) -> bool:
    try:
        return holds_a_model(list(source.files(folder)))
    except MscopeError:  # a folder that may not be read
        return False


def set_of_file(name: str, names: Mapping[str, int]) -> WeightSet:
    """What set naming a file means: a split GGUF's first part means all of it."""
    if (described := weight_sets.of_index(name)) is not None:
        return described
    alone = weight_sets.of_file(name)
    shard = weight_sets.shard_of(name)
    if shard is None or not name.lower().endswith(".gguf") or shard[1] != 1:
        return alone
    return next((each for each in weight_sets.find(names) if name in each.files), alone)


def _config_beside(weights: WeightSet, names: Mapping[str, int]) -> str | None:
    """The config.json next to a weight file that bears one of the libraries' own names."""
    known = weight_sets.shard_of(weights.name)
    plain = weights._replace(name=known[0]) if known else weights
    if plain.rank is None:
        return None
    return next((name for name in CONFIG_FILES if name in names), None)


def _described(
    source: Source, names: Mapping[str, int]
) -> tuple[tuple[Component, ...], Mapping[str, Any] | None, str | None]:
    """What the folder's JSON says: its components, its configuration, and from which file."""
    if "model_index.json" in names or "modules.json" in names:
        from modelscope_cli import pipelines  # few models are pipelines

        return pipelines.describe(source, names)
    config_file = next((name for name in CONFIG_FILES if name in names), None)
    return (), _json(source, config_file) if config_file else None, config_file


def _json(source: Source, path: str) -> dict[str, Any]:
    from modelscope_cli.formats import config

    with source.open(path) as file:
        return config.read_object(file)


def read_sets(
    source: Source, chosen: Sequence[tuple[Place, WeightSet]], jobs: int | None
) -> ModelFacts:
    """The tensors of these sets together, without what documents beside them say."""
    table = TensorTable()
    facts: list[FileFact] = []
    notes: list[Note] = []
    sets: list[tuple[str, TensorTable]] = []
    for place, weights in chosen:
        part, contents, remarks = _read_set(source, place, weights, jobs)
        part.components = [place.component] * len(part)
        table.extend(part)
        sets.append((place.path(weights.name), part))
        facts += [each.fact for each in contents]
        notes += remarks
    alternatives = _alternatives(sets)
    notes += _alternatives_note(alternatives)
    formats = {fact.format for fact in facts}
    values = quantized.values(source, table)
    ref = source.ref._replace(
        format=facts[0].format if len(formats) == 1 else None, files=len(facts)
    )
    return ModelFacts(
        ref, table, tuple(facts), notes=tuple(notes), values=values, alternatives=alternatives
    )


def _read_set(
    source: Source, place: Place, weights: WeightSet, jobs: int | None
) -> tuple[TensorTable, list[FileContents], list[Note]]:
    index = None
    files: Sequence[str] = weights.files
    notes: list[Note] = []
    if weights.index_file is not None:
        from modelscope_cli.formats import shard_index

        with source.open(place.path(weights.index_file)) as file:
            index = shard_index.parse(file)
        files = sorted(set(index.weight_map.values()))
        if missing := [name for name in files if not _is_there(source, place, name)]:
            raise MissingShard(
                place.path(weights.index_file),
                f"{len(missing)} of {len(files)} shards are not there, the first is {missing[0]}",
            )
    else:
        notes += weight_sets.check_shards(weights, place.folder)
    contents = _read_all(source, [place.path(name) for name in files], jobs)
    notes += [note for each in contents for note in each.notes]
    if index is not None:
        tables = {name: each.tensors for name, each in zip(files, contents, strict=True)}
        notes += shard_index.check(index, tables)
    elif len(contents) > 1 and weights.format != "gguf":  # check_split has its own words
        _require_distinct(place.path(weights.name), contents)
    notes += _split_notes(contents)
    table = TensorTable()
    for each in contents:
        table.extend(each.tensors)
    return table, contents, notes


def _is_there(source: Source, place: Place, name: str) -> bool:
    folder, _, file = place.path(name).rpartition("/")
    if folder == place.folder:
        return file in place.files
    try:
        return file in source.files(folder)
    except NotFound:
        return False


def _require_distinct(name: str, contents: Sequence[FileContents]) -> None:
    """Shards without an index: a tensor in two of them would be whichever is loaded last."""
    distinct = {name for each in contents for name in each.tensors.names}
    if len(distinct) < sum(len(each.tensors) for each in contents):
        from modelscope_cli.formats import shard_index

        shard_index.held_once(name, {each.fact.path: each.tensors for each in contents})


def _read_all(source: Source, paths: Sequence[str], jobs: int | None) -> list[FileContents]:
    """The files in order. Threads help where each read waits, as on a network file system."""
    if jobs is None or jobs == 1 or len(paths) == 1:
        return [_read_one(source, path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(jobs, len(paths), _MAX_JOBS)) as pool:
        return list(pool.map(lambda path: _read_one(source, path), paths))


_MAX_JOBS = 64


def _read_one(source: Source, path: str) -> FileContents:
    with source.open(path) as file:
        found = base.sniff(file)
        contents = found.reader().read(file)
    if (by_name := base.by_ending(path)) is None or by_name.name == found.name:
        return contents
    wrong = Note(f"{path} is a {found.name} file by its content, whatever its name", warning=True)
    return contents._replace(notes=(*contents.notes, wrong))


def _split_notes(contents: Sequence[FileContents]) -> tuple[Note, ...]:
    if len(contents) < 2 or any(each.fact.format != "gguf" for each in contents):
        return ()
    from modelscope_cli.formats import gguf

    return gguf.check_split(contents)


def _alternatives(sets: Sequence[tuple[str, TensorTable]]) -> tuple[str, ...]:
    """The sets that hold tensors of the same names: adding them up means nothing."""
    if len(sets) < 2:
        return ()
    owners: dict[tuple[str | None, str], str] = {}
    found: dict[str, None] = {}
    for path, table in sets:
        for key in zip(table.components, table.names, strict=True):
            owner = owners.setdefault(key, path)
            if owner != path:
                found |= {owner: None, path: None}
    return tuple(found)


def _alternatives_note(alternatives: Sequence[str]) -> tuple[Note, ...]:
    if not alternatives:
        return ()
    return (
        Note(
            f"{len(alternatives)} weight sets hold tensors of the same names "
            f"({', '.join(alternatives[:8])}): all are listed, bytes and elements add them up; "
            "--weights GLOB chooses one",
            warning=True,
        ),
    )
