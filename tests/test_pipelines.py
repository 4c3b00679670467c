"""Models made of parts: what their index files may say, and what is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelscope_cli import pipelines
from modelscope_cli.errors import FormatError
from modelscope_cli.facts import ModelRef
from modelscope_cli.formats.config import NotAnObject
from modelscope_cli.sources.local import LocalSource
from tests.builders import folders


def _described(tmp_path: Path, files: Mapping[str, object]) -> pipelines.Described:
    folders.write(tmp_path, files)
    source = LocalSource(str(tmp_path), ModelRef("m", "directory"))
    return pipelines.describe(source, source.files())


def test_a_pipeline(tmp_path: Path) -> None:
    index = {
        "_class_name": "P",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "gone": ["diffusers", "Gone"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "scale": [1, 2, 3],
        "flag": True,
    }
    files = {
        "model_index.json": index,
        "unet/config.json": {"x": 1},
        "tokenizer/vocab.json": {},
        "safety_checker/readme": "",
        "other/config.json": {},
    }
    parts, config, file = _described(tmp_path, files)
    assert [(part.name, part.type, part.config) for part in parts] == [
        ("unet", "UNet2DConditionModel", {"x": 1}),
        ("tokenizer", "CLIPTokenizer", None),
        ("safety_checker", None, None),
    ]
    assert (config, file) == (index, "model_index.json")


def test_modules(tmp_path: Path) -> None:
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": 3},
        {"path": 4},
        "nonsense",
        {"path": "missing"},
    ]
    files = {
        "modules.json": modules,
        "config.json": {"a": 1},
        "1_Pooling/config.json": {"b": 2},
        "2_Normalize/readme": "",
    }
    parts, config, file = _described(tmp_path, files)
    assert [(part.name, part.type, part.config) for part in parts] == [
        ("1_Pooling", "Pooling", {"b": 2}),
        ("2_Normalize", None, None),
    ]
    assert (config, file) == ({"a": 1}, "config.json")
    (tmp_path / "config.json").unlink()
    assert _described(tmp_path, {})[1:] == (None, None)


def test_a_module_that_is_named_twice_is_one_component(tmp_path: Path) -> None:
    files = {"modules.json": [{"path": "a"}] * 3, "a/model.safetensors": folders.weights("w")}
    assert len(_described(tmp_path, files)[0]) == 1


@pytest.mark.parametrize(
    "path", ["/etc", "..", "../x", "a/../../x", "a/..", "\\\\host\\share", "..\\x", "C:\\x", "C:/x",
             "a\0b"],
)  # fmt: skip
def test_a_path_that_leaves_the_model(tmp_path: Path, path: str) -> None:
    with pytest.raises(pipelines.ComponentPathEscape, match=r"modules\.json: the module path"):
        _described(tmp_path, {"modules.json": [{"path": path}]})


@pytest.mark.parametrize("name", ["..", "../outside", "/etc", "sub/folder", "."])
def test_a_pipelines_entry_is_a_folder_of_the_model_or_nothing(tmp_path: Path, name: str) -> None:
    files = {
        "m/model_index.json": {name: ["a", "b"]},
        "m/sub/folder/config.json": {},
        "outside/config.json": {},
    }
    folders.write(tmp_path, files)
    assert _described(tmp_path / "m", {})[0] == ()


def test_too_many(tmp_path: Path) -> None:
    count = pipelines.MAX_COMPONENTS + 1
    with pytest.raises(pipelines.TooManyComponents, match="257 components; 256 are allowed"):
        _described(tmp_path, {"modules.json": [{"path": "a"}] * count})
    files: dict[str, object] = {f"p{number}/x": "" for number in range(count)}
    files["model_index.json"] = {f"p{number}": ["a", "b"] for number in range(count)}
    with pytest.raises(pipelines.TooManyComponents):
        _described(tmp_path / "other", files)


@pytest.mark.parametrize("content", [{"0": {}}, "null", "1"])
def test_modules_that_are_no_list(tmp_path: Path, content: object) -> None:
    with pytest.raises(NotAnObject, match="does not hold a list of modules"):
        _described(tmp_path, {"modules.json": content})


def test_a_component_with_a_broken_configuration(tmp_path: Path) -> None:
    files = {"model_index.json": {"unet": ["a", "b"]}, "unet/config.json": "{"}
    with pytest.raises(FormatError, match=r"unet/config\.json: is not valid JSON"):
        _described(tmp_path, files)
