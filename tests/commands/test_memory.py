"""`mscope memory`: what is asked, what comes back, and models that are not as they should be."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.analysis import packing
from modelscope_cli.render import FORMATS
from modelscope_cli.sources.builtin import NAMES
from tests.builders import checkpoints, folders, safetensors
from tests.builders.checkpoints import LLAMA_TINY
from tests.builders.safetensors import Tensor
from tests.corpus.make_folder import MODULES
from tests.documents import document
from tests.running import Completed, Run

ROWS = ["stored", "32", "16", "8", "4"]
LOADED = ("weights", "quantization", "buffers")
CONFIG = {**LLAMA_TINY.config, "max_position_embeddings": 8192}


def _tensors(config: dict[str, Any] | None = None, dtype: str = "BF16") -> list[Tensor]:
    """The tiny Llama's, unquantized."""
    sizes = config or CONFIG
    hidden, wide = sizes["hidden_size"], sizes["intermediate_size"]
    narrow = hidden // sizes["num_attention_heads"] * sizes["num_key_value_heads"]
    linear = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide), "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }  # fmt: skip
    vocabulary = sizes["vocab_size"]
    return [
        Tensor("model.embed_tokens.weight", dtype, (vocabulary, hidden)),
        *(
            Tensor(f"model.layers.{layer}.{name}.weight", dtype, shape)
            for layer in range(2)
            for name, shape in linear.items()
        ),
        Tensor("model.norm.weight", dtype, (hidden,)),
        Tensor("lm_head.weight", dtype, (vocabulary, hidden)),
    ]


WEIGHTS = safetensors.build(_tensors())
ELEMENTS = sum(tensor.bytes for tensor in _tensors()) // 2


def _packed() -> dict[str, checkpoints.Checkpoint]:
    sizes = LLAMA_TINY
    return {
        "nf4": checkpoints.llama(sizes, checkpoints.nf4, checkpoints.BNB_4BIT),
        "gptq": checkpoints.llama(sizes, checkpoints.gptq, checkpoints.GPTQ_4BIT),
        "mxfp4": checkpoints.gpt_oss(checkpoints.GPT_OSS_TINY),
    }


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`./m`: a Llama of two layers; `./nf4`, `./gptq`, `./mxfp4`: packed ones."""
    root = tmp_path_factory.mktemp("memory")
    folders.write(root / "m", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    for name, checkpoint in _packed().items():
        checkpoints.write(root / name, checkpoint)
    return root


@pytest.fixture
def memory(run: Run, work: Path) -> Any:
    """`memory("--bits", "4")` for the model `m`; its document, held against the schema."""

    def run_it(*argv: str, model: str = "m") -> dict[str, Any]:
        done = run("memory", model, "--json", *argv, cwd=work)
        assert done.code == 0, done.err
        return _checked(document(done.out))

    return run_it


def _checked(made: dict[str, Any]) -> dict[str, Any]:
    """What holds of every row of every document."""
    assert made["rows"][0] == {key: made[key] for key in made["rows"][0]}
    for row in made["rows"]:
        sizes = {part["part"]: part["bytes"] for part in row["parts"]}
        assert list(sizes)[:5] == [*LOADED, "kv_cache", "activations"]
        loaded = [sizes[part] for part in LOADED]
        assert row["load_bytes"] == (None if None in loaded else sum(loaded))
        _check_total(row)
        assert sizes["kv_cache"] == row["kv_cache"]["bytes"]
        layers = row["kv_cache"]["layers"]
        assert sum(layer["bytes"] for layer in layers) == (row["kv_cache"]["bytes"] or 0)
        assert all(part["unknown"]["bytes"] for part in row["parts"] if part["bytes"] is None)
    return made


def _check_total(row: dict[str, Any]) -> None:
    parts = row["parts"]
    known = sum(part["bytes"] or part.get("at_least_bytes", 0) for part in parts)
    bases = {part["basis"] for part in parts}
    assert row["total_basis"] == ("estimate" if "estimate" in bases else "exact")
    assert row["card_basis"] == ("assumption" if row["runtime_bytes"] else row["total_basis"])
    if any(part["bytes"] is None for part in parts):
        assert row["total_bytes"] is row["card_bytes"] is None
        assert row["at_least_bytes"] == known
        assert {"total_bytes", "card_bytes"} <= set(row["unknown"])
        return
    assert row["total_bytes"] == known
    peak = row["kv_cache"]["peak_bytes"] - row["kv_cache"]["bytes"]
    assert row["card_bytes"] == known + peak + row["runtime_bytes"]


def _part(row: dict[str, Any], name: str) -> Any:
    return next(part["bytes"] for part in row["parts"] if part["part"] == name)


def _row(made: dict[str, Any], bits: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in made["rows"] if row["bits"] == bits)
    return found


# The default model


def test_the_default_model(run: Run) -> None:
    done = run("memory")
    assert done.code == 0
    assert "builtin:huozi3 (the default; name a MODEL to see yours)" in done.out
    told = (
        "4 bit: 85.58 GiB, hardly below 87.37 GiB: transformers 5 fuses the experts and "
        "bitsandbytes skips them; under 4.x 25.20 GiB"
    )
    assert told in done.out
    assert "46.9B, 13.1B active a token" in done.out
    assert "128.00 KiB a token: 4,096 -> 512.00 MiB, 32,768 (limit) -> 4.00 GiB" in done.out
    assert "16 bit = as stored, bf16" in done.out


def test_the_default_model_in_numbers(run: Run) -> None:
    made = _checked(document(run("memory", "--json").out))
    assert made["model"]["default"] is True
    assert [row["bits"] for row in made["rows"]] == ROWS
    assert _part(made, "weights") == 93_815_218_176
    assert _part(_row(made, "32"), "weights") == 187_630_436_352
    assert _part(made, "kv_cache") == 512 * 2**20
    assert made["parameters"] == {"total": 46_907_609_088, "active": 13_084_741_632}
    four = _row(made, "4")
    assert _part(four, "weights") + _part(four, "quantization") == 91_885_846_528
    (other,) = four["alternatives"]
    assert other["transformers"] == "4.x"
    kept = {each["reason"]: each["bytes"] for each in four["unquantized"]}
    assert max(kept.values()) > 0.3 * made["load_bytes"]


def test_the_default_model_under_transformers_4(run: Run) -> None:
    done = run("memory", "--bits", "4", "--transformers", "4", "--json")
    made = _checked(document(done.out))
    assert _part(made, "weights") + _part(made, "quantization") == 27_057_227_776
    assert made["basis"] == "estimate"
    assert made["request"]["transformers"] == 4
    assert [each["transformers"] for each in made["alternatives"]] == ["5.x"]


@pytest.mark.parametrize("name", NAMES)
def test_builtins(run: Run, name: str) -> None:
    made = _checked(document(run("memory", f"builtin:{name}", "--json").out))
    assert (made["load_basis"], made["total_basis"]) == ("exact", "estimate")
    if name.startswith(("bert", "clip")):
        assert made["kv_cache"]["bytes"] == 0


# The rows


def test_all_rows(memory: Any) -> None:
    made = memory()
    assert [row["bits"] for row in made["rows"]] == ROWS
    assert [_part(row, "weights") for row in made["rows"][:3]] == [
        2 * ELEMENTS, 4 * ELEMENTS, 2 * ELEMENTS,
    ]  # fmt: skip
    assert [row["load_basis"] for row in made["rows"]] == ["exact"] * 5
    assert [row["basis"] for row in made["rows"]] == ["estimate"] * 5  # with its activations


@pytest.mark.parametrize("bits", ROWS)
def test_one_row(memory: Any, bits: str) -> None:
    made = memory("--bits", bits)
    assert [row["bits"] for row in made["rows"]] == [bits]
    assert made["load_bytes"] == _row(memory(), bits)["load_bytes"]


def test_quantized_and_not(memory: Any) -> None:
    made = memory("--bits", "8")
    hidden, wide, narrow, vocabulary = 64, 192, 32, 256
    weights = 2 * (2 * hidden * hidden + 2 * narrow * hidden + 3 * wide * hidden)
    outputs = 2 * (2 * hidden + 2 * narrow + 2 * wide + hidden)
    assert made["quantized"] == {"modules": 14, "parameters": weights}
    assert _part(made, "weights") == weights + 2 * (2 * vocabulary * hidden + 5 * hidden)
    assert _part(made, "quantization") == 4 * outputs
    left = {each["pattern"]: each for each in made["unquantized"]}
    assert sum(each["bytes"] for each in left.values()) == _part(made, "weights") - weights
    assert left["model.layers.{0,1}.input_layernorm.weight"]["count"] == 2
    assert "head" in left["lm_head.weight"]["reason"]


def test_double_quant(memory: Any) -> None:
    plain, double = memory("--bits", "4"), memory("--bits", "4", "--double-quant")
    assert double["request"]["double_quant"] is True
    assert _part(double, "weights") == _part(plain, "weights")
    blocks = plain["quantized"]["parameters"] // 64
    saved = 3 * blocks - 14 * (1024 + 4) - 4 * 14  # a nested_absmax of one block each
    assert _part(plain, "quantization") - _part(double, "quantization") == saved


@pytest.mark.parametrize("scheme", ["fp4", "nf4"])
def test_both_kinds_of_four_bits_weigh_the_same(memory: Any, scheme: str) -> None:
    made = memory("--quant", scheme)
    assert made["request"]["quant"] == scheme
    assert made["load_bytes"] == memory("--bits", "4")["load_bytes"]
    assert scheme in made["method"]


@pytest.mark.parametrize("scheme", ["gptq", "awq", "fp8", "mxfp4", "nvfp4", "q8_0", "q4_0"])
def test_ideal_packing_is_an_estimate(memory: Any, scheme: str) -> None:
    made = memory("--quant", scheme)
    assert (made["bits"], made["request"]["quant"], made["basis"]) == (scheme, scheme, "estimate")
    assert made["alternatives"] == []
    if made["load_bytes"] is None:  # nothing here is as wide as its groups
        assert scheme in made["unknown"]["load_bytes"]
    else:
        assert made["load_bytes"] < memory("--bits", "16")["load_bytes"]


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_every_scheme_answers(run: Run, work: Path, scheme: str) -> None:
    done = run("memory", "m", "--quant", scheme, cwd=work)
    assert done.code == 0
    assert scheme in done.out


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("f16", 2), ("bf16", 2)])
def test_dtype(memory: Any, dtype: str, size: int) -> None:
    made = memory("--dtype", dtype, "--bits", "stored")
    assert _part(made, "weights") == size * ELEMENTS
    assert made["kv_cache"]["bytes_per_token"] == 2 * 2 * 2 * 16 * size
    eight = memory("--dtype", dtype, "--bits", "8")
    assert sum(each["bytes"] for each in eight["unquantized"]) == size * (2 * 256 * 64 + 5 * 64)


def test_packed_checkpoints_as_stored(memory: Any) -> None:
    for name, checkpoint in _packed().items():
        made = memory("--bits", "stored", model=name)
        if name != "nf4":  # whose saved state is some JSON
            total = sum(tensor.bytes for tensor in checkpoint.tensors)
            assert _part(made, "weights") + _part(made, "quantization") == total, name


@pytest.mark.parametrize(("model", "bits"), [("gptq", "4"), ("gptq", "8"), ("mxfp4", "4")])
def test_packed_checkpoints_are_not_packed_again(memory: Any, model: str, bits: str) -> None:
    made = memory("--bits", bits, model=model)
    assert made["load_bytes"] is made["total_bytes"] is None
    assert "quantize the original" in made["unknown"]["load_bytes"]
    assert made["kv_cache"]["bytes"] > 0  # what can be known is


@pytest.mark.parametrize("model", ["nf4", "gptq", "mxfp4"])
def test_packed_checkpoints_unpacked(memory: Any, model: str) -> None:
    made = memory(model=model)
    assert _row(made, "16")["basis"] == "estimate"
    assert _row(made, "32")["load_bytes"] > 1.9 * _row(made, "16")["load_bytes"]
    assert _row(made, "16")["load_bytes"] > made["load_bytes"]


# What is run


def test_context_and_batch(memory: Any) -> None:
    token = 2 * 2 * 2 * 16 * 2
    assert memory()["kv_cache"]["bytes"] == 4096 * token
    made = memory("--context", "32k", "--batch", "3")
    assert made["kv_cache"]["bytes"] == 3 * 32768 * token
    assert (made["request"]["context"], made["request"]["batch"]) == (32768, 3)
    assert memory("--context", "max")["kv_cache"]["bytes"] == 8192 * token


def test_the_default_context_is_told(run: Run, work: Path) -> None:
    assert (
        "context 4,096 of 8,192 possible; --context N asks for another"
        in run("memory", "m", cwd=work).err
    )
    assert "--context N" not in run("memory", "m", "--context", "100", cwd=work).err


def test_a_short_limit_is_the_default(memory: Any, work: Path) -> None:
    config = {**CONFIG, "max_position_embeddings": 512}
    folders.write(work / "short", {"config.json": config, "model.safetensors": WEIGHTS})
    made = memory(model="short")
    assert made["request"]["context"] == made["context_limit"] == 512


def test_beyond_the_limit(run: Run, work: Path) -> None:
    done = run("memory", "m", "--context", "10000", "--json", "-q", cwd=work)
    assert done.code == 0
    assert "--context 10,000 is beyond the model's limit of 8,192" in done.err
    assert document(done.out)["kv_cache"]["bytes"] == 10_000 * 256


@pytest.mark.parametrize(
    ("dtype", "bits"), [("fp8", 8), ("int8", 8), ("f32", 32), ("bf16", 16), ("fp8_e5m2", 8)]
)
def test_kv_dtype(memory: Any, dtype: str, bits: int) -> None:
    made = memory("--kv-dtype", dtype, "--bits", "stored")
    assert made["kv_cache"]["bytes_per_token"] == 2 * 2 * 2 * 16 * bits // 8
    assert _part(made, "weights") == 2 * ELEMENTS


def test_llama_cpp_s_caches_are_of_ggufs(run: Run, work: Path) -> None:
    done = run("memory", "m", "--kv-dtype", "q8_0", cwd=work)
    assert (done.code, done.out) == (2, "")
    assert "only llama.cpp has it" in done.err


@pytest.mark.parametrize(("runtime", "count"), [("0", 0), ("1GiB", 2**30), ("1GB", 10**9)])
def test_runtime(memory: Any, runtime: str, count: int) -> None:
    made = memory("--runtime", runtime, "--bits", "4")
    assert made["runtime_bytes"] == count
    assert made["card_bytes"] - made["total_bytes"] == count
    assert memory("--bits", "4")["runtime_bytes"] == 512 * 2**20


@pytest.mark.parametrize(
    ("alias", "own", "value"),
    [("--max-model-len", "--context", "100"), ("--batch-size", "--batch", "3"),
     ("--kv-cache-dtype", "--kv-dtype", "fp8")],
)  # fmt: skip
def test_hidden_aliases(memory: Any, run: Run, alias: str, own: str, value: str) -> None:
    assert memory(alias, value) == memory(own, value)
    assert memory(f"{alias}={value}") == memory(own, value)
    assert alias not in run("memory", "--help").out
    assert run("params", "m", alias, value).code == 2


# What is refused


@pytest.mark.parametrize(
    "argv",
    [
        ["--bits", "5"], ["--bits", ""], ["--bits", "04"], ["--bits", "Stored"],
        ["--quant", "gptqq"], ["--quant", ""], ["--bits", "8", "--quant", "nf4"],
        ["--bits", "16", "--double-quant"], ["--quant", "int8", "--double-quant"],
        ["--dtype", "int8"], ["--dtype", "f8"], ["--bits", "32", "--dtype", "bf16"],
        ["--transformers", "3"], ["--transformers", "5.1"],
        ["--batch", "0"], ["--batch", "x"], ["--batch", "fit"],
        ["--context", "0"], ["--context", "1g"], ["--context", "-1"], ["--context", "fit"],
        ["--context", "9" * 30], ["--encoder-context", "0"], ["--encoder-context", "x"],
        ["--kv-dtype", "q3"], ["--kv-dtype", "int4"], ["--runtime", "x"], ["--runtime", "-1"],
        ["--check"], ["--gpus", ""], ["--gpus", "0x24GiB"], ["--gpus", "x"],
        ["--gpus", "2xnonesuch"], ["--gpus", "4x"], ["--train", "some"],
        ["--optimizer", "sgd"], ["--lora-rank", "0"], ["extra", "argument"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_refused(run: Run, work: Path, argv: list[str]) -> None:
    done = run("memory", "m", *argv, cwd=work)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("mscope: error: ")
    assert len(done.err.splitlines()) <= 2


def test_near_names(run: Run, work: Path) -> None:
    assert "did you mean gptq" in run("memory", "m", "--quant", "gptqq", cwd=work).err


def test_max_without_a_limit(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, {"model.safetensors": folders.weights("a")})
    done = run("memory", ".", "--context", "max", cwd=tmp_path)
    assert done.code == 2
    assert "--context max" in done.err


# Cards


def test_cards(memory: Any) -> None:
    made = memory("--gpus", "1x24GiB", "--bits", "16")
    assert made["fits"] is True
    (device,) = made["devices"]
    assert device["device"] == "cuda:0"
    assert device["bytes"] == made["load_bytes"]
    assert device["capacity_bytes"] == 24 * 2**30


@pytest.mark.parametrize(("gpus", "code"), [("1x24GiB", 0), ("1x100MiB", 1)])
def test_check(run: Run, work: Path, gpus: str, code: int) -> None:
    asked = run("memory", "m", "--gpus", gpus, "--json", cwd=work)
    checked = run("memory", "m", "--gpus", gpus, "--json", "--check", cwd=work)
    assert (asked.code, checked.code) == (0, code)
    assert asked.out == checked.out
    assert document(asked.out)["fits"] is (code == 0)


def test_as_much_context_as_fits(run: Run, work: Path, memory: Any) -> None:
    made = memory("--gpus", "1GiB", "--context", "fit", "--bits", "16", "--batch", "200")
    fits = made["request"]["context"]
    assert made["fits"] is True
    assert made["card_bytes"] <= 2**30
    more = run(
        "memory", "m", "--gpus", "1GiB", "--context", str(fits + 1), "--bits", "16", "--check",
        "--batch", "200", cwd=work,
    )  # fmt: skip
    assert more.code == (0 if fits == made["context_limit"] else 1)


def test_as_many_sequences_as_fit(run: Run, work: Path, memory: Any) -> None:
    made = memory("--gpus", "1GiB", "--batch", "fit", "--bits", "4", "--context", "8192")
    fits = made["request"]["batch"]
    assert fits > 1
    assert made["card_bytes"] <= 2**30
    more = run(
        "memory", "m", "--gpus", "1GiB", "--batch", str(fits + 1), "--bits", "4", "--check",
        "--context", "8192", cwd=work,
    )  # fmt: skip
    assert more.code == 1


# Models that are not as they should be


def _made(run: Run, folder: Path, files: Mapping[str, object], *argv: str) -> Completed:
    folders.write(folder / "x", files)
    done = run("memory", "x", *argv, cwd=folder)
    assert "fault of mscope" not in done.err
    assert done.code in (0, 2, 3, 4), done.err
    return done


def _answer(run: Run, folder: Path, files: Mapping[str, object], *argv: str) -> dict[str, Any]:
    done = _made(run, folder, files, "--json", *argv)
    assert done.code == 0, done.err
    return _checked(document(done.out))


def test_a_configuration_alone(run: Run, tmp_path: Path) -> None:
    made = _answer(run, tmp_path, {"config.json": CONFIG})
    assert made["load_bytes"] is None
    assert "no weight files" in made["unknown"]["load_bytes"]
    assert made["kv_cache"]["bytes"] == 4096 * 256
    assert made["parameters"]["total"] is None


@pytest.mark.parametrize("key", sorted(CONFIG))
@pytest.mark.parametrize("value", ["gone", None, "x", -1, 10**30, 1.5, [], {}])
def test_a_key_that_makes_no_sense(run: Run, tmp_path: Path, key: str, value: object) -> None:
    config: dict[str, Any] = {**CONFIG, key: value}
    if value == "gone":
        del config[key]
    made = _answer(run, tmp_path, {"config.json": config, "model.safetensors": WEIGHTS})
    assert len(json.dumps(made)) < 60_000
    if made["load_bytes"] is not None and key != "torch_dtype":
        assert made["load_bytes"] >= 2 * ELEMENTS - 2 * 256 * 64


@pytest.mark.parametrize(
    "config",
    [{"head_dim": None}, {"num_attention_heads": 7}, {"num_attention_heads": 0},
     {"rope_scaling": None}, {"layer_types": ["full_attention"]}, {"sliding_window": -3}],
    ids=str,
)  # fmt: skip
def test_configurations_that_contradict_themselves(
    run: Run, tmp_path: Path, config: dict[str, Any]
) -> None:
    files = {"config.json": {**CONFIG, **config}, "model.safetensors": WEIGHTS}
    made = _answer(run, tmp_path, files)
    assert (made["load_bytes"] or made["load_at_least_bytes"]) >= 2 * ELEMENTS


def test_fewer_layers_than_the_file_has(run: Run, tmp_path: Path) -> None:
    config = {**CONFIG, "num_hidden_layers": 1}
    made = _answer(run, tmp_path, {"config.json": config, "model.safetensors": WEIGHTS})
    whole = {tensor.name: tensor.bytes for tensor in _tensors()}
    beyond = sum(size for name, size in whole.items() if name.startswith("model.layers.1."))
    assert _part(made, "weights") in (2 * ELEMENTS - beyond, 2 * ELEMENTS)
    assert made["kv_cache"]["bytes"] == 4096 * 128


def test_an_unknown_model_type(run: Run, tmp_path: Path) -> None:
    config = {**CONFIG, "model_type": "nobody", "architectures": ["NobodyForCausalLM"]}
    files = {"config.json": config, "model.safetensors": WEIGHTS}
    made = _answer(run, tmp_path, files)
    assert made["basis"] == "estimate"
    assert _part(made, "weights") == 2 * ELEMENTS
    assert "no class of transformers is known as NobodyForCausalLM" in made["parts"][0]["reason"]
    four = _row(made, "4")
    assert four["quantized"]["modules"] >= 14
    assert _part(made, "buffers") is made["load_bytes"] is made["total_bytes"] is None
    assert made["load_at_least_bytes"] == 2 * ELEMENTS
    done = run("memory", str(tmp_path / "x"), "--gpus", "1x80GiB", "--check")
    assert (done.code, "cannot be shown to fit" in done.out) == (1, True)
    assert "16 bit = as stored" in done.out
    done = run("memory", str(tmp_path / "x"), "--gpus", "1x1MiB", "--json")
    assert document(done.out)["fits"] is False  # what is known is too much


def test_remote_code_is_never_run(run: Run, tmp_path: Path) -> None:
    config = {**CONFIG, "model_type": "own", "architectures": ["Own"],
              "auto_map": {"AutoModel": "modeling.Own"}}  # fmt: skip
    files = {
        "config.json": config, "model.safetensors": WEIGHTS,
        "modeling.py": "import pathlib; pathlib.Path('run').touch()",
    }  # fmt: skip
    made = _answer(run, tmp_path, files)
    assert "the model's own code, which is never run" in made["parts"][0]["reason"]
    assert not list(tmp_path.rglob("run"))


def test_weights_without_a_configuration(run: Run, tmp_path: Path) -> None:
    made = _answer(run, tmp_path, {"model.safetensors": WEIGHTS})
    assert (made["basis"], _part(made, "weights")) == ("estimate", 2 * ELEMENTS)
    assert made["kv_cache"]["bytes"] is None
    assert made["total_bytes"] is None
    assert made["at_least_bytes"] >= 2 * ELEMENTS


def test_an_empty_file(run: Run, tmp_path: Path) -> None:
    files = {"config.json": CONFIG, "model.safetensors": safetensors.build([])}
    made = _answer(run, tmp_path, files)
    assert _part(made, "weights") == 0
    made = _answer(run, tmp_path / "alone", {"model.safetensors": safetensors.build([])})
    assert _part(made, "weights") == 0


def test_a_pipeline(run: Run, tmp_path: Path) -> None:
    """sentence-transformers: the model in the folder itself, a dense layer in its own."""
    files = {
        "modules.json": MODULES,
        "config.json": {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 4},
        "model.safetensors": safetensors.build(
            [Tensor("embeddings.word_embeddings.weight", "F32", (10, 4)),
             Tensor("encoder.layer.0.attention.self.query.weight", "F32", (4, 4))]
        ),
        "2_Dense/model.safetensors": safetensors.build([Tensor("linear.weight", "F32", (4, 4))]),
        "2_Dense/config.json": {"in_features": 4, "out_features": 4},
    }  # fmt: skip
    made = _answer(run, tmp_path, files)
    assert _part(made, "weights") == 4 * (40 + 16 + 16)
    assert _part(_row(made, "16"), "weights") == 2 * (40 + 16 + 16)


def test_an_adapter(run: Run, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "org/base"}
    names = [f"base_model.model.model.layers.0.self_attn.q_proj.lora_{ab}.weight" for ab in "AB"]
    tensors = [Tensor(names[0], "F32", (8, 64)), Tensor(names[1], "F32", (64, 8))]
    files = {"adapter_config.json": config,
             "adapter_model.safetensors": safetensors.build(tensors)}  # fmt: skip
    made = _answer(run, tmp_path, files)
    assert (made["basis"], _part(made, "weights")) == ("estimate", 4 * 2 * 512)
    assert made["kv_cache"]["bytes"] is None


def test_names_that_are_not_to_be_trusted(run: Run, tmp_path: Path) -> None:
    tensors = [Tensor("a\x1b[31m\n::error::.weight", "F32", (64, 64)),
               Tensor(f"layers.{'9' * 5_000}.weight", "F32", (64, 64)),
               Tensor("{}.{0..9}.weight", "F32", (64, 64))]  # fmt: skip
    config = {**CONFIG, "model_type": "\x1b[2J", "architectures": ["\u202e" * 500]}
    files = {"config.json": config, "model.safetensors": safetensors.build(tensors)}
    for format_ in FORMATS:
        done = _made(run, tmp_path, files, "-f", format_)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
        assert "\u202e" not in done.out + done.err
        assert not any(line.startswith("::") for line in done.out.splitlines())


# Formats, settings, code


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("argv", [[], ["--bits", "4"], ["--gpus", "2x24GiB"]], ids=" ".join)
def test_formats(run: Run, work: Path, format_: str, argv: list[str]) -> None:
    done = run("memory", "m", "-f", format_, *argv, cwd=work)
    assert done.code == 0
    assert done.out.endswith("\n")
    assert not set(done.out) & set("█▏▌")  # bars are for terminals


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_records(run: Run, work: Path, memory: Any, delimiter: str) -> None:
    format_ = "csv" if delimiter == "," else "tsv"
    out = run("memory", "m", "-f", format_, cwd=work).out
    rows = list(csv.DictReader(out.splitlines(), delimiter=delimiter))
    made = memory()
    assert [row["bits"] for row in rows] == ROWS
    assert [int(row["load_bytes"]) for row in rows] == [row["load_bytes"] for row in made["rows"]]
    lines = [
        json.loads(line) for line in run("memory", "m", "-f", "jsonl", cwd=work).out.splitlines()
    ]
    assert [line["card_bytes"] for line in lines] == [row["card_bytes"] for row in made["rows"]]
    assert [line["kv_cache"] for line in lines] == [_part(row, "kv_cache") for row in made["rows"]]


def test_markdown(run: Run, work: Path) -> None:
    lines = run("memory", "m", "-f", "md", cwd=work).out.splitlines()
    assert any(line.startswith("| 4 bit, bitsandbytes nf4") for line in lines)
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in tables} <= {3, 5, 6, 7, 8, 9}


def test_equal_rows_are_one(run: Run, work: Path) -> None:
    out = run("memory", "m", cwd=work).out
    assert "16 bit = as stored, bf16" in out
    assert len([line for line in out.splitlines() if line.startswith("32 bit, f32")]) == 1


@pytest.mark.parametrize("value", ["4", '"4"'])
def test_settings(run: Run, work: Path, value: str) -> None:
    folders.write(work / "set", {"mscope.toml": f'[memory]\nbits = {value}\ncontext = "1k"\n'})
    asked = run("memory", "../m", "--json", cwd=work / "set")
    assert asked.code == 0, asked.err
    made = document(asked.out)
    assert (made["bits"], made["request"]["context"]) == ("4", 1024)
    over = run("memory", "../m", "--json", "--bits", "8", cwd=work / "set")
    assert document(over.out)["bits"] == "8"


@pytest.mark.parametrize("value", ["5", "[4]", "4.0", "true"])
def test_settings_that_do_not_fit(run: Run, work: Path, value: str) -> None:
    folders.write(work / "bad", {"mscope.toml": f"[memory]\nbits = {value}\n"})
    assert run("memory", "../m", cwd=work / "bad").code == 2


def test_the_environment(run: Run, work: Path) -> None:
    done = run("memory", "m", "--json", cwd=work, env={"MSCOPE_BITS": "8"})
    assert document(done.out)["bits"] == "8"


@pytest.mark.parametrize("argv", [[], ["--bits", "4"], ["--bits", "8"], ["--quant", "fp4"]])
@pytest.mark.parametrize("gpus", [[], ["--gpus", "2x24GiB"]])
def test_code(run: Run, work: Path, argv: list[str], gpus: list[str]) -> None:
    done = run("memory", "m", "--code", *argv, *gpus, cwd=work)
    assert done.code == 0
    made = ast.parse(done.out)
    calls = [node for node in ast.walk(made) if isinstance(node, ast.Call)]
    assert ast.unparse(calls[0].func) == "LlamaForCausalLM.from_pretrained"
    assert ast.literal_eval(calls[0].args[0]) == str(work / "m")


def test_code_for_what_no_library_does(run: Run, work: Path) -> None:
    done = run("memory", "m", "--code", "--quant", "gptq", cwd=work)
    assert (done.code, done.out) == (2, "")
    assert "ideal packing is no call" in done.err
