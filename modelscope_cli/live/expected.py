"""A checkpoint's names and shapes, given to transformers' own loader on the meta device.

What it would rename, merge, leave at random values or refuse is its answer, not our guess.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.live import library, limits, skeleton
from modelscope_cli.live.library import Libraries, first_line, nothing_remote, quiet
from modelscope_cli.live.skeleton import Skeleton


class Mismatched(NamedTuple):
    """A parameter that the file has in another shape than the class."""

    name: str
    found: Shape
    wanted: Shape


class Loaded(NamedTuple):
    """What loading comes to, by names of the class's module tree, each sorted.

    `missing` start at random values, `unexpected` are loaded by nobody, `mismatched` are refused,
    `failed` could not be put together of what the file has for them, with the library's word.
    """

    class_name: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatched, ...]
    failed: tuple[tuple[str, str], ...]


def import_libraries() -> Libraries:
    """What is asked here. Raises MissingExtra."""
    return library.load("the class itself tells which tensors it needs, and in which shapes")


def loaded(
    config: Mapping[str, Any], architecture: str | None, shapes: Mapping[str, Shape]
) -> Loaded | Unknown:
    """What `from_pretrained` would say of a file that has tensors of these names and shapes.

    Packed tensors are given as what they stand for. Raises MissingExtra where transformers is
    not installed.
    """
    return _loaded(json.dumps(config, sort_keys=True), architecture, tuple(shapes.items()))


@lru_cache(maxsize=8)  # checkpoints of one training, audited together, differ in values alone
def _loaded(
    config: str, architecture: str | None, shapes: tuple[tuple[str, Shape], ...]
) -> Loaded | Unknown:
    libraries = import_libraries()
    made = skeleton.build(libraries, json.loads(config), architecture)
    if isinstance(made, Unknown):
        return made
    try:
        with nothing_remote(), quiet(), _one_thread(), limits.time_limit():
            return _asked(libraries, made, shapes)
    except Exception as error:  # the loader's insides, which another version may have otherwise
        return Unknown(f"{libraries.name} cannot load {made.class_name}: {first_line(error)}")


def _asked(libraries: Libraries, made: Skeleton, shapes: tuple[tuple[str, Shape], ...]) -> Loaded:
    """The steps of `from_pretrained` that look at names and shapes, and none that fills values."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.modeling_utils import LoadStateDictConfig

    model, torch = made.model, libraries.torch
    how = LoadStateDictConfig(
        ignore_mismatched_sizes=True,  # told, not raised
        device_map={"": torch.device("meta")},
        dtype=made.dtype,
        dtype_plan={},
        weight_mapping=get_model_conversion_mapping(model, None, None),
    )
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes}
    info, _ = model._load_pretrained_model(model, state, None, how)
    model.tie_weights(missing_keys=info.missing_keys, recompute_mapping=False)
    model._adjust_missing_and_unexpected_keys(info)
    mismatched = (
        Mismatched(name, tuple(found), tuple(wanted))
        for name, found, wanted in info.mismatched_keys
    )
    return Loaded(
        made.class_name,
        tuple(sorted(info.missing_keys - info.conversion_errors.keys())),
        tuple(sorted(info.unexpected_keys)),
        tuple(sorted(mismatched)),
        tuple(sorted((name, _said(text)) for name, text in info.conversion_errors.items())),
    )


def _said(text: Any) -> str:
    """The error at the end of a traceback."""
    lines = [line.strip() for line in str(text).splitlines()]
    return next((line for line in reversed(lines) if "Error" in line), "it says no more")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Nothing is read: threads would only be in the way of processes that fork later."""
    before = os.environ.get(_NO_THREADS)
    os.environ[_NO_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_THREADS]
        else:
            os.environ[_NO_THREADS] = before


_NO_THREADS = "HF_DEACTIVATE_ASYNC_LOAD"  # transformers' own switch
