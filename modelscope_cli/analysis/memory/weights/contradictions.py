"""Where a configuration and the tensors beside it cannot both be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_cli.analysis.memory.weights.held import Held, number_after

_DEEPEST = 4  # configurations within configurations
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")


def found(
    held: Sequence[Held], counts: Mapping[str, int], config: Mapping[str, Any]
) -> Iterator[str]:
    """One sentence each. `counts` is how many entries the class builds under a module."""
    yield from _layers(held, counts)
    yield from _embeddings(held, config)


def _layers(held: Sequence[Held], counts: Mapping[str, int]) -> Iterator[str]:
    """Fewer layers in the file than the configuration has: transformers makes the others anew."""
    for path, count in counts.items():
        if "*" in path:
            continue  # a list within a list need not be as long everywhere
        there = _numbers_under(held, path)
        # Activations and the like are entries without parameters, mostly in between.
        if there == set(range(len(there))) and 0 < len(there) < count and are_layers(held, path):
            yield (
                f"the configuration has {count:,} of {path}, the file {len(there):,}: "
                "those that it lacks are left out"
            )


def are_layers(held: Sequence[Held], path: str) -> bool:
    """Whether the entries of a module list are layers: more in each than a convolution or a norm.

    In other lists some entries have no parameters, or are None.
    """
    inside = [each for each in held if each.template.startswith(f"{path}.*.")]
    return len(inside) >= _LEAST and any(each.kind in _LINEAR for each in inside)


_LEAST = 4  # parameters of a layer
_LINEAR = ("linear", "conv1d", "sublinear")


def _numbers_under(held: Sequence[Held], path: str) -> set[int]:
    """The numbers that follow a module's path in the parameters' names."""
    found: set[int] = set()
    for each in held:
        if (number := number_after(each.name, path)) >= 0:
            place = sum(part.isdecimal() for part in each.name.split(".")[: path.count(".") + 1])
            varies = place in each.places
            found.update(each.axes[each.places.index(place)] if varies else (number,))
    return found


def _embeddings(held: Sequence[Held], config: Mapping[str, Any]) -> Iterator[str]:
    """An embedding is as long and as wide as some number of the configuration."""
    known = set(_integers(config))
    width = next((key for level in _levels(config) for key in _WIDTHS if key in level), None)
    for each in held:
        if each.kind != "embedding" or not each.is_matrix or not each.is_as_in_file:
            continue
        shape = each.stored[0].shape
        wrong = [size for size in shape if not _is_told(size, known, config)]
        if wrong and width is not None and _is_input(each):
            yield (
                f"{each.name} is {list(shape)}, and nothing in the configuration is {wrong[-1]:,} "
                f"({width} is {_first(config, width)}): transformers would refuse it"
            )
            return


def _is_told(size: int, known: set[int], config: Mapping[str, Any]) -> bool:
    """Whether it is a number of the configuration, or a few words more.

    Mllama has eight rows for images beside its words; codebooks of sound bring words of their own.
    """
    if size in known or any("codebook" in key for level in _levels(config) for key in level):
        return True
    return any(level.get("vocab_size") == size - _FOR_IMAGES for level in _levels(config))


_FOR_IMAGES = 8


def _is_input(held: Held) -> bool:
    return held.module.rpartition(".")[2] in _INPUTS


_INPUTS = ("embed_tokens", "wte", "word_embeddings", "shared", "embed_in", "tok_embeddings")


def _levels(config: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    yield config
    for value in config.values() if depth < _DEEPEST else ():
        if isinstance(value, Mapping):
            yield from _levels(value, depth + 1)


def _integers(config: Mapping[str, Any]) -> Iterator[int]:
    for level in _levels(config):
        for value in level.values():
            if isinstance(value, int) and not isinstance(value, bool):
                yield value


def _first(config: Mapping[str, Any], key: str) -> Any:
    return next(level[key] for level in _levels(config) if key in level)
