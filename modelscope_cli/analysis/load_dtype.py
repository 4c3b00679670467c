"""The dtype that transformers loads a checkpoint's plain floats as: "auto" since release 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.roles import QUANTIZATION, RowFact
from modelscope_cli.dtypes import DTYPES, TORCH, DType
from modelscope_cli.facts import TensorTable

_NOT_A_DEFAULT = ("F4", "F6", "F8")  # a model cannot be built in these


def load_dtype(config: Mapping[str, Any] | None, table: TensorTable) -> DType | None:
    """What the configuration says, else the first float tensor's; None for weights alone.

    `dtype` (old name `torch_dtype`) stands at the top or in the text model's configuration.
    """
    if config is None:
        return None
    text = config.get("text_config")
    for level in (config, text if isinstance(text, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            said = TORCH.get(str(level.get(key)).removeprefix("torch."))
            if said is not None and said.kind == "float":
                return said
    return _first_float(table) if "model_type" in config or "architectures" in config else None


def _first_float(table: TensorTable) -> DType | None:
    """Of the first file; safetensors gives its tensors by name, a pickle as they were saved."""
    first = min((file for file in table.files if file), default=None)
    here = [row for row, file in enumerate(table.files) if file == first]
    if first is not None and first.endswith(".safetensors"):
        here.sort(key=table.names.__getitem__)
    found = (DTYPES[table.dtypes[row]] for row in here)
    fits = (d for d in found if d.kind == "float" and not d.name.startswith(_NOT_A_DEFAULT))
    return next(fits, None)


def is_cast(fact: RowFact, dtype: str) -> bool:
    """Whether tensors of that row take the dtype loaded as: floats that are not packed."""
    return fact.logical is None and fact.role != QUANTIZATION and DTYPES[dtype].kind == "float"
