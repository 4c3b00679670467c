"""Models that ship inside the package: config and tensor list, no weights.

`tools/make_builtins.py` writes their files from transformers' own classes.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

from modelscope_cli import places
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.errors import NotFound, did_you_mean
from modelscope_cli.facts import ModelFacts, ModelRef, Note, TensorTable

DESCRIPTIONS = {
    "huozi3": "Mixtral 8x7B with a vocabulary of 57,002, the default model",
    "llama3-8b": "Meta-Llama-3-8B",
    "bert-base-uncased": "BERT base as BertModel",
    "clip-vit-large-patch14-336": "CLIP ViT-L/14 at 336 pixels",
}
NAMES = tuple(DESCRIPTIONS)

_GZIP = 31  # zlib's number for a gzip file; the gzip module would cost 3 ms


def load(name: str, *, target: str | None = None, default: bool = False) -> ModelFacts:
    """The facts of a built-in; `default` where the user named no model. Raises NotFound."""
    if name not in DESCRIPTIONS:
        hint = did_you_mean(name, NAMES) or f"there are: {', '.join(NAMES)}"
        raise NotFound(f"builtin:{name}: there is no such built-in model", hint)
    data = _data(name)
    # As save_pretrained would write it: a safetensors checkpoint, whose files are not here.
    ref = ModelRef(target or f"builtin:{name}", "builtin", name, format="safetensors")
    return ModelFacts(
        ref._replace(default=default),
        _table(data["tensors"]),
        config=data["config"],
        config_file="config.json",
        notes=(Note(data["note"]),) if data["note"] else (),
    )


def basis(name: str) -> str:
    """Where the names, dtypes and config of a built-in come from."""
    text = _data(name)["basis"]
    return str(text)


def _data(name: str) -> dict[str, Any]:
    import zlib

    with open(places.data("builtin", f"{name}.json.gz"), "rb") as stream:
        data: dict[str, Any] = json.loads(zlib.decompress(stream.read(), _GZIP))
    return data


def _table(rows: list[tuple[str, str, list[int]]]) -> TensorTable:
    table = TensorTable()
    for name, dtype, shape in rows:
        elements = prod(shape)
        size = DTYPES[dtype].size(elements)
        table.append(name, dtype, tuple(shape), elements, size or 0, None, None)
    return table
