"""The rows of a GGUF file: llama.cpp's for what it stores, transformers' for what is unpacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.memory import modes
from modelscope_cli.analysis.memory.gguf import cache as gguf_cache
from modelscope_cli.analysis.memory.gguf.cache import Tokens
from modelscope_cli.analysis.memory.gguf.compute import compute_buffer
from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.row import LOADED, Row, Workload
from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.analysis.memory.weights.prepared import Prepared, prepare
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import TensorTable, Unknown
from modelscope_cli.units import size_text

_ORIGINAL = "bitsandbytes and other packings start from plain weights: quantize the original"
_UNPACKED = "its weights taken as dequantized by transformers, which knows some of GGUF's models"
_NO_ACTIVATIONS = "a GGUF does not tell which class of transformers would run it"
_HEAD, _EMBEDDING = "output.weight", "token_embd.weight"
_PER_LAYER = "per_layer_token_embd.weight"


class GgufModel(NamedTuple):
    """One GGUF file, or a split set of them.

    `type_name` is what it is packed as, `Q4_K_M`; `prepared` its tensors by names and dtypes.
    """

    file: str
    type_name: str | None
    metadata: Mapping[str, Any]
    table: TensorTable
    prepared: Prepared

    @property
    def dtype(self) -> str:
        """What most of its bytes are: ggml's name."""
        sizes: dict[str, int] = {}
        for dtype, size in zip(self.table.dtypes, self.table.bytes, strict=True):
            sizes[dtype] = sizes.get(dtype, 0) + size
        return max(sizes, key=sizes.__getitem__, default=gguf_cache.DEFAULT_TYPE)


def model_of(
    file: str,
    type_name: str | None,
    metadata: Mapping[str, Any],
    rows: Sequence[RowFact],
    table: TensorTable,
) -> GgufModel:
    """A GGUF ready to be weighed."""
    return GgufModel(file, type_name, metadata, table, prepare(rows, table, None))


def row(model: GgufModel, mode: Mode, work: Workload, *, several: bool = False) -> Row:
    """One row of the footprint; `several` files are told apart by their names."""
    found = _row(model, mode, work)
    return found._replace(file=model.file, method=_method(model, mode, found, several=several))


def _row(model: GgufModel, mode: Mode, work: Workload) -> Row:
    if mode.scheme is None and mode.bits == modes.STORED:
        return _stored(model, mode, work)
    own = model.prepared
    dtype = mode.float_dtype(own.dtype)
    if mode.scheme is not None:
        loaded: tuple[Part, ...] = tuple(
            Part(part, Unknown(_ORIGINAL), "estimate", _ORIGINAL) for part in LOADED
        )
    else:
        sizes = amounts.plain(own.held, own.plan(dtype))
        loaded = tuple(
            Part(part, size, "estimate", _UNPACKED)
            for part, size in zip(LOADED, sizes[:3], strict=True)
        )
    cache = unpacked_cache(model, dtype, work)
    activations = Part("activations", Unknown(_NO_ACTIVATIONS), "estimate", _NO_ACTIVATIONS)
    return _made(mode, dtype, (*loaded, _cache_part(cache), activations), cache, work)


def _stored(model: GgufModel, mode: Mode, work: Workload) -> Row:
    """llama.cpp with all layers on the GPU: the bytes of the file as they are."""
    cache = stored_cache(model, work)
    size = compute_buffer(model.metadata, Tokens(work.batch, work.context))
    parts = (
        Part("weights", sum(model.table.bytes), "exact", None, _on_the_host(model.table)),
        Part("quantization", 0, "exact", None, None),
        Part("buffers", 0, "exact", None, None),
        _cache_part(cache),
        Part("activations", size.bytes, "estimate", size.reason, size.note),
    )
    made = _made(mode, model.dtype, parts, cache, work)
    return made._replace(kv_dtype=work.kv_dtype or gguf_cache.DEFAULT_TYPE)


def _made(
    mode: Mode, dtype: str, parts: tuple[Part, ...], cache: KVCache | Unknown, work: Workload
) -> Row:
    return Row(
        mode, dtype, "", parts, 0, 0, (), cache, kv_dtype=work.kv_dtype or dtype
    )  # fmt: skip


def _method(model: GgufModel, mode: Mode, found: Row, *, several: bool) -> str:
    if mode.bits == modes.STORED and mode.scheme is None:
        text = f"as stored, {model.type_name or found.dtype}, llama.cpp"
    else:
        text = modes.describe(mode, found.dtype)
    return f"{model.file}: {text}" if several else text


def cache(model: GgufModel, mode: Mode, work: Workload) -> KVCache | Unknown:
    """The cache of a row."""
    if mode.scheme is None and mode.bits == modes.STORED:
        return stored_cache(model, work)
    return unpacked_cache(model, mode.float_dtype(model.prepared.dtype), work)


def stored_cache(model: GgufModel, work: Workload) -> KVCache | Unknown:
    """The cache as llama.cpp allocates it."""
    dtype = work.kv_dtype or gguf_cache.DEFAULT_TYPE
    if dtype not in gguf_cache.LLAMA_TYPES:
        return Unknown(f"llama.cpp has no cache of {dtype}")
    return gguf_cache.llama(model.metadata, Tokens(work.batch, work.context), dtype)


def unpacked_cache(model: GgufModel, dtype: str, work: Workload) -> KVCache | Unknown:
    """The cache as transformers would hold it, where floats are `dtype`."""
    dtype = work.kv_dtype or dtype
    if DTYPES[dtype].kind == "packed":
        return Unknown(f"a cache of {dtype.lower()} is llama.cpp's, not transformers'")
    return gguf_cache.transformers(model.metadata, Tokens(work.batch, work.context), dtype)


def _cache_part(cache: KVCache | Unknown) -> Part:
    if isinstance(cache, Unknown):
        return Part("kv_cache", cache, "estimate", cache.reason)
    return Part("kv_cache", cache.bytes, cache.basis, None, cache.note)


def _on_the_host(table: TensorTable) -> str | None:
    """Embeddings that llama.cpp leaves in host memory; one that is the head too goes along."""
    names = [_PER_LAYER, *([_EMBEDDING] if _HEAD in table.names else [])]
    size = sum(size for name, size in zip(table.names, table.bytes, strict=True) if name in names)
    if not size:
        return None
    return f"llama.cpp leaves {size_text(size)} of them, the embedding, in host memory"
