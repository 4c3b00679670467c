"""Asks GPTQModel what its layers save. Its own process: importing it changes other libraries.

Reads `[[kind, out, in, bits, group, pack dtype], ...]` from stdin as JSON; prints for each
`{tensor: [dtype, shape]}`, as packed from random weights, or `{"refused": reason}`.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import warnings
from contextlib import redirect_stdout
from typing import Any

Case = tuple[str, int, int, int, int, str]


def main() -> None:
    """Answer every case."""
    warnings.simplefilter("ignore")
    cases = json.load(sys.stdin)
    with redirect_stdout(io.StringIO()):  # it prints a banner
        answers = [_answer(tuple(case)) for case in cases]
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # its threads keep the interpreter from ending


def _answer(case: Case) -> dict[str, Any]:
    try:
        return _save(case)
    except Exception as error:  # whatever it raises is a refusal
        return {"refused": f"{type(error).__name__}: {error}"}


def _save(case: Case) -> dict[str, Any]:
    import torch

    kind, out, in_, bits, group, pack_dtype = case
    layer = _layer(kind)(
        bits=bits, group_size=group, desc_act=False, sym=True, in_features=in_, out_features=out,
        bias=False, pack_dtype=getattr(torch, pack_dtype), register_buffers=True,
    )  # fmt: skip
    linear = torch.nn.Linear(in_, out, bias=False)
    linear.weight.data.normal_()
    groups = -(-in_ // (in_ if group == -1 else group))
    scales, zeros = torch.rand(out, groups) / 8 + 0.01, torch.full((out, groups), 2.0 ** (bits - 1))
    if kind == "gptq":
        index = torch.arange(in_, dtype=torch.int32) // (in_ if group == -1 else group)
        layer.pack_original(linear=linear, scales=scales, zeros=zeros, g_idx=index)
    elif kind == "awq":
        layer.pack(linear=linear, scales=scales, zeros=zeros)
    return {
        name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in layer.state_dict().items()
    }


def _layer(kind: str) -> Any:
    module, name = {
        "gptq": ("torch", "TorchLinear"),
        "awq": ("torch_awq", "AwqTorchLinear"),
        "awq-gemv": ("gemv_awq", "AwqGEMVLinear"),
        "awq-gemv-fast": ("gemv_fast_awq", "AwqGEMVFastLinear"),
    }[kind]
    return getattr(importlib.import_module(f"gptqmodel.nn_modules.qlinear.{module}"), name)


if __name__ == "__main__":
    main()
