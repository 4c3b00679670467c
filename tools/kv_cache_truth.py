"""What a forward of a transformers class leaves in its cache, in bytes, storages counted once."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import transformers
from transformers import CONFIG_MAPPING, DynamicCache, EncoderDecoderCache

from tools.tiny_configs import tiny

BATCH = 2
TOKENS = 37  # more than the tiny windows of 16
ENCODER_TOKENS = 23
_SKIPPED = ("config", "device", "dtype")
_CACHES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")
_SECONDS = 90


class Left(NamedTuple):
    """Bytes of a cache after one prefill. `config` is the config.json that goes with it.

    `when` is the key that had to be true for the class to keep anything; `dtype_bytes` are the
    model's; `encoder_tokens` what its cross attention holds.
    """

    bytes: int
    storage_bytes: int
    dtype_bytes: int
    batch: int
    tokens: int
    encoder_tokens: int | None
    when: str | None
    config: dict[str, Any]


class NoCache(Exception):
    """The class runs and keeps nothing."""


class TookTooLong(Exception):
    """The forward did not end in time."""


class _Kept(NamedTuple):
    cache: Any
    tokens: int


def left(model_type: str, class_name: str, **changes: Any) -> Left:
    """A real forward of a tiny model on the CPU, some settings changed.

    Raises whatever the library raises, or NoCache.
    """
    with _quietly():
        try:
            return _any_dtype(class_name, lambda: tiny(model_type, None, changes))
        except Exception as error:
            half = re.search(r"sum exactly to (\d+)|half of[^0-9]*(\d+)", str(error))
            if half is None and "mrope" not in str(error):
                raise
            sections = int(half[1] or half[2]) if half else 8
            return _any_dtype(class_name, lambda: tiny(model_type, sections, changes))


def left_on_meta(model_type: str, class_name: str) -> Left:
    """The same of the model as its default configuration makes it, without memory."""
    with _quietly(), torch.device("meta"), _meta_is_true():
        return _any_dtype(class_name, CONFIG_MAPPING[model_type])


def _any_dtype(class_name: str, make: Callable[[], Any]) -> Left:
    """In 16 bits, else 32; as it is, else as a decoder."""
    found: Exception = NoCache()
    for dtype in (torch.bfloat16, torch.float32):
        for when in (None, "is_decoder"):
            try:
                return _left(getattr(transformers, class_name), make(), dtype, when)
            except NoCache as none:
                found = none
            except Exception as failed:
                found = failed
                break
        if isinstance(found, NoCache):
            break
    raise found


def _left(model_class: Any, config: Any, dtype: torch.dtype, when: str | None) -> Left:
    torch.manual_seed(0)
    config = _config_of(model_class, config)
    if when is not None:
        _make_decoder(config)
    model = _built(model_class, config, dtype)
    written = json.loads(config.to_json_string(use_diff=True))
    kept = _prefilled(model, config, dtype)
    logical, storage = _bytes(kept.cache)
    if not logical:
        raise NoCache
    size = torch.empty(0, dtype=dtype).element_size()
    batch, crossed = _batch(kept.cache), _crossed(kept.cache)
    return Left(logical, storage, size, batch, kept.tokens, crossed, when, written)


def _make_decoder(config: Any) -> None:
    decoder = getattr(config, "decoder", None)
    if decoder is None and not hasattr(config, "is_decoder"):
        raise NoCache
    config.is_decoder = True
    if decoder is not None:
        decoder.is_decoder = decoder.add_cross_attention = True


def _config_of(model_class: Any, config: Any) -> Any:
    """The sub-configuration that the class takes, where it takes one."""
    wanted = getattr(model_class, "config_class", None)
    if wanted is None or isinstance(config, wanted):
        return config
    for key in getattr(config, "sub_configs", {}):
        if isinstance(getattr(config, key, None), wanted):
            return getattr(config, key)
    return config


def _built(model_class: Any, config: Any, dtype: torch.dtype) -> Any:
    for level in (config, *(getattr(config, key, None) for key in config.sub_configs or {})):
        if level is not None and not isinstance(level, dict):
            level.dtype = dtype
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = model_class(config).eval()
    finally:
        torch.set_default_dtype(default)
    if hasattr(model, "set_default_language"):
        model.set_default_language("en_XX")
    if model.device.type == "meta":  # the default asks the data which expert takes which token
        with contextlib.suppress(Exception):
            model.set_experts_implementation("grouped_mm")
    return model


def _prefilled(model: Any, config: Any, dtype: torch.dtype) -> _Kept:
    """The first input that the class takes: its cache, and the tokens given."""
    error: Exception | None = None
    encoding = config.is_encoder_decoder and not type(model).__name__.endswith("ForCausalLM")
    for inputs in _encoder_decoder_inputs(config) if encoding else _decoder_inputs(config):
        given = {
            key: value.to(dtype) if value.is_floating_point() else value
            for key, value in inputs.items()
        }
        try:
            with torch.no_grad():
                cache = _cache_of(_output(model, given)) or _within_modules(model, given)
            return _Kept(cache, TOKENS)
        except NoCache:
            raise
        except Exception as failed:
            error = error or failed
    assert error is not None
    raise error


def _output(model: Any, given: Mapping[str, Any]) -> Any:
    try:
        return model(**given, use_cache=True)
    except ValueError as error:  # SwitchTransformers hands it to its encoder, which refuses
        if "use_cache" not in str(error):
            raise
        return model(**given)


def _cache_of(output: Any) -> Any:
    for name in _CACHES:
        cache = getattr(output, name, None)
        if cache is not None and not (isinstance(cache, list | tuple) and not cache):
            return cache
    return None


def _within_modules(model: Any, given: Mapping[str, Any]) -> Any:
    """RecurrentGemma keeps its states in its modules, and does not return the cache it fills."""
    states = [
        value
        for module in model.modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor) and not key.startswith("_")
    ]
    if not states:
        raise NoCache
    cache = DynamicCache(config=model.config)
    try:
        model(**given, use_cache=True, past_key_values=cache)
    except Exception as error:
        raise NoCache from error
    if not _bytes(cache)[0]:
        raise NoCache
    return {"cache": cache, "states": states}


def _batch(cache: Any) -> int:
    """Sequences that the cache holds: a model of several codebooks may take more rows."""
    if isinstance(cache, Mapping):
        return _batch(cache["cache"])
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    layers = getattr(cache, "layers", ())
    keys = next((each.keys for each in layers if getattr(each, "keys", None) is not None), None)
    return BATCH if keys is None or keys.ndim < 3 else int(keys.shape[0])


def _crossed(cache: Any) -> int | None:
    if not isinstance(cache, EncoderDecoderCache):
        return None
    layer = cache.cross_attention_cache.layers
    keys = layer[0].keys if layer else None
    return ENCODER_TOKENS if keys is None else int(keys.shape[-2])


def _decoder_inputs(config: Any) -> Iterator[dict[str, torch.Tensor]]:
    """What a class could take, most likely first."""
    ids = torch.randint(4, 100, (BATCH, TOKENS))
    codebooks = getattr(config.get_text_config(decoder=True), "num_codebooks", None)
    if codebooks:
        yield {"input_ids": ids.repeat(codebooks, 1)}
        yield {"input_ids": ids[:, :, None].repeat(1, 1, codebooks)}
    yield {"input_ids": ids}
    yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    yield {"input_ids": ids, "pixel_values": torch.randn(BATCH, 3, 32, 32)}


def _encoder_decoder_inputs(config: Any) -> Iterator[dict[str, torch.Tensor]]:
    ids = torch.randint(4, 100, (BATCH, TOKENS))
    codebooks = getattr(config.get_text_config(decoder=True), "num_codebooks", None)
    for decoder_ids in (ids.repeat(codebooks, 1), ids) if codebooks else (ids,):
        for encoder in _encoder_inputs(config):
            yield {**encoder, "decoder_input_ids": decoder_ids}


def _encoder_inputs(config: Any) -> Iterator[dict[str, torch.Tensor]]:
    ids = torch.randint(4, 100, (BATCH, ENCODER_TOKENS))
    image = torch.randn(BATCH, 3, 32, 32)
    yield {"input_ids": ids}
    mel = getattr(config, "num_mel_bins", None) or getattr(config, "feat_extract_dim", None)
    if mel:
        frames = 2 * getattr(config, "max_source_positions", 40)
        yield {"input_features": torch.randn(BATCH, mel, frames)}
        yield {"input_features": torch.randn(BATCH, 80, mel)}
        yield {"input_values": torch.randn(BATCH, 80, mel)}
    for bins in (160, 80, 128, 16):
        yield {"input_features": torch.randn(BATCH, 64, bins)}
    yield {"flattened_patches": torch.randn(BATCH, 20, 3 * 64 + 2)}
    yield {"input_ids": ids, "bbox": torch.zeros(*ids.shape, 4, dtype=torch.long)}
    yield {"input_values": torch.randn(BATCH, 8000)}
    yield {"input_features": torch.randn(BATCH, 8000)}
    yield {"pixel_values": image}
    yield {"input_ids": ids, "pixel_values": image}


def _bytes(cache: Any) -> tuple[int, int]:
    """What the tensors say and what their storages hold, each storage once, counters left out."""
    seen: set[int] = set()
    logical = storage = 0
    for tensor in _tensors(cache):
        place = tensor.untyped_storage()._cdata
        if place in seen or (tensor.numel() <= 1 and not tensor.is_floating_point()):
            continue
        seen.add(place)
        logical += tensor.numel() * tensor.element_size()
        storage += tensor.untyped_storage().nbytes()
    return logical, storage


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
    elif hasattr(value, "__dict__") and not callable(value):
        for key, inner in vars(value).items():
            if key not in _SKIPPED:
                yield from _tensors(inner)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """At most so many seconds, and without the library's remarks."""

    def ring(number: int, frame: object) -> None:
        raise TookTooLong(f"no end after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_SECONDS)
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _meta_is_true() -> Iterator[None]:
    """A mask's `.all()` is asked for its truth, which a tensor without data cannot tell."""
    plain = torch.Tensor.__bool__

    def truth(tensor: torch.Tensor) -> bool:
        return True if tensor.is_meta else plain(tensor)

    torch.Tensor.__bool__ = truth
    try:
        yield
    finally:
        torch.Tensor.__bool__ = plain
