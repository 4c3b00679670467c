"""What files declare of quantization: as real libraries write it, and as nobody should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.facts import Note
from modelscope_cli.schemes import FAMILIES, declared
from tests.schemes import hostile

METHODS = {method for family in FAMILIES for method in family.methods}
AWQ = {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}
GPTQ = {"bits": 4, "group_size": 128, "desc_act": False, "damp_percent": 0.1}
MODELOPT: dict[str, Any] = {
    "producer": {"name": "modelopt", "version": "0.47.0"},
    "quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]},
}


def read(config: Any = None, **files: Any) -> tuple[Mapping[str, Any], list[str]]:
    found, notes = declared.read(config, {f"{name}.json": value for name, value in files.items()})
    assert all(isinstance(note, Note) and note.warning for note in notes)
    return found, [note.text for note in notes]


def quiet(config: Any = None, **files: Any) -> Mapping[str, Any]:
    found, notes = read(config, **files)
    assert not notes
    return found


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("BitsAndBytesConfig", {"load_in_4bit": True}, "bitsandbytes"),
        ("BitsAndBytesConfig", {"load_in_8bit": True}, "bitsandbytes"),
        ("GPTQConfig", {"bits": 4, "dataset": "c4"}, "gptq"),
        ("AwqConfig", {"bits": 4}, "awq"),
        ("Mxfp4Config", {}, "mxfp4"),
        ("NVFP4Config", {}, "nvfp4"),
        ("FineGrainedFP8Config", {}, "fp8"),
        ("FbgemmFp8Config", {}, "fbgemm_fp8"),
    ],
)
def test_transformers_own_configurations(name: str, options: dict[str, Any], method: str) -> None:
    transformers = pytest.importorskip(
        "transformers.utils.quantization_config", reason="transformers is not in the test extra"
    )
    raw = json.loads(json.dumps(getattr(transformers, name)(**options).to_dict(), default=str))
    found = quiet({"quantization_config": raw})
    assert found["quant_method"] == method
    assert method in METHODS
    assert {**raw, **found} == {**found}
    raw.pop("quant_method")
    if method == "bitsandbytes":  # the only one that transformers knows without
        assert quiet({"quantization_config": raw})["quant_method"] == method


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        ({"quant_method": "GPTQ", "bits": 4}, "gptq"),
        ({"quant_method": "sparseml"}, "compressed-tensors"),
        ({"quant_method": "modelopt_fp4"}, "modelopt"),
        ({"quant_method": "bitsandbytes_4bit"}, "bitsandbytes"),
        ({"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}, "gptq"),
        ({"quant_method": "intel/auto-round", "packing_format": "auto_round:awq"}, "awq"),
        ({"quant_method": "auto-round", "packing_format": 3}, "auto-round"),
        ({"quant_method": "hqq"}, "hqq"),
        ({"load_in_8bit": True, "load_in_4bit": False}, "bitsandbytes"),
        ({"config_groups": {}, "format": "pack-quantized"}, "compressed-tensors"),
        ({"quant_algo": "FP8"}, "modelopt"),
        ({"bits": 4, "desc_act": False}, "gptq"),
        (AWQ, "awq"),
    ],
)
def test_the_method_by_name_or_by_its_keys(raw: dict[str, Any], method: str) -> None:
    assert quiet({"quantization_config": raw})["quant_method"] == method


def test_a_method_that_nothing_tells_is_not_invented() -> None:
    assert quiet({"quantization_config": {"bits": 4}}) == {"bits": 4}
    assert quiet({"compression_config": {"ignore": []}})["quant_method"] == "compressed-tensors"


@pytest.mark.parametrize("path", [["text_config"], ["thinker_config", "text_config"]])
def test_sub_configs_are_looked_into(path: list[str]) -> None:
    config: dict[str, Any] = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    for key in reversed(path):
        config = {"model_type": "x", key: config}
    assert quiet(config) == {"quant_method": "awq", "bits": 4}


def test_modelopts_own_file() -> None:
    found = quiet(hf_quant_config=MODELOPT)
    assert found == {"quant_method": "modelopt", **MODELOPT["quantization"]}


def test_autogptqs_and_autoawqs_own_files() -> None:
    assert quiet(quantize_config=GPTQ) == {"quant_method": "gptq", **GPTQ}
    assert quiet(quantize_config={"bits": 4})["quant_method"] == "gptq"
    found = quiet(quant_config=AWQ)
    assert found == {"quant_method": "awq", **AWQ, "bits": 4, "group_size": 128}


def test_another_file_fills_in_what_config_json_leaves_out() -> None:
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = quiet(config, quantize_config={"bits": 4, "group_size": 64})
    assert found == {"quant_method": "gptq", "bits": 4, "group_size": 64}
    config = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    found = quiet(config, quantize_config={"bits": 4, "group_size": 64})
    assert found["quant_method"] == "awq"


def test_files_that_contradict_each_other_are_told() -> None:
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    found, notes = read(config, quantize_config={"bits": 8, "group_size": 128}, quant_config=AWQ)
    assert found["bits"] == 4
    assert notes == [
        "quantize_config.json says bits 8 instead of 4; config.json: quantization_config is taken",
        "quant_config.json says quant_method awq instead of gptq; "
        "config.json: quantization_config is taken",
    ]
    config = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}
    assert "quant_algo NVFP4 instead of FP8" in read(config, hf_quant_config=MODELOPT)[1][0]


@pytest.mark.parametrize(
    ("value", "is_"),
    [(["mxfp4"], "a list"), ("mxfp4", "text"), (4, "a number"), (True, "a truth value")],
)
def test_wrong_types_are_told_and_ignored(value: Any, is_: str) -> None:
    said = f"is {is_}, not an object: it is ignored, tensor names decide"
    assert read({"quantization_config": value}) == (
        {}, [f"config.json: quantization_config {said}"]
    )  # fmt: skip
    assert read(hf_quant_config={"quantization": value}) == (
        {}, [f"hf_quant_config.json: quantization {said}"]
    )  # fmt: skip
    assert read(quant_config=value) == ({}, [f"quant_config.json {said}"])


def test_a_method_of_the_wrong_type() -> None:
    found, notes = read({"quantization_config": {"quant_method": ["gptq"], "bits": 4}})
    assert found == {"bits": 4}
    assert notes == [
        "config.json: quantization_config.quant_method is a list, not text: "
        "it is ignored, tensor names decide"
    ]


@pytest.mark.parametrize("config", [None, {}, {"quantization_config": None}, {"text_config": {}}])
def test_nothing_declared(config: Any) -> None:
    assert quiet(config) == {}
    assert quiet(config, quant_config={}, hf_quant_config={}) == {}


def test_hostile_values_stay_short_in_notes() -> None:
    config = {"quantization_config": {"quant_method": "gptq" * 10_000, "bits": 10**5000}}
    _, notes = read(config, quantize_config={"quant_method": "awq", "bits": [[]]})
    assert len(notes[0]) < 300
    many = {f"{n}_config": {"quantization_config": n} for n in range(1000)}
    assert read(many)[1] == [
        f"config.json: 0_config.quantization_config (and {declared.MAX_PLACES - 1} more) is "
        "a number, not an object: it is ignored, tensor names decide"
    ]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"group_size": 0}, "group_size 0"),
        ({"group_size": -7}, "group_size -7"),
        ({"group_size": "128"}, "group_size '128'"),
        ({"group_size": True}, "group_size True"),
        ({"bits": 0}, "bits 0"),
        ({"bits": 400}, "bits 400"),
        ({"bits": [4]}, "bits [4]"),
        ({"weight_block_size": [0, 0]}, "weight_block_size [0, 0]"),
        ({"weight_block_size": 128}, "weight_block_size 128"),
        ({"config_groups": [1]}, "config_groups [1]"),
        ({"config_groups": {"a": 3}}, "a group of config_groups 3"),
        ({"config_groups": {"a": {"weights": {"num_bits": 0}}}}, "num_bits 0"),
        ({"config_groups": {n: {"weights": {"group_size": 0}} for n in "abc"}}, "group_size 0"),
        ({"group_size": 0, "bits": -1}, "group_size 0, bits -1"),
    ],
)
def test_what_makes_no_sense_is_told_once(raw: dict[str, Any], said: str) -> None:
    _, notes = read({"quantization_config": raw, "text_config": {"quantization_config": raw}})
    assert notes == [
        f"the quantization config says {said}, which makes no sense: tensor names and shapes decide"
    ]


def test_whole_rows_and_absent_sizes_make_sense() -> None:
    weights = {"num_bits": 8, "group_size": None, "block_structure": [128, 128]}
    quiet({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": -1}})
    quiet({"quantization_config": {"config_groups": {"a": {"weights": weights}, "b": {}}}})
    quiet({"quantization_config": {"weight_block_size": None, "quant_method": "fp8"}})
    quiet(hf_quant_config={"quantization": {"quant_algo": "FP8", "group_size": 0}})


@given(
    st.none() | hostile.declarations("quantization_config", "compression_config", "text_config"),
    st.dictionaries(
        st.sampled_from(["hf_quant_config.json", "quantize_config.json", "quant_config.json"]),
        hostile.JSON | hostile.declarations("quantization", "quant_method", "bits", "w_bit"),
    ),
)
def test_nothing_declared_raises(config: Any, others: dict[str, Any]) -> None:
    found, _ = declared.read(config, others)
    assert isinstance(found.get("quant_method", ""), str)
