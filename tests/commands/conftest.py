"""The models that `mscope params` is tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import checkpoints, folders, safetensors
from tests.builders.safetensors import Tensor
from tests.corpus.make_folder import MODULES
from tests.running import Completed, Run

_LAYERS = 12


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`./m`: twelve layers in file order, a wider one, a buffer. `./parts`: a model of two."""
    tensors = [
        Tensor("embed.weight", "BF16", (100, 8)),
        *(
            Tensor(f"layers.{layer}.{name}", "BF16", shape)
            for layer in range(_LAYERS)
            for name, shape in {
                "attn.q.weight": (8, 8),
                "mlp.up.weight": (32 if layer == 5 else 16, 8),
                "norm.weight": (8,),
            }.items()
        ),
        Tensor("position_ids", "I64", (1, 4)),
        Tensor("head.weight", "F32", (100, 8)),
    ]
    root = tmp_path_factory.mktemp("params")
    folders.write(root / "m", {"model.safetensors": safetensors.build(tensors)})
    folders.write(
        root / "parts",
        {
            "modules.json": MODULES,
            "config.json": folders.BERT,
            "model.safetensors": folders.weights("z.weight", "a.weight"),
            "2_Dense/model.safetensors": folders.weights("linear.weight", "linear.bias"),
        },
    )
    checkpoints.write(
        root / "nf4",
        checkpoints.llama(checkpoints.LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT),
    )
    return root


@pytest.fixture
def params(run: Run, work: Path) -> Any:
    """`params("--top", "1")` for the model `m`, in its folder's parent."""

    def run_it(*argv: str, model: str = "m") -> Completed:
        done = run("params", model, *argv, cwd=work)
        assert done.code == 0, done.err
        return done

    return run_it
