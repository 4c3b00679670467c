"""Which files of a folder are one model's weights: sets of shards, found by name alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from modelscope_cli.errors import MissingShard
from modelscope_cli.facts import Note
from modelscope_cli.formats.base import ENDINGS, by_ending

# What save_pretrained and its relatives write, in the order the libraries look for them.
_KNOWN_STEMS = (
    "model",
    "diffusion_pytorch_model",
    "adapter_model",
    "pytorch_model",
    "consolidated",
)
_FORMAT_ORDER = ("safetensors", "gguf", "torch")
# Trainer state, never weights although it ends like them.
_TRAINER_STATE = (
    "training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states",
    "trainer_state",
)  # fmt: skip


# Patterns are made when a name could fit: 0.5 ms each, and most models have one weight file.
@cache
def _shard_pattern() -> re.Pattern[str]:
    return re.compile(r"(?P<stem>.+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})(?P<ending>\.\w+)")


@cache
def _index_pattern() -> re.Pattern[str]:
    return re.compile(r"(?P<stem>.+)(?P<ending>\.\w+)\.index(?P<variant>\.[\w-]+)?\.json")


def _as_shard(name: str) -> re.Match[str] | None:
    return _shard_pattern().fullmatch(name) if "-of-" in name else None


def _as_index(name: str) -> re.Match[str] | None:
    could = name.endswith(".json") and ".index" in name
    return _index_pattern().fullmatch(name) if could else None


def _is_trainer_state(name: str) -> bool:
    word = next((word for word in _TRAINER_STATE if name.startswith(word)), None)
    return word is not None and name[len(word) : len(word) + 1] in (".", "_", "-")


class WeightSet(NamedTuple):
    """Files that make one model together; `index_file` maps its tensors to them, if it is there.

    `chosen`: the files were named one by one, so that some of its shards may be left out.
    """

    name: str
    format: str
    files: tuple[str, ...]
    index_file: str | None = None
    chosen: bool = False

    @property
    def rank(self) -> tuple[int, int, int] | None:
        """Where it stands in the order of loading; None for a name no library looks for."""
        stem, _, variant = self.name.rpartition(".")[0].partition(".")
        if stem not in _KNOWN_STEMS:
            return None
        order = _FORMAT_ORDER.index(self.format)
        return order, int(bool(variant)), _KNOWN_STEMS.index(stem)


def find(names: Iterable[str]) -> list[WeightSet]:
    """The sets among file names of one folder, shards gathered under `stem.ending`."""
    shards: dict[str, list[str]] = {}
    indexes: dict[str, str] = {}
    for name in sorted(names):
        if match := _as_index(name):
            variant = match["variant"] or ""
            indexes[f"{match['stem']}{variant}{match['ending']}"] = name
        elif _ending(name) is not None and not _is_trainer_state(name):
            match = _as_shard(name)
            key = f"{match['stem']}{match['ending']}" if match else name
            shards.setdefault(key, []).append(name)
    for key in indexes:
        shards.setdefault(key, [])
    return [
        WeightSet(key, _format(key), tuple(files), indexes.get(key))
        for key, files in sorted(shards.items())
        if _ending(key) is not None
    ]


def choose(
    sets: list[WeightSet], pattern: str | None, folder: str = ""
) -> tuple[list[WeightSet], list[WeightSet]]:
    """The sets to read, and those left aside.

    Without a pattern: the set that the libraries would load first; where no name is known,
    all of them (a bare pile of weight files). A pattern with a `/` is held against the paths
    of a `folder` of the model, one without against names.
    """
    if pattern is not None:
        before = f"{folder}/" if folder and "/" in pattern else ""
        expression = re.compile(fnmatch.translate(pattern))

        def fits(name: str) -> bool:
            return expression.match(before + name) is not None

        chosen = [n for each in sets if (n := _matching(each, fits))]
        return chosen, []
    known = [each for each in sets if each.rank is not None]
    if not known:
        return sets, []
    best = min(known, key=lambda each: each.rank or ())
    return [best], [each for each in sets if each is not best]


def check_shards(weights: WeightSet, folder: str = "") -> tuple[Note, ...]:
    """A note on shards left out by choice.

    Raises MissingShard where `-00001-of-00003` promises more files than are there.
    """
    there = len(weights.files)
    for name in weights.files:
        match = _as_shard(name)
        if match is None or int(match["count"]) <= there:
            continue
        if weights.chosen:
            count = int(match["count"])
            which = f"{there} of {count} shards are" if there > 1 else f"one of {count} shards is"
            return (Note(f"only {which} listed: {', '.join(weights.files[:8])}"),)
        present, digits = set(weights.files), len(match["number"])
        shards = (
            f"{match['stem']}-{number:0{digits}d}-of-{match['count']}{match['ending']}"
            for number in range(1, len(present) + 2)
        )
        missing = next(shard for shard in shards if shard not in present)
        pattern = f"{match['stem']}-*-of-{match['count']}{match['ending']}"
        raise MissingShard(
            f"{folder}/{pattern}" if folder else pattern,
            f"{len(present)} of {int(match['count'])} shards are there, such as "
            f"{weights.files[0]}, and the first that is not: {missing}",
        )
    return ()


def of_file(name: str) -> WeightSet:
    """One file alone, whatever it is called."""
    known = by_ending(name)
    return WeightSet(name, known.name if known else "torch", (name,), chosen=True)


def of_index(name: str) -> WeightSet | None:
    """The set that a shard index describes; None for a name that is none's."""
    match = _as_index(name)
    if match is None or _ending(match["ending"]) is None:
        return None
    whole = f"{match['stem']}{match['variant'] or ''}{match['ending']}"
    return WeightSet(whole, _format(whole), (), name)


def shard_of(name: str) -> tuple[str, int, int] | None:
    """(set name, number, count) where a file name is that of a shard."""
    match = _as_shard(name)
    if match is None or _ending(name) is None:
        return None
    return f"{match['stem']}{match['ending']}", int(match["number"]), int(match["count"])


def _matching(weights: WeightSet, fits: Callable[[str], bool]) -> WeightSet | None:
    if fits(weights.name) or (weights.index_file is not None and fits(weights.index_file)):
        return weights
    files = tuple(filter(fits, weights.files))
    if files and len(files) == len(weights.files):
        return weights
    return weights._replace(files=files, index_file=None, chosen=True) if files else None


def _stem_and_ending(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    return stem, dot + ending


def _ending(name: str) -> str | None:
    ending = _stem_and_ending(name)[1].lower()
    return ending if ending in ENDINGS else None


def _format(name: str) -> str:
    return ENDINGS[_stem_and_ending(name)[1].lower()].name
