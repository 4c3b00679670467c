"""Numbers out of a configuration nobody has checked: a positive integer, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LARGEST = 1 << 40  # of a width or a count; a product of a few stays a small integer
_LONGEST = 60  # characters of a value quoted in a reason


class NotKnown(Exception):
    """A key is missing or makes no sense; the message is the reason of an Unknown."""


class Settings:
    """One (sub-)configuration. Keys are tried in the order given; null counts as missing."""

    def __init__(self, *levels: Mapping[str, Any]) -> None:
        self._levels = levels  # the first that has a key counts

    def has(self, *keys: str) -> bool:
        """Whether one of the keys holds something other than null."""
        return any(self.raw(key) is not None for key in keys)

    def raw(self, key: str) -> Any:
        """The value as it stands; None where it is missing."""
        return next((level[key] for level in self._levels if key in level), None)

    def number(self, *keys: str, least: int = 1) -> int:
        """The first of the keys that is there. Raises NotKnown for none, or for no count."""
        for key in keys:
            value = self.raw(key)
            if value is not None:
                return checked(key, value, least)
        usual = next((key for key in keys if "decoder" not in key), keys[0])
        raise NotKnown(f"the configuration has no {usual}")

    def used(self, *keys: str) -> str:
        """The first of the keys that is there, else the first."""
        return next((key for key in keys if self.has(key)), keys[0])

    def number_or(self, default: int, *keys: str, least: int = 1) -> int:
        """The same, with a default where none is there."""
        return self.number(*keys, least=least) if self.has(*keys) else default

    def flag(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.raw(key) is True

    def within(self, key: str) -> Settings:
        """A nested object. Raises NotKnown where there is none."""
        value = self.raw(key)
        if not isinstance(value, Mapping):
            raise NotKnown(f"the configuration has no {key}")
        return Settings(value)

    def overridden(self, overrides: Mapping[str, Any]) -> Settings:
        """The same with some keys replaced; nothing is copied."""
        return Settings(overrides, *self._levels)

    def list_of(self, key: str) -> Sequence[Any] | None:
        """A list; None where there is none."""
        value = self.raw(key)
        return value if isinstance(value, list | tuple) else None


def checked(key: str, value: Any, least: int = 1) -> int:
    """The value as a count. Raises NotKnown naming the key."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value <= _LARGEST:
        raise NotKnown(f"{key} is {quoted(value)}")
    return int(value)


def quoted(value: Any) -> str:
    """A value as one would write it, cut where it is long."""
    if isinstance(value, int) and not -_LARGEST * _LARGEST <= value <= _LARGEST * _LARGEST:
        return "a number out of all proportion"
    text = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def divided(settings: Settings, whole: tuple[str, ...], parts: tuple[str, ...]) -> int:
    """`hidden_size // num_attention_heads`. Raises NotKnown where it leaves a rest."""
    total, count = settings.number(*whole), settings.number(*parts)
    if total % count:
        raise NotKnown(
            f"{settings.used(*whole)} {total} is not divisible by {settings.used(*parts)} {count}"
        )
    return total // count
