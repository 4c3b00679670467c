"""`mscope memory` of weights that are packed in a way nobody here sees through."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.builders import checkpoints, folders
from tests.builders.checkpoints import LLAMA_TINY, Packed
from tests.builders.safetensors import Tensor
from tests.documents import document
from tests.running import Run


def _bitnet(rows: int, columns: int) -> Packed:
    return Packed(
        [Tensor("weight", "U8", (rows // 4, columns)), Tensor("weight_scale", "BF16", (1,))]
    )


def _hqq(rows: int, columns: int) -> Packed:
    return Packed([Tensor("W_q", "U8", (rows * columns // 2,)), Tensor("meta", "F32", (4,))])


HIDDEN = {"bitnet": _bitnet, "hqq": _hqq}


@pytest.fixture(params=HIDDEN)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, checkpoints.Checkpoint]:
    quantization = {"quant_method": request.param}
    made = checkpoints.llama(LLAMA_TINY, HIDDEN[request.param], quantization)
    return checkpoints.write(tmp_path / str(request.param), made), made


Made = tuple[Path, checkpoints.Checkpoint]


def _packed_bytes(made: checkpoints.Checkpoint) -> int:
    return sum(t.bytes for t in made.tensors if t.dtype == "U8")


def _plain_bytes(made: checkpoints.Checkpoint) -> int:
    return sum(t.bytes for t in made.tensors if t.dtype == "BF16" and "scale" not in t.name)


def test_what_params_does_not_see_through_no_row_weighs(run: Run, made: Made) -> None:
    folder, checkpoint = made
    assert document(run("params", str(folder), "--json").out)["totals"]["parameters"] is None
    found = document(run("memory", str(folder), "--json").out)
    for row in found["rows"]:
        parts = {part["part"]: part for part in row["parts"]}
        assert parts["weights"]["bytes"] is parts["quantization"]["bytes"] is None
        assert row["load_bytes"] is row["total_bytes"] is row["card_bytes"] is None
        assert row["quantized"]["parameters"] is None
        assert row["unknown"]["load_bytes"]
        known = parts["kv_cache"]["bytes"] + parts["activations"]["bytes"]
        assert row["at_least_bytes"] == row["load_at_least_bytes"] + known
    buffers = next(part["bytes"] for part in found["parts"] if part["part"] == "buffers")
    for bits in ("stored", "16"):
        row = next(row for row in found["rows"] if row["bits"] == bits)
        least = _plain_bytes(checkpoint) + _packed_bytes(checkpoint)
        assert row["parts"][0]["at_least_bytes"] == least
        assert row["load_at_least_bytes"] == least + buffers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_the_bound_is_below_what_transformers_holds(run: Run, tmp_path: Path) -> None:
    """BitNet's linear layers as transformers builds them: packed, or unpacked while it loads."""
    torch = pytest.importorskip("torch", reason="builds the class")
    transformers = pytest.importorskip("transformers", reason="builds the class")
    from transformers.integrations import replace_with_bitnet_linear

    made = checkpoints.llama(LLAMA_TINY, _bitnet, {"quant_method": "bitnet"})
    folder = checkpoints.write(tmp_path / "bitnet", made)
    found = document(run("memory", str(folder), "--json").out)
    least = found["parts"][0]["at_least_bytes"]  # of the weights
    sizes = {k: v for k, v in LLAMA_TINY.config.items() if k not in ("dtype", "torch_dtype")}
    for linear in ("bitlinear", "autobitlinear"):
        asked = transformers.BitNetQuantConfig(linear_class=linear, quantization_mode="offline")
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
            model = replace_with_bitnet_linear(
                model.to(torch.bfloat16), ["lm_head"], quantization_config=asked
            )
        held = [*model.parameters(), *model.buffers()]
        assert least <= sum(tensor.nbytes for tensor in held)


def test_it_cannot_be_shown_to_fit(run: Run, made: Made) -> None:
    done = run("memory", str(made[0]), "--gpus", "1x80GiB", "--check")
    assert done.code == 1
    assert "cannot be shown to fit on 1 x 80GiB: it takes at least " in done.out
    assert run("memory", str(made[0]), "--gpus", "1x80GiB").code == 0
    found = document(run("memory", str(made[0]), "--gpus", "1x1KiB", "--json").out)
    assert found["fits"] is False


def test_rows_that_are_unknown_are_not_the_same(run: Run, made: Made) -> None:
    lines = run("memory", str(made[0])).out.splitlines()
    assert not [line for line in lines if " = " in line]
    assert [line for line in lines if line.startswith("8 bit, 4 bit: unknown: ")]


def test_training_what_is_hidden(run: Run, made: Made) -> None:
    for kind in ("full", "lora"):
        found = document(run("memory", str(made[0]), "--train", kind, "--json").out)
        parts = {part["part"]: part["bytes"] for part in found["parts"]}
        assert parts["gradients"] is parts["optimizer"] is None


def test_other_packings_start_from_the_original(run: Run, made: Made) -> None:
    found = document(run("memory", str(made[0]), "--quant", "gptq", "--json").out)
    assert "quantize the original" in found["unknown"]["load_bytes"]


# What each figure rests on


def _records(text: str, delimiter: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_every_sum_says_what_it_rests_on(run: Run, form: str, delimiter: str) -> None:
    (row,) = _records(run("memory", "--bits", "16", "-f", form).out, delimiter)
    bases = {key: value for key, value in row.items() if key.endswith("basis")}
    assert bases == {
        "load_basis": "exact", "total_basis": "estimate", "card_basis": "assumption"
    }  # fmt: skip


def test_info_says_it_too(run: Run) -> None:
    card = document(run("info", "builtin:llama3-8b", "--json").out)
    assert (card["load_basis"], card["total_basis"]) == ("exact", "estimate")


# Checkpoints that are packed and seen through


@pytest.fixture
def gpt_oss(tmp_path: Path) -> Path:
    made = checkpoints.gpt_oss(checkpoints.GPT_OSS_TINY)
    return checkpoints.write(tmp_path / "gptoss", made)


def test_what_is_held_without_kernels(run: Run, gpt_oss: Path) -> None:
    """The note's figure is the row of 16 bits, which is all weights dequantized."""
    found = document(run("memory", str(gpt_oss), "--json").out)
    plain = next(row for row in found["rows"] if row["bits"] == "16")
    said = f"dequantizes to bf16: {plain['load_bytes']:,} bytes"
    assert said in found["parts"][0]["note"]
    done = run("memory", str(gpt_oss))
    assert said in done.out


def test_rows_name_the_packing_and_what_is_left_of_it(run: Run, gpt_oss: Path) -> None:
    found = document(run("memory", str(gpt_oss), "--json").out)
    assert found["method"] == "as stored, MXFP4, the rest bf16"
    assert found["unquantized"]
    left = sum(each["bytes"] for each in found["unquantized"])
    packed = sum(t.bytes for t in checkpoints.gpt_oss(checkpoints.GPT_OSS_TINY).tensors
                 if t.name.endswith("_blocks"))  # fmt: skip
    weights = next(part["bytes"] for part in found["parts"] if part["part"] == "weights")
    assert left + packed == weights
    assert "MXFP4, the rest bf16" in run("info", str(gpt_oss)).out


@pytest.mark.parametrize(
    ("argv", "method"),
    [([], "as stored, bf16"), (["--dtype", "fp16"], "16 bit, f16"),
     (["--dtype", "bf16"], "as stored, bf16"), (["--dtype", "f32"], "32 bit, f32")],
)  # fmt: skip
def test_what_is_converted_is_not_as_stored(run: Run, argv: list[str], method: str) -> None:
    found = document(run("memory", "builtin:llama3-8b", "--json", *argv).out)
    assert found["method"] == method
    assert found["bits"] == "stored"


def test_a_method_that_nobody_knows_is_told(run: Run, tmp_path: Path) -> None:
    made = checkpoints.llama(LLAMA_TINY, _bitnet, {"quant_method": "magic"})
    done = run("memory", str(checkpoints.write(tmp_path / "m", made)))
    assert "transformers knows no quant_method 'magic' and skips it" in done.err


# A configuration alone


def test_a_configuration_without_a_dtype(run: Run, tmp_path: Path) -> None:
    config = {k: v for k, v in LLAMA_TINY.config.items() if k not in ("dtype", "torch_dtype")}
    folder = folders.write(tmp_path / "m", {"config.json": config})
    done = run("memory", str(folder))
    assert done.out.count("no weight files here") == 1
    assert "no weight files here" not in done.err
    assert "as stored, no dtype told" in done.out
    assert "no dtype is told: taken as f32, torch's default" in done.err
    found = document(run("memory", str(folder), "--json").out)
    assert {part["part"]: part["basis"] for part in found["parts"]}["kv_cache"] == "assumption"
    assert found["total_bytes"] is None


def test_a_configuration_that_declares_a_packing(run: Run, tmp_path: Path) -> None:
    config = {**LLAMA_TINY.config, "quantization_config": {"quant_method": "fp8"}}
    folder = folders.write(tmp_path / "m", {"config.json": config})
    found = document(run("memory", str(folder), "--json").out)
    assert found["method"] == "as stored, fp8 by the configuration, the rest bf16"
