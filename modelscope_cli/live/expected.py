"""Which tensors a model's class expects in its file, asked of the class itself on meta."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from modelscope_cli.facts import Unknown
from modelscope_cli.live import library, skeleton


def missing(
    config: Mapping[str, Any], architecture: str | None, there: Collection[str]
) -> list[str] | Unknown:
    """Parameters and persistent buffers that a file with `there` leaves at random values.

    `there` are names in the class's own module tree. Of tied ones the source is enough. Raises
    MissingExtra where transformers is not installed.
    """
    libraries = library.load("tensors that are missing are told by building the class")
    made = skeleton.build(libraries, config, architecture)
    if isinstance(made, Unknown):
        return made
    tied = dict(made.model.all_tied_weights_keys)
    ignored = [re.compile(each) for each in made.model._keys_to_ignore_on_load_missing or ()]
    return [
        name
        for name in made.model.state_dict()
        if name not in there
        and tied.get(name) not in there
        and not any(tied.get(other) == name for other in there)
        and not any(pattern.search(name) for pattern in ignored)
    ]
