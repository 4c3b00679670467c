"""Which files of a folder are the model, and what is said of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelscope_cli.errors import FormatError, MissingShard, NotFound, UsageError
from modelscope_cli.facts import ModelFacts, TensorTable
from modelscope_cli.load import How, open_model
from modelscope_cli.sources.local import LocalSource
from tests.builders import folders, safetensors
from tests.builders import torch as torch_files
from tests.corpus.make_folder import MODULES, PIPELINE
from tests.running import Run


def _opened(folder: Path, files: Mapping[str, object], weights: str | None = None) -> ModelFacts:
    return open_model(str(folders.write(folder, files)), How(weights=weights))


def _names(facts: ModelFacts) -> list[str]:
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors.names


def _components(facts: ModelFacts) -> list[tuple[str | None, str]]:
    assert isinstance(facts.tensors, TensorTable)
    return list(zip(facts.tensors.components, facts.tensors.names, strict=True))


def _notes(facts: ModelFacts, *, warning: bool = False) -> list[str]:
    return [note.text for note in facts.notes if note.warning is warning]


_BIN = torch_files.archive(torch_files.pickled(torch_files.mapping({"bin": torch_files.tensor()})))
_SETS: dict[str, object] = {
    "model.safetensors": folders.weights("st"),
    "model.fp16.safetensors": folders.weights("fp16", dtype="F16"),
    "pytorch_model.bin": _BIN,
    "config.json": folders.BERT,
}


# Several sets


def test_the_set_that_the_libraries_load_is_read(tmp_path: Path) -> None:
    facts = _opened(tmp_path, _SETS)
    assert _names(facts) == ["st"]
    assert _notes(facts) == [
        "also here, not listed: model.fp16.safetensors, pytorch_model.bin; --weights GLOB chooses"
    ]


@pytest.mark.parametrize(
    ("without", "name"),
    [((), "st"), (("model.safetensors",), "fp16"),
     (("model.safetensors", "model.fp16.safetensors"), "bin")],
)  # fmt: skip
def test_the_next_best_set(tmp_path: Path, without: tuple[str, ...], name: str) -> None:
    files = {path: content for path, content in _SETS.items() if path not in without}
    assert _names(_opened(tmp_path, files)) == [name]


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.bin", ["bin"]),
        ("pytorch_model.bin", ["bin"]),
        ("model.fp16*", ["fp16"]),
        ("model*", ["fp16", "st"]),
        ("*", ["bin", "fp16", "st"]),
    ],
)
def test_weights_are_chosen(tmp_path: Path, glob: str, names: list[str]) -> None:
    facts = _opened(tmp_path, _SETS, glob)
    assert sorted(_names(facts)) == names
    assert facts.ref.format == (
        None if {"bin"} < set(names) else "torch" if names == ["bin"] else "safetensors"
    )


def test_a_choice_that_fits_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--weights '\*.gguf' fits no weight file") as caught:
        _opened(tmp_path, _SETS, "*.gguf")
    assert caught.value.hint == (
        "there are: model.fp16.safetensors, model.safetensors, pytorch_model.bin"
    )


def test_sharded_sets_are_chosen_by_index_name_or_shard(tmp_path: Path) -> None:
    files = {**folders.sharded(), **folders.sharded("other")}
    assert _names(_opened(tmp_path, files)) == ["a", "b"]
    for glob in ("other*", "other.safetensors", "other.safetensors.index.json"):
        facts = _opened(tmp_path, files, glob)
        assert [fact.path[:5] for fact in facts.files] == ["other", "other"]
        assert not _notes(facts)
    facts = _opened(tmp_path, files, "other-00002-of-*")
    assert _names(facts) == ["b"]
    assert _notes(facts) == ["only one of 2 shards is listed: other-00002-of-00002.safetensors"]


def test_a_pile_is_listed_whole(tmp_path: Path) -> None:
    files = {"b.safetensors": folders.weights("x"), "a.gguf": folders.gguf_weights("y")}
    facts = _opened(tmp_path, files)
    assert _names(facts) == ["y", "x"]
    assert (facts.ref.format, facts.ref.files) == (None, 2)
    assert not facts.notes


def test_alternatives_in_a_pile_are_told_from_parts(tmp_path: Path) -> None:
    files = {f"m.{kind}.gguf": folders.gguf_weights("a", "b") for kind in ("Q4_0", "Q8_0")}
    facts = _opened(tmp_path, files)
    assert len(_names(facts)) == 4
    (warning,) = _notes(facts, warning=True)
    assert warning.startswith("2 weight sets hold tensors of the same names (m.Q4_0.gguf, ")
    assert facts.alternatives == ("m.Q4_0.gguf", "m.Q8_0.gguf")
    one = _opened(tmp_path, {}, "*Q8*")
    assert not _notes(one, warning=True)
    assert not one.alternatives


def test_alternatives_are_those_that_share_names(tmp_path: Path) -> None:
    files = {
        "a.safetensors": folders.weights("x", "y"),
        "b.safetensors": folders.weights("y"),
        "c.safetensors": folders.weights("z"),
    }
    assert _opened(tmp_path, files).alternatives == ("a.safetensors", "b.safetensors")


def test_the_state_of_a_trainer_is_no_weights(tmp_path: Path) -> None:
    trainer = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt",
               "rng_state.pth", "rng_state_0.pth", "random_states_0.pt")  # fmt: skip
    facts = _opened(tmp_path, {**_SETS, **dict.fromkeys(trainer, b"opened by nobody")})
    assert _names(facts) == ["st"]
    assert not any(name in "".join(_notes(facts)) for name in trainer)
    (tmp_path / "only").mkdir()
    with pytest.raises(NotFound):
        _opened(tmp_path / "only", dict.fromkeys(trainer, b""))


def test_the_state_of_a_trainer_named_by_itself(tmp_path: Path) -> None:
    folders.write(tmp_path, {"optimizer.bin": _BIN})
    assert _names(open_model(str(tmp_path / "optimizer.bin"))) == ["bin"]


# Shards


@pytest.mark.parametrize("digits", [5, 6])
def test_shards_without_an_index(tmp_path: Path, digits: int) -> None:
    """DeepSeek-V3 counts to -of-000163."""
    shards = [f"model-{number:05d}-of-{3:0{digits}d}.safetensors" for number in (1, 2, 3)]
    files = {shard: folders.weights(f"w{number}") for number, shard in enumerate(shards)}
    facts = _opened(tmp_path, files)
    assert _names(facts) == ["w0", "w1", "w2"]
    assert not facts.notes
    (tmp_path / shards[1]).unlink()
    with pytest.raises(MissingShard, match=f"2 of 3 shards are there.* {shards[1]}$"):
        open_model(str(tmp_path))


def test_an_index_of_six_digit_shards(tmp_path: Path) -> None:
    shards = [f"model-{number:05d}-of-000163.safetensors" for number in (1, 163)]
    files: dict[str, object] = {shard: folders.weights(shard) for shard in shards}
    files["model.safetensors.index.json"] = safetensors.index({s: s for s in shards}, 16)
    facts = _opened(tmp_path, files)  # what the index does not name is not missed
    assert _names(facts) == shards
    assert not facts.notes


def test_a_tensor_in_two_shards_without_an_index(tmp_path: Path) -> None:
    files = {f"m-0000{n}-of-00002.safetensors": folders.weights("same", f"w{n}") for n in (1, 2)}
    with pytest.raises(FormatError, match="tensor 'same': is in two shards"):
        _opened(tmp_path, files)


def test_an_index_of_a_variant(tmp_path: Path) -> None:
    shard = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors"
    files = {
        shard: folders.weights("w"),
        "diffusion_pytorch_model.safetensors.index.fp16.json": safetensors.index({"w": shard}, 8),
    }
    facts = _opened(tmp_path, files)
    assert _names(facts) == ["w"]
    assert not facts.notes
    assert _names(open_model(str(tmp_path / [*files][1]))) == ["w"]


def test_shards_in_a_folder_of_their_own(tmp_path: Path) -> None:
    index = safetensors.index({"w": "parts/one.safetensors"}, 8)
    files = {"model.safetensors.index.json": index, "parts/one.safetensors": folders.weights("w")}
    facts = _opened(tmp_path, files)
    assert [fact.path for fact in facts.files] == ["parts/one.safetensors"]
    (tmp_path / "parts/one.safetensors").unlink()
    with pytest.raises(MissingShard):
        open_model(str(tmp_path))
    (tmp_path / "parts").rmdir()
    with pytest.raises(MissingShard):
        open_model(str(tmp_path))


def test_an_index_of_torch_shards(tmp_path: Path) -> None:
    shard = "pytorch_model-00001-of-00001.bin"
    index = safetensors.index({"bin": shard}, 24)
    files = {shard: _BIN, "pytorch_model.bin.index.json": index}
    assert _names(_opened(tmp_path, files)) == ["bin"]


@pytest.mark.parametrize("name", ["x.onnx.index.json", "notes.index.json", "index.json"])
def test_an_index_of_something_else_is_only_json(tmp_path: Path, name: str) -> None:
    folders.write(tmp_path, {name: {"a": 1}})
    facts = open_model(str(tmp_path / name))
    assert (facts.config, facts.ref.format) == ({"a": 1}, "config")


def test_reading_with_threads_gives_the_same(tmp_path: Path) -> None:
    shards = [f"m-{number:05d}-of-00020.safetensors" for number in range(1, 21)]
    folders.write(tmp_path, {shard: folders.weights(shard) for shard in shards})
    for jobs in (None, 1, 4, 1000):
        assert _names(open_model(str(tmp_path), How(jobs=jobs))) == shards


# Parts


def test_sentence_transformers(tmp_path: Path) -> None:
    files: dict[str, object] = {
        "modules.json": MODULES,
        "config.json": folders.BERT,
        "config_sentence_transformers.json": {"__version__": {}},
        "model.safetensors": folders.weights("embeddings.weight"),
        "1_Pooling/config.json": {"word_embedding_dimension": 2},
        "2_Dense/config.json": {"in_features": 2},
        "2_Dense/model.safetensors": folders.weights("linear.weight"),
    }
    facts = _opened(tmp_path, files)
    assert _components(facts) == [(None, "embeddings.weight"), ("2_Dense", "linear.weight")]
    assert [fact.path for fact in facts.files] == ["model.safetensors", "2_Dense/model.safetensors"]
    assert facts.config == folders.BERT
    assert [(part.name, part.type) for part in facts.components] == [
        ("1_Pooling", "Pooling"),
        ("2_Dense", "Dense"),
    ]


def _pipeline(**more: object) -> dict[str, object]:
    return {
        "model_index.json": PIPELINE,
        "scheduler/scheduler_config.json": {"beta_end": 0.012},
        "unet/config.json": {"in_channels": 4},
        "unet/diffusion_pytorch_model.safetensors": folders.weights("conv_in.weight"),
        "unet/diffusion_pytorch_model.fp16.safetensors": folders.weights("half", dtype="F16"),
        "vae/diffusion_pytorch_model.safetensors": folders.weights("conv_in.weight"),
        "not_a_component/model.safetensors": folders.weights("other"),
        **more,
    }


def test_diffusers(tmp_path: Path) -> None:
    facts = _opened(tmp_path, _pipeline())
    # The same name twice, in two parts: names are never prefixed, so components tell.
    assert _components(facts) == [("unet", "conv_in.weight"), ("vae", "conv_in.weight")]
    assert not _notes(facts, warning=True)
    assert _notes(facts) == [
        "also here, not listed: unet/diffusion_pytorch_model.fp16.safetensors, "
        "not_a_component/model.safetensors; --weights GLOB chooses"
    ]
    assert (facts.config, facts.config_file) == (PIPELINE, "model_index.json")


def test_a_component_in_json(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, _pipeline())
    rows = json.loads(run("params", str(tmp_path), "--json").out)["tensors"]
    assert [(row["component"], row["name"], row["file"]) for row in rows] == [
        ("unet", "conv_in.weight", "unet/diffusion_pytorch_model.safetensors"),
        ("vae", "conv_in.weight", "vae/diffusion_pytorch_model.safetensors"),
    ]
    assert "component" in run("params", str(tmp_path)).out


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("unet/*fp16*", [("unet", "half")]),
        ("*.fp16.*", [("unet", "half")]),
        ("vae/*", [("vae", "conv_in.weight")]),
        ("diffusion_pytorch_model.safetensors", [("unet", "conv_in.weight"),
                                                 ("vae", "conv_in.weight")]),
    ],
)  # fmt: skip
def test_weights_of_a_component(
    tmp_path: Path, glob: str, found: list[tuple[str | None, str]]
) -> None:
    assert _components(_opened(tmp_path, _pipeline(), glob)) == found


def test_a_pipeline_in_one_file_beside_its_parts_is_an_alternative(tmp_path: Path) -> None:
    files = _pipeline(**{"v1-5-pruned.safetensors": folders.weights("model.diffusion_model.x")})
    facts = _opened(tmp_path, files)
    assert {component for component, _ in _components(facts)} == {"unet", "vae"}
    assert "v1-5-pruned.safetensors" in _notes(facts)[0]
    facts = _opened(tmp_path, {}, "v1-5*")
    assert _components(facts) == [(None, "model.diffusion_model.x")]


def test_an_adapter(tmp_path: Path) -> None:
    files = {
        "adapter_config.json": {"peft_type": "LORA"},
        "adapter_model.safetensors": folders.weights("base_model.model.q.lora_A.weight"),
    }
    facts = _opened(tmp_path, files)
    assert (facts.config, facts.config_file) == ({"peft_type": "LORA"}, "adapter_config.json")
    assert len(_names(facts)) == 1


def test_an_adapter_beside_its_model(tmp_path: Path) -> None:
    files = {
        "model.safetensors": folders.weights("a"),
        "config.json": folders.BERT,
        "adapter_config.json": {},
        "adapter_model.safetensors": folders.weights("lora"),
    }
    facts = _opened(tmp_path, files)
    assert (_names(facts), facts.config) == (["a"], folders.BERT)
    assert "adapter_model.safetensors" in _notes(facts)[0]


# Nothing to list


def test_a_hint_at_models_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write(
        tmp_path,
        {"b/config.json": {}, "a/x.gguf": b"", "c/readme.md": "", "d/e/config.json": {}},
    )
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotFound) as caught:
        open_model(str(tmp_path))
    assert caught.value.hint == "there are models in: a, b"
    files = LocalSource.files

    def forbidden(source: LocalSource, folder: str = "") -> dict[str, int]:
        if folder == "a":
            raise NotFound("a: Permission denied")
        return files(source, folder)

    monkeypatch.setattr(LocalSource, "files", forbidden)
    with pytest.raises(NotFound) as caught:
        open_model(str(tmp_path))
    assert caught.value.hint == "there are models in: b"


def test_weights_are_not_opened_for_a_configuration(run: Run, tmp_path: Path) -> None:
    folders.write(tmp_path, {"config.json": folders.BERT, "model.safetensors": b"not weights"})
    assert run("config", str(tmp_path)).code == 0
    assert run("params", str(tmp_path)).code == 4
