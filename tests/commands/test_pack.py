"""`mscope pack`: the arithmetic of one weight, a model's packing, and shapes read backwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.builders import checkpoints, gguf
from tests.builders.safetensors import Tensor
from tests.running import ROOT, Golden, Run

SCHEMA = json.loads((ROOT / "modelscope_cli" / "schemas" / "pack.json").read_text("utf-8"))


def document(run: Run, *argv: str) -> dict[str, Any]:
    done = run("pack", *argv, "-f", "json")
    assert done.code == 0, done.err
    made: dict[str, Any] = json.loads(done.out)
    Draft202012Validator(SCHEMA).validate(made)
    return made


@pytest.fixture(scope="module")
def nf4_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nf4")
    model = checkpoints.llama(checkpoints.LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT)
    checkpoints.write(folder, model)
    return folder


def test_the_shape_everyone_asks_about(run: Run, golden: Golden) -> None:
    done = run("pack", "--shape", "4096x14336")
    assert done.code == 0
    assert "58,720,256 / 2 = 29,360,128" in done.out
    assert "[29360128, 1]" in done.out
    golden("pack/shape.txt", done.out)


def test_one_weight_as_a_document(run: Run) -> None:
    made = document(run, "--shape", "4096x14336", "--double-quant")
    assert made["schema"] == "mscope/pack/1"
    assert "model" not in made
    assert made["logical"] == {"shape": [4096, 14336], "elements": 58_720_256}
    assert made["packed"] == {"shape": [29_360_128, 1], "dtype": "U8", "bytes": 29_360_128}
    assert made["total_bytes"] == sum(part["bytes"] for part in made["parts"]) == 30_293_060


@pytest.mark.parametrize(
    "text", ["4096x14336", "4096,14336", "[4096, 14336]", "4096*14336", "4096\u00d714336"]
)
def test_shapes_as_people_write_them(run: Run, text: str) -> None:
    assert document(run, "--shape", text)["logical"]["shape"] == [4096, 14336]


@pytest.mark.parametrize(
    "argv",
    [
        ["--shape", "axb"],
        ["--shape", "4096x-1"],
        ["--shape", "9999999999999999999x9999999999999999999"],
        ["--shape", "8x8", "--stored", "8x8"],
        ["--shape", "8x8", "--scheme", "nf44"],
        ["--shape", "8x8", "--bits", "3"],
        ["--shape", "8x8", "--scheme", "gptq", "--bits", "5"],
        ["--shape", "8x8", "--scheme", "gptq", "--group", "0"],
        ["--shape", "8x8", "--storage", "bf17"],
        ["--verify"],
        ["builtin:bert-base-uncased", "--tensor", "nope"],
        ["builtin:bert-base-uncased", "--scheme", "nonsense"],
        ["builtin:bert-base-uncased", "--bits", "3"],
        ["builtin:bert-base-uncased", "--scheme", "gptq", "--bits", "9"],
        ["builtin:bert-base-uncased", "--scheme", "gptq", "--group", "0"],
        ["builtin:bert-base-uncased", "--scheme", "awq", "--group", "-7"],
        ["builtin:bert-base-uncased", "--block", "63"],
        ["no/such", "--scheme", "Q4_K_M"],
        ["builtin:bert-base-uncased", "--shape", "8x8"],
        ["--shape", "8x8", "--tensor", "x"],
        ["--stored", "8x8", "--scheme", "nf4"],
        ["--stored", "8x8", "--tensor", "x"],
        ["--stored", "8x8", "--bits", "4"],
        ["--stored", "8x8", "--block", "64"],
        ["--stored", "8x8", "--double-quant"],
    ],
)
def test_what_cannot_be_packed_is_a_usage_error(run: Run, argv: list[str]) -> None:
    done = run("pack", *argv)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) <= 2


def test_a_scheme_in_capitals_is_the_same(run: Run) -> None:
    assert document(run, "--shape", "256x256", "--scheme", "Q4_K")["scheme"] == "q4_k"


def test_a_recipe_of_llama_cpp_is_no_type_and_gets_a_hint(run: Run) -> None:
    assert "did you mean q4_k?" in run("pack", "--shape", "8x8", "--scheme", "Q4_K_M").err


def test_the_default_model_packed_as_nf4(run: Run, golden: Golden) -> None:
    done = run("pack")
    assert done.code == 0
    assert "25.20 GiB" in done.out
    assert "transformers 5 fuses them" in done.err
    golden("pack/default.txt", done.out)


def test_a_what_if_is_called_an_estimate(run: Run) -> None:
    made = document(run, "builtin:llama3-8b", "--scheme", "q4_k")
    assert made["totals"]["basis"] == "estimate"
    assert {tensor["scheme"] for tensor in made["tensors"]} == {"q4_k"}
    assert all(kept["reason"] for kept in made["unquantized"])


def test_a_quantized_checkpoint_tensor_by_tensor(run: Run, nf4_folder: Path) -> None:
    made = document(run, str(nf4_folder))
    params = json.loads(run("params", str(nf4_folder), "-f", "json").out)
    assert made["totals"]["basis"] == "exact"
    assert made["totals"]["parameters"] == params["totals"]["parameters"]
    assert made["totals"]["stored_bytes"] == params["totals"]["bytes"]
    kept = sum(row["bytes"] for row in made["unquantized"])
    packed = sum(tensor["total_bytes"] for tensor in made["tensors"])
    assert packed + kept == made["totals"]["stored_bytes"]


def test_one_tensor_step_by_step(run: Run, nf4_folder: Path) -> None:
    made = document(run, str(nf4_folder), "--tensor", "model.layers.0.mlp.up_proj")
    (tensor,) = made["tensors"]
    assert tensor["name"] == "model.layers.0.mlp.up_proj.weight"
    assert any("bits a weight" in step for step in tensor["steps"])
    assert "read as nf4" in run("pack", str(nf4_folder), "--tensor", tensor["name"]).out


def test_a_packed_model_is_not_packed_again(run: Run, nf4_folder: Path) -> None:
    done = run("pack", str(nf4_folder), "--scheme", "gptq")
    assert done.code == 2
    assert "packed already" in done.err


@pytest.mark.parametrize("option", [("--double-quant",), ("--storage", "u8"), ("--block", "64")])
def test_options_of_packing_say_nothing_to_a_packed_model(
    run: Run, nf4_folder: Path, option: tuple[str, ...]
) -> None:
    done = run("pack", str(nf4_folder), *option)
    assert done.code == 2
    assert option[0] in done.err


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A model that says it is quantized, of whose tensors none is."""
    tensors = [Tensor("model.layers.0.mlp.up_proj.weight", "BF16", (64, 64))]
    config = {"quantization_config": {"quant_method": "hqq"}}
    return checkpoints.write(tmp_path, checkpoints.Checkpoint(tensors, config, {}))


def test_a_model_that_says_it_is_quantized_is_not_packed_unasked(run: Run, declared: Path) -> None:
    done = run("pack", str(declared))
    assert done.code == 0
    assert "nf4" not in done.out
    assert "declares quantization by hqq, but nothing here could be read as packed" in done.err
    assert document(run, str(declared))["totals"]["basis"] == "exact"
    assert run("pack", str(declared), "--double-quant").code == 2
    asked = run("pack", str(declared), "--scheme", "nf4")
    assert asked.code == 0
    assert "hqq" in asked.err


def test_options_that_a_setting_gives_are_no_request(run: Run, nf4_folder: Path) -> None:
    settings = {"MSCOPE_MODEL": str(nf4_folder), "MSCOPE_SCHEME": "nf4"}
    assert run("pack", "--shape", "8x8", env=settings).code == 0
    assert run("pack", env=settings).code == 0
    assert run("pack", "--stored", "8x8", env=settings).code == 0


@pytest.fixture
def lying(tmp_path: Path) -> Path:
    """A GPTQ checkpoint of two weights; `bad` has scales that do not fit."""
    groups = {"bad": 7, "good": 1}
    tensors = [
        tensor
        for name, count in groups.items()
        for tensor in (
            Tensor(f"{name}.g_idx", "I32", (128,)),
            Tensor(f"{name}.qweight", "I32", (16, 64)),
            Tensor(f"{name}.qzeros", "I32", (count, 9 if name == "bad" else 8)),
            Tensor(f"{name}.scales", "F16", (count, 64)),
        )
    ]
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    return checkpoints.write(tmp_path, checkpoints.Checkpoint(tensors, config, {}))


def test_a_checkpoint_of_which_nothing_can_be_seen_through_fails(run: Run, lying: Path) -> None:
    only_bad = lying / "only-bad"
    tensors = [Tensor("bad.qweight", "I32", (16, 64)), Tensor("bad.scales", "F16", (7, 63))]
    checkpoints.write(only_bad, checkpoints.Checkpoint(tensors, {}, {}))
    done = run("pack", str(only_bad))
    assert (done.code, done.out) == (4, "")
    assert "'bad.qweight'" in done.err
    assert document(run, str(lying))["totals"]["parameters"] is None  # one of two was read


def test_one_tensor_that_cannot_be_seen_through_says_why(run: Run, lying: Path) -> None:
    done = run("pack", str(lying), "--tensor", "bad")
    assert (done.code, done.out) == (4, "")
    assert ".qzeros" in done.err
    made = document(run, str(lying), "--tensor", "good")
    assert made["totals"]["parameters"] == 128 * 64
    assert made["totals"]["stored_bytes"] == made["tensors"][0]["total_bytes"]


def test_a_tensor_that_is_not_packed_says_so(run: Run, nf4_folder: Path) -> None:
    done = run("pack", str(nf4_folder), "--tensor", "lm_head")
    assert done.code == 2
    assert "lm_head.weight is not packed: it stays as BF16" in done.err
    head = run("pack", "builtin:llama3-8b", "--tensor", "lm_head.weight")
    assert head.code == 2
    assert "the output head" in head.err
    state = "model.layers.0.mlp.up_proj.weight.absmax"
    assert "belongs to a packed weight" in run("pack", str(nf4_folder), "--tensor", state).err


def test_an_expert_is_found_by_its_parameters_name(run: Run, tmp_path: Path) -> None:
    checkpoints.write(tmp_path, checkpoints.gpt_oss())
    name = "model.layers.3.mlp.experts.gate_up_proj"
    made = document(run, str(tmp_path), "--tensor", name)
    assert made["tensors"][0]["name"] == f"{name}_blocks"


def test_a_state_that_lies_is_shown_unknown_and_the_rest_comes_out(
    run: Run, nf4_folder: Path, tmp_path: Path
) -> None:
    path = nf4_folder / "model.safetensors"
    raw = path.read_bytes()
    start = raw.index(b'"shape": [') + len(b'"shape": [')
    lying = tmp_path / "model.safetensors"
    lying.write_bytes(raw[:start] + b"9" + raw[start + 1 :])
    (tmp_path / "config.json").write_bytes((nf4_folder / "config.json").read_bytes())
    made = document(run, str(tmp_path))
    hidden = [tensor for tensor in made["tensors"] if tensor["logical"] is None]
    assert len(hidden) == 1
    assert hidden[0]["unknown"]["logical"]
    assert len(made["tensors"]) > 1
    listing = json.loads(run("params", str(tmp_path), "-f", "json").out)
    assert listing["totals"]["parameters"] is None
    assert hidden[0]["name"] in listing["totals"]["unknown"]["parameters"]


def test_backwards_over_a_model(run: Run) -> None:
    made = document(run, "--stored", "29360128x1", "builtin:huozi3")
    first = made["readings"][0]
    assert (first["scheme"], first["weights"]) == ("nf4", 58_720_256)
    assert sum(row["count"] for row in first["tensors"]) == 768
    text = run("pack", "--stored", "29360128x1", "builtin:huozi3").out
    assert "58,720,256 weights = 768 tensors here: w1, w2, w3 of 8 experts x 32 layers" in text


def fitting(made: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Scheme -> the rows of the model that it fits, of readings that fit any."""
    return {
        reading["scheme"]: {row["pattern"]: row["count"] for row in reading["tensors"]}
        for reading in made["readings"]
        if reading["tensors"]
    }


def test_backwards_a_shape_that_tells_the_logical_one_is_compared_with_it(run: Run) -> None:
    found = fitting(document(run, "--stored", "4096x14336", "builtin:huozi3"))
    assert {"int8", "fp8"} <= set(found)
    for rows in found.values():
        assert sum(rows.values()) == 256
        assert all("w2" in name for name in rows)


def test_backwards_over_a_checkpoint_that_is_packed(run: Run, tmp_path: Path) -> None:
    checkpoints.write(tmp_path, checkpoints.gpt_oss())
    found = fitting(document(run, "--stored", "32x5760x90x16", str(tmp_path)))
    assert list(found) == ["mxfp4"]
    assert sum(found["mxfp4"].values()) == 24
    assert all("gate_up_proj_blocks" in name for name in found["mxfp4"])
    assert not fitting(document(run, "--stored", "2880x4096", str(tmp_path)))  # plain BF16


def test_backwards_over_nf4_as_saved(run: Run, nf4_folder: Path) -> None:
    listed = json.loads(run("params", str(nf4_folder), "-f", "json").out)["tensors"]
    packed = next(row for row in listed if row["scheme"] == "nf4")
    shape = "x".join(map(str, packed["shape"]))
    found = fitting(document(run, "--stored", shape, str(nf4_folder)))
    same = [row for row in listed if row["shape"] == packed["shape"] and row["scheme"] == "nf4"]
    assert list(found) == ["nf4"]
    assert sum(found["nf4"].values()) == len(same)


def test_backwards_without_a_model_looks_at_none(run: Run) -> None:
    made = document(run, "--stored", "29360128x1")
    assert "model" not in made
    assert any(reading["weights"] == 58_720_256 for reading in made["readings"])


def test_a_shape_nobody_stores(run: Run) -> None:
    done = run("pack", "--stored", "8x8", "--storage", "c64")
    assert done.code == 0
    assert "no scheme stores" in done.out


@pytest.mark.parametrize("format_", ["table", "json", "jsonl", "csv", "tsv", "md"])
@pytest.mark.parametrize(
    "argv", [["--shape", "64x64"], ["builtin:bert-base-uncased"], ["--stored", "64x1"]]
)
def test_every_format(run: Run, argv: list[str], format_: str) -> None:
    done = run("pack", *argv, "-f", format_)
    assert done.code == 0
    assert done.out


def records(run: Run, *argv: str) -> list[dict[str, Any]]:
    done = run("pack", *argv, "-f", "jsonl")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_records_keep_why_something_is_unknown(run: Run, lying: Path) -> None:
    bad, good = records(run, str(lying))
    assert bad["logical_shape"] is None
    assert ".qzeros" in bad["unknown"]["logical_shape"]
    assert "unknown" not in good


def test_records_of_readings_list_their_tensors(run: Run) -> None:
    first = records(run, "--stored", "29360128x1", "builtin:huozi3")[0]
    assert sum(row["count"] for row in first["tensors"]) == 768
    assert all(row["tensors"] == [] for row in records(run, "--stored", "29360128x1"))


def test_parts_are_named_alike_in_both_directions(
    run: Run, nf4_folder: Path, tmp_path: Path
) -> None:
    there = document(run, str(nf4_folder))["tensors"][0]["parts"]
    made = document(run, "--shape", "64x64", "--double-quant")["parts"]
    saved = {part["name"] for part in there if "quant_state" not in part["name"]}
    assert saved == {part["name"] for part in made} - {"weight.nested_offset"}
    assert "weight.quant_state.bitsandbytes__nf4" in {part["name"] for part in there}
    checkpoints.write(tmp_path, checkpoints.gpt_oss())
    there = document(run, str(tmp_path))["tensors"][0]["parts"]
    made = document(run, "--shape", "64x64", "--scheme", "mxfp4")["parts"]
    assert [part["name"] for part in there] == [part["name"] for part in made]


@pytest.mark.parametrize(
    ("type_", "kind", "size", "share"),
    [("Q6_K", 14, 210, 16), ("Q4_K", 12, 144, 32), ("Q2_K", 10, 84, 16)],
)
def test_k_quants_share_scales_in_parts_of_a_block(
    run: Run, tmp_path: Path, type_: str, kind: int, size: int, share: int
) -> None:
    path = tmp_path / "m.gguf"
    tensor = gguf.Tensor("blk.0.ffn_up.weight", (512, 4), kind, bytes(8 * size))
    path.write_bytes(gguf.build([tensor], {"general.architecture": gguf.text("llama")}))
    assert document(run, str(path))["tensors"][0]["group"] == share
    done = run("pack", str(path), "--tensor", "blk.0.ffn_up")
    assert f"in blocks of 256, {share} of them share a scale" in done.out
    assert "total of 1 weight " in done.out
    made = document(run, "builtin:llama3-8b", "--scheme", type_)
    assert {tensor["group"] for tensor in made["tensors"]} == {share}


def test_verify_asks_the_library(run: Run) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra bnb")
    made = document(run, "--shape", "33x65", "--double-quant", "--verify")
    assert {row["verdict"] for row in made["verified"]} == {"equal"}
    assert len(made["verified"]) == len(made["parts"]) + 1  # a saved file adds its quant_state


def test_verify_of_a_scheme_the_library_has_not(run: Run) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra bnb")
    done = run("pack", "--shape", "64x64", "--scheme", "q8_0", "--verify")
    assert done.code == 2


@pytest.mark.parametrize("text", ["[]", '"gptq"', "null", "7"])
def test_a_declaration_of_the_wrong_type_is_a_warning(
    run: Run, nf4_folder: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "model.safetensors").symlink_to(nf4_folder / "model.safetensors")
    (tmp_path / "config.json").write_text(f'{{"quantization_config": {text}}}')
    (tmp_path / "hf_quant_config.json").write_text(text)
    done = run("params", str(tmp_path), "-f", "json")
    assert done.code == 0, done.err
    whole = json.loads(run("params", str(nf4_folder), "-f", "json").out)
    assert json.loads(done.out)["totals"]["parameters"] == whole["totals"]["parameters"]
