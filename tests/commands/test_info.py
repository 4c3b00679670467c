"""`mscope info`: the one card, and that it says what the other commands say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.builders import checkpoints, folders, gguf
from tests.builders.hfcache import MAIN, Cache
from tests.running import ROOT, Run

SCHEMA = json.loads((ROOT / "modelscope_cli" / "schemas" / "info.json").read_text("utf-8"))
LLAMA = checkpoints.LLAMA_TINY
GGUF = {
    "general.architecture": gguf.text("llama"),
    "general.license": gguf.text("mit"),
    "llama.block_count": gguf.u32(3),
    "llama.context_length": gguf.u32(2048),
}


def document(run: Run, *argv: str, code: int = 0, **more: Any) -> dict[str, Any]:
    done = run("info", *argv, "--json", **more)
    assert done.code == code, done.err
    made: dict[str, Any] = json.loads(done.out)
    Draft202012Validator(SCHEMA).validate(made)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama in nf4 with a model card."""
    made = tmp_path_factory.mktemp("info") / "m"
    checkpoints.write(made, checkpoints.llama(LLAMA, checkpoints.nf4, checkpoints.BNB_4BIT))
    (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n# M\n", encoding="utf-8")
    return made


def test_the_default_model(run: Run) -> None:
    made = document(run)
    assert made["model"]["default"] is True
    assert made["type"] == "mixtral"
    assert made["architectures"] == ["MixtralForCausalLM"]
    assert made["parameters"] == {
        "total": 46_907_609_088,
        "active": 13_084_741_632,
        "stored": 46_907_609_088,
        "loaded": 46_907_609_088,
    }
    assert made["dtypes"] == {"BF16": 93_815_218_176}
    assert (made["layers"], made["context_limit"]) == (32, 32_768)
    assert made["licence"] is None
    assert "no model card" in made["unknown"]["licence"]
    assert made["request"] == {"batch": 1, "context": 4096, "dtype": "BF16"}


def test_the_default_model_on_screen(run: Run) -> None:
    done = run("info")
    assert done.code == 0
    for part in (
        "builtin:huozi3 (the default;",
        "46,907,609,088 (46.9B)",
        "13,084,741,632 (13.1B)",
        "dtypes          BF16\n",
        "stored                       87.37 GiB  93,815,218,176  exact",
        "32,768 tokens at most",
        "unknown: a built-in has no model card",
        "run: batch 1, context 4,096",
    ):
        assert part in done.out
    assert "mscope memory" in done.err


@pytest.mark.parametrize("model", ["builtin:huozi3", "builtin:bert-base-uncased", "nf4"])
def test_it_says_what_the_others_say(run: Run, folder: Path, model: str) -> None:
    model = str(folder) if model == "nf4" else model
    card = document(run, model)
    params = json.loads(run("params", model, "--json").out)
    assert card["stored_bytes"] == params["totals"]["bytes"] == sum(card["dtypes"].values())
    assert card["parameters"]["total"] == params["totals"]["parameters"]
    assert card["parameters"]["stored"] == params["totals"]["stored_elements"]
    assert card["parameters"]["loaded"] == params["loaded"]["parameters"]
    memory = json.loads(run("memory", model, "--json").out)
    for field in ("load_bytes", "total_bytes", "basis"):
        assert card[field] == memory[field]
    assert card["context_limit"] == memory["context_limit"]


def test_a_folder_with_a_card(run: Run, folder: Path) -> None:
    made = document(run, str(folder))
    assert (made["licence"], made["licence_file"]) == ("apache-2.0", "README.md")
    assert made["model"]["path"] == str(folder)
    assert made["cache_state"] is None
    assert "apache-2.0 (README.md)" in run("info", str(folder)).out


def test_units_hold_everywhere(run: Run) -> None:
    done = run("info", "builtin:clip-vit-large-patch14-336", "--units", "si")
    assert "of it I64" in done.out
    assert "1.71 GB" in done.out
    assert "iB" not in done.out


def test_parts_with_layers_of_their_own(run: Run) -> None:
    made = document(run, "builtin:clip-vit-large-patch14-336")
    assert made["layers"] == 12
    assert made["layers_by_part"] == {"text": 12, "vision": 24}


def test_a_gguf_says_it_itself(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(folders.gguf_weights("token_embd.weight", metadata=GGUF))
    made = document(run, str(path))
    assert made["type"] == "llama"
    assert (made["layers"], made["context_limit"]) == (3, 2048)
    assert (made["licence"], made["licence_file"]) == ("mit", "m.gguf")


def test_a_configuration_alone_leaves_sizes_unknown(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path / "m", {"config.json": folders.BERT})
    made = document(run, str(tmp_path / "m"))
    assert made["type"] == "bert"
    assert made["load_bytes"] is None
    assert made["parameters"]["total"] is None
    assert {"stored_bytes", "load_bytes", "total_bytes"} <= set(made["unknown"])
    assert "unknown" in run("info", str(tmp_path / "m")).out


def test_a_cached_model_without_its_weights(run: Run, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "hub")
    config = folders.encoded({"model_type": "bert", "num_hidden_layers": 2})
    cache.add("org/m", MAIN, {"config.json": config}, refs=("main",))
    where = ("--cache-dir", str(tmp_path / "hub"))
    done = run("info", "org/m", *where)
    assert done.code == 0
    assert "warning: org/m: its weights are not in the HF cache" in done.err
    made = document(run, "org/m", *where)
    assert made["cache_state"] == "without weights"
    assert made["model"]["revision"] == MAIN
    assert made["layers"] == 2
    assert "not in the HF cache" in made["unknown"]["load_bytes"]


def test_a_cached_model_with_its_weights(run: Run, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "hub")
    files = {
        "config.json": folders.encoded({"model_type": "bert"}),
        "README.md": b"---\nlicense: mit\n---\n",
        "model.safetensors": folders.weights("a.weight"),
    }
    cache.add("org/m", MAIN, files, refs=("main",))
    made = document(run, "org/m", "--cache-dir", str(tmp_path / "hub"))
    assert (made["cache_state"], made["licence"]) == ("complete", "mit")
    done = run("info", "org/m", "--cache-dir", str(tmp_path / "hub"))
    assert MAIN in done.out
    assert "main = d76c4a5" in done.err


@pytest.mark.parametrize("model", ["./nothing", "org/not-cached"])
def test_a_model_that_is_not_there(run: Run, tmp_path: Path, model: str) -> None:
    done = run("info", model, "--cache-dir", str(tmp_path / "hub"), cwd=tmp_path)
    assert (done.code, done.out) == (3, "")


def test_one_row_for_programs(run: Run, folder: Path) -> None:
    row = json.loads(run("info", str(folder), "-f", "jsonl").out)
    assert row["architecture"] == "LlamaForCausalLM"
    assert row["licence"] == "apache-2.0"
    head, line = run("info", str(folder), "-f", "csv").out.splitlines()
    assert dict(zip(head.split(","), line.split(","), strict=True))["type"] == "llama"


def test_a_card_cannot_write_to_the_terminal(run: Run, tmp_path: Path) -> None:
    folders.write(
        tmp_path / "m",
        {
            "config.json": {"model_type": "\x1b[31mred", "architectures": ["a\nb", 3]},
            "README.md": b"---\nlicense: \x1b]0;x\x07\n---\n",
        },
    )
    done = run("info", str(tmp_path / "m"))
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert "\\x1b[31mred" in done.out
