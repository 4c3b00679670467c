"""What a model is given in one forward: tokens, pictures or sound, by the kind of its class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Given(NamedTuple):
    """Keyword arguments of a forward, and what they are in words."""

    what: str
    arguments: dict[str, Any]


class Size(NamedTuple):
    """How much of it: sequences, tokens of the text, tokens of an encoder's input."""

    batch: int
    context: int
    encoder_context: int


def candidates(torch: Any, model: Any, dtype: Any, size: Size) -> Iterator[Given]:
    """In the order to be tried; a model of pictures and text that generates is given text."""
    config = model.config
    made = _Made(torch, dtype, size)
    if getattr(config, "is_encoder_decoder", False):
        yield from _encoder_decoder(made, model)
        return
    main = getattr(model, "main_input_name", "input_ids")
    if main == "input_ids":
        text = {"input_ids": made.tokens(size.context)}
        if not model.can_generate() and hasattr(config, "vision_config"):  # CLIP takes both
            yield Given("text and one picture", {**text, **made.picture(config)})
        yield Given("text", text)
    yield Given("one picture", made.picture(config))
    yield from (Given("sound", sound) for sound in made.sounds(config))


def _encoder_decoder(made: _Made, model: Any) -> Iterator[Given]:
    config = model.config
    decoder = {"decoder_input_ids": made.tokens(made.size.context)}
    if getattr(model, "main_input_name", "input_ids") == "input_ids":
        text = {"input_ids": made.tokens(made.size.encoder_context)}
        yield Given("text in and out", {**text, **decoder})
    for sound in made.sounds(config):
        yield Given("sound in, text out", {**sound, **decoder})
    yield Given("a picture in, text out", {**made.picture(config), **decoder})


class _Made(NamedTuple):
    """Makes tensors on meta: no value is ever looked at."""

    torch: Any
    dtype: Any
    size: Size

    def tokens(self, count: int) -> Any:
        return self.torch.zeros(self.size.batch, count, dtype=self.torch.long, device="meta")

    def picture(self, config: Any) -> dict[str, Any]:
        vision = getattr(config, "vision_config", None) or config
        channels = _number(vision, "num_channels") or 3
        side = getattr(vision, "image_size", None) or _SIDE
        height, width = side if isinstance(side, (list, tuple)) else (side, side)
        return {"pixel_values": self.floats(channels, height, width)}

    def sounds(self, config: Any) -> Iterator[dict[str, Any]]:
        bins = _number(config, "num_mel_bins") or _number(config, "feature_size") or 80
        frames = 2 * (_number(config, "max_source_positions") or self.size.encoder_context)
        yield {"input_features": self.floats(bins, frames)}
        yield {"input_features": self.floats(frames, bins)}
        yield {"input_values": self.floats(_SAMPLES)}

    def floats(self, *shape: int) -> Any:
        return self.torch.zeros(self.size.batch, *shape, dtype=self.dtype, device="meta")


_SIDE = 224  # pixels, where the configuration does not say
_SAMPLES = 16_000 * 10  # ten seconds


def _number(config: Any, key: str) -> int | None:
    value = getattr(config, key, None)
    return value if isinstance(value, int) and value > 0 else None
