"""`mscope config`: what it says of the model that it does not read, and of a model's parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache
from tests.corpus.make_folder import MODULES, PIPELINE
from tests.running import Run

_FOLDERS: dict[str, dict[str, object]] = {
    "one": {"config.json": folders.BERT, "model.safetensors": folders.weights("a")},
    "shards": {"config.json": folders.BERT, **folders.sharded()},
    "split": {"config.json": folders.BERT, **folders.split_gguf()},
    "several": {
        "config.json": folders.BERT,
        "a.gguf": folders.gguf_weights("x"),
        "b.safetensors": folders.weights("y"),
    },
    "no weights": {"config.json": folders.BERT},
    "pipeline": {
        "model_index.json": PIPELINE,
        "unet/config.json": {"in_channels": 4},
        "unet/diffusion_pytorch_model.safetensors": folders.weights("u"),
        "vae/diffusion_pytorch_model.safetensors": folders.weights("v"),
    },
    "modules": {
        "modules.json": MODULES,
        "config.json": folders.BERT,
        "model.safetensors": folders.weights("a"),
        "1_Pooling/config.json": {"word_embedding_dimension": 2},
        "2_Dense/config.json": {"in_features": 2},
        "2_Dense/model.safetensors": folders.weights("linear.weight"),
    },
}


@pytest.mark.parametrize("name", _FOLDERS)
def test_the_model_is_what_params_says(run: Run, tmp_path: Path, name: str) -> None:
    folders.write(tmp_path / "m", _FOLDERS[name])
    for argv in (["m"], ["m", "--weights", "*.gguf"] if name == "several" else ["m/"]):
        config, params = (run(c, *argv, "--json", cwd=tmp_path) for c in ("config", "params"))
        assert json.loads(config.out)["model"] == json.loads(params.out)["model"]


@pytest.mark.parametrize("name", ["one", "shards", "modules"])
def test_the_model_in_a_cache(run: Run, tmp_path: Path, name: str) -> None:
    files = {path: folders.encoded(content) for path, content in _FOLDERS[name].items()}
    Cache(tmp_path).add("org/m", MAIN, files, refs=("main",))
    argv = ("org/m", "--json", "--cache-dir", str(tmp_path))
    config, params = (json.loads(run(c, *argv).out)["model"] for c in ("config", "params"))
    assert config == params


def test_a_file_of_the_model(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, _FOLDERS["shards"])
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        argv = (str(tmp_path / name), "--json")
        config, params = (json.loads(run(c, *argv).out)["model"] for c in ("config", "params"))
        assert config == params


def test_modules_are_nested_under_their_names(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, _FOLDERS["modules"])
    config = json.loads(run("config", str(tmp_path), "--json").out)["config"]
    assert config == {
        **folders.BERT,
        "1_Pooling": {"word_embedding_dimension": 2},
        "2_Dense": {"in_features": 2},
    }
    assert run("config", str(tmp_path), "--get", "2_Dense.in_features").out == "2\n"
    (tmp_path / "config.json").unlink()
    assert run("config", str(tmp_path), "--get", "2_Dense.in_features").out == "2\n"
