"""Which bytes of a model will be read, told from file names: they can be asked for at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelscope_cli import choosing
from modelscope_cli.choosing import Chosen, Place
from modelscope_cli.errors import MscopeError
from modelscope_cli.formats.base import by_ending
from modelscope_cli.quantized import QUANTIZATION_FILES
from modelscope_cli.reading import CONFIG_FILES, set_of_file
from modelscope_cli.sources.base import Extent, Source

# What is read of a file beyond what may be its header: fewer round trips for some wasted bytes.
HEAD_BYTES = 262_144  # of a safetensors file: 97 % of published headers have less than 100 kB
_GGUF_HEAD_BYTES = 1_048_576  # a vocabulary takes some MB more
_TAIL_BYTES = 131_072  # of a torch file: a zip archive's directory is at its end
_LEAST_HEAD, _LARGEST_HEAD = 65_536, 1_048_576
_INDEX_TO_HEADER = 2  # an entry of a header is up to so much longer than that of an index
_LARGEST_JSON = 100_000_000
_PARTS = ("model_index.json", "modules.json")
DOCUMENTS = (*CONFIG_FILES, *_PARTS, *QUANTIZATION_FILES)
_PART_CONFIGS = ("config.json", "scheduler_config.json")


def guesses(file: str | None, *, chosen: bool, want_tensors: bool) -> list[Extent]:
    """What most models have, before it is known what files there are."""
    if file is not None:
        return [Extent(file, 0, HEAD_BYTES)]
    config = Extent("config.json", 0, _LEAST_HEAD)
    if chosen or not want_tensors:
        return [config]
    return [config, Extent("model.safetensors", 0, HEAD_BYTES)]


def of_file(source: Source, name: str, *, want_tensors: bool) -> list[Extent]:
    """What reading one file as the model will read."""
    names = source.files()
    if name.lower().endswith(".json") and by_ending(name) is None and not _is_index(name):
        return [Extent(name, 0, names[name])]
    wanted = list(_documents(names))
    if want_tensors or not wanted:
        place = Place("", None, names)
        wanted += of_sets(source, [(place, set_of_file(name, names))])
    return wanted


def of_folder(
    source: Source, pattern: str | None, quant: str | None, *, want_tensors: bool
) -> list[Extent]:
    """What reading a folder as the model will read."""
    names = source.files()
    wanted = list(_documents(names))
    own = [Place("", None, names)]
    if any(name in names for name in _PARTS):
        for folder in source.folders()[: choosing.MAX_FOLDERS]:
            files = source.files(folder)
            own.append(Place(folder, folder, files))
            found = next((name for name in _PART_CONFIGS if name in files), None)
            if found is not None:
                wanted.append(Extent(f"{folder}/{found}", 0, files[found]))
    if want_tensors or not wanted:
        wanted += of_sets(source, _chosen(source, own, pattern, quant))
    return wanted


def _is_index(name: str) -> bool:
    return ".index" in name


def _documents(names: Mapping[str, int]) -> Iterator[Extent]:
    config = next((name for name in CONFIG_FILES if name in names), None)
    for name in ((config,) if config else ()) + _PARTS + QUANTIZATION_FILES:
        if 0 < names.get(name, 0) <= _LARGEST_JSON:
            yield Extent(name, 0, names[name])


def _chosen(source: Source, own: list[Place], pattern: str | None, quant: str | None) -> Chosen:
    try:
        if quant is not None:
            return choosing.by_type(source, own, quant)
        if pattern is not None:
            return choosing.by_pattern(source, own, pattern)
    except MscopeError:  # said where it is read
        return []
    return choosing.by_default(own)[0]


def of_sets(source: Source, chosen: Chosen) -> list[Extent]:
    """What reading these sets will read."""
    wanted: list[Extent] = []
    for place, weights in chosen:
        head = HEAD_BYTES
        files = weights.files
        if weights.index_file is not None and weights.index_file in place.files:
            size = place.files[weights.index_file]
            wanted.append(Extent(place.path(weights.index_file), 0, min(size, _LARGEST_JSON)))
            files = files or tuple(n for n in place.files if n.endswith(f".{weights.format}"))
            head = _INDEX_TO_HEADER * size // max(1, len(files))
        elif len(files) > 1:
            head = _LEAST_HEAD
        head = min(max(head, _LEAST_HEAD), _LARGEST_HEAD)
        for name in files:
            wanted += _of_weights(place.path(name), place.files.get(name, 0), head)
    return wanted


def _of_weights(path: str, size: int, head: int) -> list[Extent]:
    found = by_ending(path)
    kind = found.name if found is not None else "safetensors"
    if kind == "gguf":
        return [Extent(path, 0, min(size, _GGUF_HEAD_BYTES))]
    if kind == "torch" and size > HEAD_BYTES + _TAIL_BYTES:
        return [Extent(path, 0, HEAD_BYTES), Extent(path, size - _TAIL_BYTES, _TAIL_BYTES)]
    return [Extent(path, 0, min(size, head if kind == "safetensors" else size))]
