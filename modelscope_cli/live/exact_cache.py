"""What a cache object holds after a forward: its tensors' bytes, and those of their storages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class ExactLayers(NamedTuple):
    """Layers of a kind: how many, bytes of their tensors, bytes of the storages behind.

    `kind`: full, sliding, latent, cross, conv, linear (any recurrent state) or other.
    """

    kind: str
    layers: int
    bytes: int
    peak_bytes: int


class ExactCache(NamedTuple):
    """A cache by kinds of layers. A window layer's storage still holds every token of a prefill."""

    layers: tuple[ExactLayers, ...]
    bytes: int
    peak_bytes: int


_NAMES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")


def cache_of(output: Any) -> tuple[str, Any] | None:
    """The cache of a forward's output, and the name it goes back in under; None without one."""
    for name in _NAMES:
        cache = getattr(output, name, None)
        if cache is not None and any(True for _ in _tensors(cache, "")):
            return name, cache
    return None


def measured(cache: Any, config: Any) -> ExactCache:
    """Each storage counted once, whatever looks at it."""
    seen: set[int] = set()
    rows: dict[str, list[Any]] = {}
    for place, name, tensor in _by_layer(cache):
        storage = tensor.untyped_storage()
        if storage._cdata in seen or not storage.nbytes():
            continue
        seen.add(storage._cdata)
        row = rows.setdefault(_kind(place, name, tensor, config), [set(), 0, 0])
        row[0].add(place)
        row[1] += tensor.numel() * tensor.element_size()
        row[2] += storage.nbytes()
    layers = tuple(
        ExactLayers(kind, len(places), size, peak) for kind, (places, size, peak) in rows.items()
    )
    return ExactCache(
        layers, sum(layer.bytes for layer in layers), sum(layer.peak_bytes for layer in layers)
    )


def _by_layer(cache: Any) -> Iterator[tuple[tuple[str, str, int], str, Any]]:
    """(cache, layer's class, layer's number), name of the tensor, tensor."""
    halves = {
        "self": getattr(cache, "self_attention_cache", None),
        "cross": getattr(cache, "cross_attention_cache", None),
    }
    if halves["self"] is None:
        halves = {"self": cache}
    for half, each in halves.items():
        layers = getattr(each, "layers", None)
        if not isinstance(layers, list):
            for name, tensor in _tensors(each, ""):
                yield (half, "", _first_number(name)), name, tensor
            continue
        for number, layer in enumerate(layers):
            for name, tensor in _tensors(layer, ""):
                yield (half, type(layer).__name__, number), name, tensor


def _first_number(name: str) -> int:
    return next((int(part) for part in name.split(".") if part.isdigit()), 0)


_NO_STATE = ("config", "device", "dtype", "_sliding_window_tensor")  # of a cache's attributes
_DEEPEST = 6


def _tensors(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if hasattr(value, "untyped_storage"):
        yield path, value
        return
    if depth > _DEEPEST or isinstance(value, (str, bytes)):
        return
    for key, item in _items(value):
        if key not in _NO_STATE:
            yield from _tensors(item, f"{path}.{key}" if path else str(key), depth + 1)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif hasattr(value, "__dict__") and not callable(value):
        yield from vars(value).items()


_KEYS_VALUES = ("keys", "values")


def _kind(place: tuple[str, str, int], name: str, tensor: Any, config: Any) -> str:
    half, layer, _ = place
    attribute = name.partition(".")[0]
    if half == "cross":
        return "cross"
    if "conv" in attribute:
        return "conv"
    if attribute in _KEYS_VALUES:
        latent = getattr(config, "kv_lora_rank", None)
        if latent and "Sliding" not in layer and tensor.shape[-1] in _latent_widths(config):
            return "latent"
        return "sliding" if "Sliding" in layer else "full"
    return "linear" if "LinearAttention" in layer or "recurrent" in attribute else "other"


def _latent_widths(config: Any) -> tuple[int, ...]:
    """Of the compressed keys and values, and of the part of the keys that turns."""
    return (config.kv_lora_rank, getattr(config, "qk_rope_head_dim", None) or config.kv_lora_rank)
