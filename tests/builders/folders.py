"""Model folders on disk, put together from the other builders' bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.builders import gguf, safetensors

BERT = {"model_type": "bert", "hidden_size": 4, "vocab_size": 10}


def write(folder: Path, files: Mapping[str, object]) -> Path:
    """Files by their paths in the folder: bytes, text, or anything to be written as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content))
    return folder


def weights(*names: str, metadata: Mapping[str, str] | None = None, dtype: str = "F32") -> bytes:
    """A safetensors file with a tensor of two elements for each name."""
    return safetensors.build([safetensors.Tensor(name, dtype) for name in names], metadata)


def gguf_weights(*names: str, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """A GGUF file with a tensor of 32 elements for each name."""
    return gguf.build([gguf.f32(name, 32) for name in names], metadata or {})


def sharded(stem: str = "model", *, index: bool = True) -> dict[str, bytes]:
    """Two shards, `a` in the first, `b` in the second, with their index or without."""
    first, second = (f"{stem}-0000{n}-of-00002.safetensors" for n in (1, 2))
    files: dict[str, bytes] = {first: weights("a"), second: weights("b")}
    if index:
        map_ = {"a": first, "b": second}
        files[f"{stem}.safetensors.index.json"] = safetensors.index(map_, 16)
    return files


def split_gguf(stem: str = "m") -> dict[str, bytes]:
    """A model split into two parts, `a` in the first, `b` in the second."""
    return {
        f"{stem}-0000{number + 1}-of-00002.gguf": gguf_weights(
            name,
            metadata={
                "general.architecture": gguf.text("llama"),
                "split.no": gguf.u16(number),
                "split.count": gguf.u16(2),
                "split.tensors.count": gguf.scalar(gguf.INT32, 2),
            },
        )
        for number, name in enumerate("ab")
    }


def encoded(content: object) -> bytes:
    """A file's bytes."""
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()
