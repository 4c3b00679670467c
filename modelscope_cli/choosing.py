"""Which of a model's weight sets are read: its own, its components', or one folder down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from modelscope_cli.errors import MscopeError, NotFound, UsageError
from modelscope_cli.facts import Choice, Component, Note
from modelscope_cli.formats import weight_sets
from modelscope_cli.formats.weight_sets import WeightSet
from modelscope_cli.sources.base import Source

MAX_FOLDERS = 200  # looked into for weights: a model has a handful
_SHOWN = 8


class Place(NamedTuple):
    """A folder that holds weights: the model's own, one component's, or one below it."""

    folder: str
    component: str | None
    files: Mapping[str, int]

    def path(self, name: str) -> str:
        """A file of this folder, relative to the model."""
        return f"{self.folder}/{name}" if self.folder else name

    def sets(self) -> list[WeightSet]:
        """The weight sets that lie in it."""
        return weight_sets.find(self.files)


Chosen = list[tuple[Place, WeightSet]]


def places(
    source: Source, names: Mapping[str, int], components: Sequence[Component]
) -> list[Place]:
    """The model's own folder, whose files are `names`, and those of its components."""
    parts = [Place(part.name, part.name, source.files(part.name)) for part in components]
    return [Place("", None, names), *parts]


def below(source: Source, own: Sequence[Place]) -> list[Place]:
    """Folders one level down that hold weights and are no component; 200 are looked into."""
    known = {place.folder for place in own}
    found = []
    for folder in source.folders()[:MAX_FOLDERS]:
        files = {} if folder in known else _files(source, folder)
        if weight_sets.find(files):
            found.append(Place(folder, None, files))
    return found


def _files(source: Source, folder: str) -> Mapping[str, int]:
    try:
        return source.files(folder)
    except MscopeError:  # a folder that may not be read
        return {}


def by_default(own: Sequence[Place]) -> tuple[Chosen, list[str]]:
    """What the libraries would load from every place, and the paths of what is left aside."""
    chosen: Chosen = []
    aside: list[str] = []
    for place in own:
        take, rest = weight_sets.choose(place.sets(), None)
        chosen += [(place, each) for each in take]
        aside += [place.path(each.name) for each in rest]
    if any(place.component for place, _ in chosen):
        # Stable Diffusion repos also hold the whole pipeline in one file, by any name.
        aside += [e.name for place, e in chosen if not place.component and e.rank is None]
        chosen = [(place, e) for place, e in chosen if place.component or e.rank is not None]
    return chosen, aside


def aside_note(aside: Sequence[str], lower: Sequence[Place]) -> tuple[Note, ...]:
    """A note on the sets that are not listed, those of folders below included."""
    paths = [*aside, *(place.path(each.name) for place in lower for each in place.sets())]
    if not paths:
        return ()
    return (Note(f"also here, not listed: {_some(paths)}; --weights GLOB chooses"),)


def by_pattern(source: Source, own: Sequence[Place], pattern: str) -> Chosen:
    """The sets that `--weights` names. Raises UsageError where it fits none.

    A pattern without a `/` looks into folders below only where nothing fits above them.
    """
    chosen = _fitting(own, pattern)
    if chosen and "/" not in pattern:
        return chosen
    lower = below(source, own)
    chosen += _fitting(lower, pattern)
    if not chosen:
        there = [place.path(each.name) for place in (*own, *lower) for each in place.sets()]
        raise UsageError(
            f"--weights {pattern!r} fits no weight file",
            f"there are: {_some(there)}" if there else "there are none here",
        )
    return chosen


def _fitting(places: Sequence[Place], pattern: str) -> Chosen:
    return [
        (place, each)
        for place in places
        for each in weight_sets.choose(place.sets(), pattern, place.folder)[0]
    ]


def by_type(source: Source, own: Sequence[Place], quant: str) -> Chosen:
    """The GGUF sets whose names bear a type, else those of folders below.

    A vision model's projector is no model of that type, unless there is nothing else.
    Raises NotFound with the types there are.
    """
    there = _ggufs(own)
    models = [each for each in there if not _is_projector(each[1])]
    if chosen := _of_type(models, quant):
        return chosen
    there += _ggufs(below(source, own))
    models = [each for each in there if not _is_projector(each[1])] or there
    if chosen := _of_type(models, quant):
        return chosen
    kinds = sorted(filter(None, {_type_of(*each) for each in models}))
    raise NotFound(
        f"{source.ref.id or source.ref.target}: no GGUF file of type {quant} here",
        f"there are: {', '.join(kinds)}" if kinds else None if there else "there are no GGUF files",
    )


def _ggufs(places: Sequence[Place]) -> Chosen:
    return [(place, each) for place in places for each in place.sets() if each.format == "gguf"]


def _of_type(chosen: Chosen, quant: str) -> Chosen:
    return [each for each in chosen if (_type_of(*each) or "").upper() == quant.upper()]


def _is_projector(weights: WeightSet) -> bool:
    """Whether it turns images into what the model reads, as llama.cpp tells by the name."""
    return "mmproj" in weights.name.lower()


def _type_of(place: Place, weights: WeightSet) -> str | None:
    """The type in the file's name, else in its folder's (`Q2_K/model-00001-of-00002.gguf`)."""
    if weights.format != "gguf":
        return None
    from modelscope_cli.formats.gguf_file_type import file_type_in_name

    return file_type_in_name(weights.name) or file_type_in_name(f"{place.folder}.gguf")


def several_ggufs(source: Source) -> Chosen:
    """The GGUF sets of a folder and those below, where they are all there is: alternatives.

    Listing each means nothing, and takes megabytes of vocabulary where they are far away.
    """
    names = source.files()
    if any(name in names for name in ("model_index.json", "modules.json")):
        return []
    own = Place("", None, names)
    sets = own.sets()
    if any(each.rank is not None or each.format != "gguf" for each in sets):
        return []
    chosen = _ggufs([own, *below(source, [own])])
    return chosen if len(chosen) > 1 else []


def first_files(chosen: Chosen, most: int) -> tuple[Chosen, tuple[Note, ...]]:
    """The first sets, of `most` files together but at least one, and a note on the others."""
    files = accumulate(len(weights.files) for _, weights in chosen)
    count = max(1, sum(number <= most for number in files))
    paths = [place.path(weights.name) for place, weights in chosen[count:]]
    if not paths:
        return chosen, ()
    text = f"also here, not opened: {_some(paths)}; --weights GLOB chooses"
    return chosen[:count], (Note(text),)


def choice(place: Place, weights: WeightSet) -> Choice:
    """A set as one of several."""
    sizes = [place.files.get(name, 0) for name in weights.files]
    kind = _type_of(place, weights)
    return Choice(place.path(weights.files[0]), kind, sum(sizes), len(sizes))


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
