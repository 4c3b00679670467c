"""Values of a configuration that are of no type that its class takes: text for a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_cli.analysis.memory.kv.settings import quoted

_WANTED = {bool: "true or false", int: "a whole number"}


def refused(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each key that is text where the class has a number or a switch.

    transformers 5 checks the types of all fields as it reads a configuration.
    """
    for key, value in config.items():
        wanted = _WANTED.get(type(defaults.get(key)))
        if isinstance(value, str) and wanted is not None:
            yield f"{key} is {quoted(value)}, not {wanted}: transformers would refuse it"
