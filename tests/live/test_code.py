"""`--code`: what is printed runs, and leaves in memory what the figure says."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import cli, footprint, load
from modelscope_cli.analysis.memory import modes, weighing
from modelscope_cli.facts import Unknown
from tests.live import loaded
from tests.live.test_exact_weights import MODES, loaded_from, saved
from tests.live.tiny import MODELS

pytest.importorskip("bitsandbytes", reason="it packs the weights")

NAMES = ("LlamaForCausalLM", "T5ForConditionalGeneration", "GPT2LMHeadModel", "CLIPModel")
TINY = [tiny for tiny in MODELS if tiny.architecture in NAMES]


def _run(target: Path, *options: str) -> Any:
    """The model that the printed call makes."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert cli.main(["memory", str(target), "--code", "--isolated", "-q", *options]) == 0
    scope: dict[str, Any] = {}
    exec(printed.getvalue(), scope)  # our own output
    return scope["model"]


def _figure(folder: Path, bits: str) -> dict[str, int]:
    mode = modes.mode(bits, None, double_quant=False, dtype=None, transformers=5)
    found = weighing.weigh(footprint.model_of(load.open_model(str(folder))), mode)
    assert not isinstance(found, Unknown)
    return dict(loaded.as_mapping(found))


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.id)
@pytest.mark.parametrize("bits", ["stored", "32", "8", "4"])
def test_a_plain_checkpoint(tiny: Any, bits: str, tmp_path: Path) -> None:
    saved(tmp_path, tiny)
    assert loaded.parts(_run(tmp_path, "--bits", bits)) == _figure(tmp_path, bits)


@pytest.mark.parametrize("packed", ["nf4", "int8"])
@pytest.mark.parametrize("bits", ["stored", "16", "32"])
def test_what_bitsandbytes_saved(packed: str, bits: str, tmp_path: Path) -> None:
    tiny = TINY[0]
    saved(tmp_path / "plain", tiny)
    mode = next(mode for mode in MODES if mode.name == packed)
    model = loaded_from(tmp_path / "plain", tiny, "bfloat16", mode.bitsandbytes)
    model.save_pretrained(tmp_path / "packed")
    folder = tmp_path / "packed"
    assert loaded.parts(_run(folder, "--bits", bits)) == _figure(folder, bits)


def test_a_file_of_a_folder(tmp_path: Path) -> None:
    saved(tmp_path, TINY[0])
    model = _run(tmp_path / "model.safetensors")
    assert loaded.parts(model) == _figure(tmp_path, "stored")
