"""The model of which every row of a footprint is made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from modelscope_cli.analysis import adapters
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.analysis.memory.weights.projections import Contradiction
from modelscope_cli.facts import Unknown


class Model(NamedTuple):
    """What every row is made of: the components, and whether they are packed already.

    `packed_by` is the scheme of packed weights in the checkpoint, or the method that it declares
    where they cannot be seen through; `packed` are their names for people. `declared` is what the
    model's files say of its quantization. `dtype_told`: whether they tell a dtype at all.
    """

    components: tuple[Prepared, ...]
    config: Mapping[str, Any]
    architecture: str | None
    packed_by: str | None = None
    untold: Unknown | None = None  # why the tensors are not known
    packed: tuple[str, ...] = ()
    declared: Mapping[str, Any] = MappingProxyType({})
    dtype_told: bool = True

    @property
    def dtype(self) -> str:
        """What "auto" loads floats as."""
        return self.components[0].dtype

    @property
    def warnings(self) -> tuple[Contradiction, ...]:
        """What is wrong with the checkpoint."""
        found = (each for component in self.components for each in component.warnings)
        return tuple(dict.fromkeys(found))

    def spoiled(self, part: str) -> Unknown | None:
        """Why a part cannot be told: an adapter's alone, or the tensors contradict its numbers."""
        found = (each.text for each in self.warnings if part in each.spoils)
        return adapters.told(self.config) or next(map(Unknown, found), None)
