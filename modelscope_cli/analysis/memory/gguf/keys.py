"""What a GGUF's metadata says of its architecture, each key by its whole name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli.analysis.memory.kv.settings import NotKnown, checked

MOST_LAYERS = 512  # llama.cpp's LLAMA_MAX_LAYERS


class Keys:
    """The metadata under `{architecture}.`; absent keys have the defaults that llama.cpp gives."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        named = metadata.get("general.architecture")
        self.architecture = named if isinstance(named, str) else ""

    def raw(self, key: str) -> Any:
        """The value as it stands; None where it is missing."""
        return self._metadata.get(f"{self.architecture}.{key}")

    def number(self, key: str, default: int | None = None) -> int:
        """A count, 0 included. Raises NotKnown where it is none, or missing without a default."""
        value = self.raw(key)
        if value is None:
            if default is None:
                raise NotKnown(f"the metadata has no {self.architecture or '*'}.{key}")
            return default
        return checked(f"{self.architecture}.{key}", value, least=0)

    @property
    def layers(self) -> int:
        """All blocks, those that only predict further tokens included."""
        count = self.number("block_count")
        if not 0 < count <= MOST_LAYERS:
            raise NotKnown(
                f"{self.architecture}.block_count is {count:,}: llama.cpp takes 1 to {MOST_LAYERS}"
            )
        return count

    @property
    def trunk(self) -> int:
        """The blocks that a cache is made for: not those that predict further tokens."""
        extra = self.number("nextn_predict_layers", 0)
        return self.layers - extra if extra < self.layers else self.layers

    def per_layer(self, key: str, default: Sequence[int]) -> Sequence[int]:
        """A count for every block, one for all or a list. Raises NotKnown for a list too short."""
        value = self.raw(key)
        if value is None:
            return default
        name = f"{self.architecture}.{key}"
        if not isinstance(value, list):
            return [checked(name, value, least=0)] * self.layers
        if len(value) != self.layers:
            raise NotKnown(f"{name} has {len(value):,} entries for {self.layers:,} blocks")
        # Some converters write an array of booleans as numbers, and the other way round.
        return [checked(name, int(each) if each in (0, 1) else each, least=0) for each in value]
