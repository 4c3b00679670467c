"""Declarations that the tensors contradict: one warning, and the tensors are believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.analysis import disagreement
from tests.analysis.test_packed import Row, gptq, nf4, seen
from tests.builders import folders
from tests.running import Run

AWQ: list[Row] = [
    ("l.qweight", "I32", (256, 64 // 8)),
    ("l.qzeros", "I32", (2, 64 // 8)),
    ("l.scales", "F16", (2, 64)),
]


def said(rows: list[Row], declared: dict[str, Any]) -> list[str]:
    facts = seen(rows, declared=declared)
    notes = disagreement.notes(facts, declared)
    assert all(note.warning for note in notes)
    return [note.text for note in notes]


@pytest.mark.parametrize(
    ("rows", "declared", "text"),
    [
        (gptq("l", 64, 128), {"quant_method": "awq"}, "awq is declared, but the tensors are gptq"),
        (AWQ, {"quant_method": "gptq"}, "gptq is declared, but the tensors are awq"),
        (gptq("l", 64, 128), {"quant_method": "nonsense"}, "'nonsense' is not known here"),
        ([("n", "F16", (5,))], {"quant_method": "nonsense"}, "'nonsense' is not known here"),
        (gptq("l", 64, 128), {"quant_method": "gptq", "bits": 8}, "bits 8 is declared, but"),
        (gptq("l", 64, 128), {"quant_method": "gptq", "bits": 4, "group_size": 64}, "have 32"),
    ],
)
def test_contradictions_are_told(rows: list[Row], declared: dict[str, Any], text: str) -> None:
    (note,) = said(rows, declared)
    assert text in note


@pytest.mark.parametrize(
    ("rows", "declared"),
    [
        (gptq("l", 64, 128), {"quant_method": "gptq", "bits": 4, "group_size": 32}),
        (gptq("l", 64, 128), {"quant_method": "auto-round", "bits": 4}),
        (gptq("l", 64, 128), {}),
        ([*gptq("l.0", 64, 128, 4), *gptq("l.1", 64, 128, 8)], {"quant_method": "gptq", "bits": 8}),
        (AWQ, {"quant_method": "awq", "bits": 4, "group_size": 128}),
        (nf4("l.weight", 96, 64)[0], {"quant_method": "bitsandbytes"}),
        ([("l.weight", "F8_E4M3", (8, 4)), ("l.weight_scale", "F32", ())], {"quant_method": "fp8"}),
        ([("n", "F16", (5,))], {"quant_method": "gptq", "bits": 4, "group_size": 128}),
    ],
)
def test_what_agrees_is_not_spoken_of(rows: list[Row], declared: dict[str, Any]) -> None:
    assert said(rows, declared) == []


@pytest.mark.parametrize("command", ["params", "pack"])
def test_the_program_warns_once(command: str, tmp_path: Path, run: Run) -> None:
    config = {"quantization_config": {"quant_method": "nonsense", "group_size": 0}}
    files = {"model.safetensors": folders.weights("st"), "config.json": config}
    done = run(command, str(folders.write(tmp_path / "m", files)))
    warnings = [line for line in done.err.splitlines() if "warning" in line]
    assert len([line for line in warnings if "'nonsense' is not known" in line]) == 1
    assert len([line for line in warnings if "group_size 0" in line]) == 1
