"""The from_pretrained call that a row of the footprint stands for, as Python to paste."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import STORED, bits_of
from modelscope_cli.analysis.memory.row import Row
from modelscope_cli.analysis.memory.weights.amounts import BITSANDBYTES
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import ModelRef, Unknown

_LONGEST = 60  # characters of an untrusted name
# Files by which from_pretrained knows a folder; another one in it would not be what it loads.
_OF_FOLDER = ("model.safetensors", "pytorch_model.bin", "config.json")
_INDEX = (".index.json",)
# Where a built-in stands for something on the Hub that has weights.
_PUBLISHED = {
    "huozi3": "HIT-SCIR/huozi3",
    "llama3-8b": "meta-llama/Meta-Llama-3-8B",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "clip-vit-large-patch14-336": "openai/clip-vit-large-patch14-336",
}


class Asked(NamedTuple):
    """A row of a model, and whether it lies on cards that were named."""

    ref: ModelRef
    model: Model
    row: Row
    on_cards: bool

    @property
    def class_name(self) -> str | None:
        """The class that the figures are of."""
        return self.model.components[0].class_name

    @property
    def remote(self) -> str | None:
        """The auto class that loads the model's own code; None where transformers has its class."""
        return None if self.class_name else _auto_class(self.model)

    @property
    def packs(self) -> bool:
        """Whether bitsandbytes packs the weights while they are loaded."""
        return self.row.mode.scheme in BITSANDBYTES and self.model.packed_by is None

    @property
    def unpacks(self) -> bool:
        """Whether weights that bitsandbytes packed are unpacked once they are loaded."""
        packed = self.model.packed_by in BITSANDBYTES and self.row.mode.scheme is None
        return packed and self.row.mode.bits != STORED


def call(asked: Asked) -> str | Unknown:
    """The call for a row; Unknown where no such call exists."""
    for refused in _REFUSALS:
        if (why := refused(asked)) is not None:
            return Unknown(why)
    return "\n".join(_lines(asked))


def _of_gguf(asked: Asked) -> str | None:
    if asked.ref.format == "gguf":
        return "a GGUF's figures are llama.cpp's, not from_pretrained's"
    return None


def _of_several(asked: Asked) -> str | None:
    if len(asked.model.components) > 1:
        return "a pipeline's components are put together by its own library, not by one call"
    return None


def _of_no_weights(asked: Asked) -> str | None:
    if asked.model.untold is None:
        return None
    name = asked.class_name or "AutoModel"
    return (
        f"there are no weights to load ({asked.model.untold.reason}); "
        f"{name}(AutoConfig.from_pretrained(…)) makes the model with random ones"
    )


def _of_ideal_packing(asked: Asked) -> str | None:
    scheme = asked.row.mode.scheme
    if scheme is not None and scheme not in BITSANDBYTES:
        return f"{scheme} as ideal packing is no call of transformers"
    return None


def _of_unknown_bytes(asked: Asked) -> str | None:
    load = asked.row.load_bytes
    return load.reason if isinstance(load, Unknown) else None


def _of_packed(asked: Asked) -> str | None:
    """Of a checkpoint that is packed already: bitsandbytes' alone can be unpacked by a call."""
    packed_by, mode = asked.model.packed_by, asked.row.mode
    if packed_by is None or mode.bits in (STORED, bits_of(packed_by)) or asked.unpacks:
        return None
    return f"no call loads weights packed by {packed_by} at {mode.bits} bit: load the original"


def _of_no_class(asked: Asked) -> str | None:
    if asked.class_name is not None or asked.remote is not None:
        return None
    return "; ".join(asked.model.components[0].doubts) or "no class of transformers is known"


def _of_a_file(asked: Asked) -> str | None:
    """from_pretrained takes a folder, and looks for files of certain names in it."""
    ref = asked.ref
    name = os.path.basename(ref.path or "")
    if ref.kind != "file" or name in _OF_FOLDER or name.endswith(_INDEX):
        return None
    return f"from_pretrained loads a folder and would not take {name[:_LONGEST]} in it"


_REFUSALS: tuple[Callable[[Asked], str | None], ...] = (
    _of_gguf, _of_several, _of_no_weights, _of_ideal_packing, _of_unknown_bytes, _of_packed,
    _of_no_class, _of_a_file,
)  # fmt: skip


def _auto_class(model: Model) -> str | None:
    """The auto class whose entry in `auto_map` is the class that the configuration names."""
    entries = model.config.get("auto_map")
    if not isinstance(entries, dict):
        return None
    for name, target in entries.items():
        ends = isinstance(target, str) and target.endswith(f".{model.architecture}")
        if ends and isinstance(name, str) and name.isidentifier() and name.startswith("AutoModel"):
            return name[:_LONGEST]
    return "AutoModel" if "AutoModel" in entries else None


def _lines(asked: Asked) -> Iterator[str]:
    row, name = asked.row, asked.class_name or asked.remote or ""
    dtype = f"torch.{DTYPES[row.dtype].torch}"
    yield from _remarks(asked)
    yield "import torch"
    yield f"from transformers import {'BitsAndBytesConfig, ' if asked.packs else ''}{name}"
    yield ""
    yield f"model = {name}.from_pretrained("
    yield f"    {_target(asked.ref)!a},"
    if asked.ref.kind in ("hub", "cache") and asked.ref.revision:
        yield f"    revision={asked.ref.revision!a},"
    if asked.remote:
        yield "    trust_remote_code=True,"
    if row.mode.bits != STORED or row.mode.dtype is not None:
        yield f"    dtype={dtype},"
    if asked.packs:
        yield "    quantization_config=BitsAndBytesConfig("
        yield from (f"        {line}," for line in _bitsandbytes(row, dtype))
        yield "    ),"
    if asked.on_cards or row.mode.scheme is not None:
        yield '    device_map="auto",'
    yield ")"
    if asked.unpacks:
        # What was not packed keeps the file's dtype; buffers of a float32 model are float32 anyway.
        whole = f".to({dtype})" if row.dtype == "F32" else ""
        yield f"model = model.dequantize({dtype}){whole}"


def _remarks(asked: Asked) -> Iterator[str]:
    if asked.row.mode.transformers < 5:
        yield "# with transformers 4"
    if asked.remote:
        yield "# trust_remote_code runs Python of the model's own: read it first"
    if asked.ref.kind == "builtin":
        yield "# mscope has the shapes alone: these weights are on the Hub"


def _target(ref: ModelRef) -> str:
    if ref.kind in ("hub", "cache") and ref.id:
        return ref.id
    if ref.kind == "builtin":
        return _PUBLISHED.get(ref.id or "", ref.target)
    if ref.kind == "file" and ref.path:
        return os.path.dirname(ref.path)
    return ref.path or ref.target


def _bitsandbytes(row: Row, dtype: str) -> Iterator[str]:
    if row.mode.scheme == "int8":
        yield "load_in_8bit=True"
        return
    yield "load_in_4bit=True"
    yield f'bnb_4bit_quant_type="{row.mode.scheme}"'
    if row.mode.double_quant:
        yield "bnb_4bit_use_double_quant=True"
    yield f"bnb_4bit_compute_dtype={dtype}"
