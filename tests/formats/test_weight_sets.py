"""Which names belong together, and which set is taken first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import MissingShard
from modelscope_cli.formats import weight_sets
from modelscope_cli.formats.weight_sets import WeightSet


def _found(*names: str) -> dict[str, tuple[str, tuple[str, ...], str | None]]:
    return {
        each.name: (each.format, each.files, each.index_file) for each in weight_sets.find(names)
    }


def test_single_files() -> None:
    assert _found(
        "model.safetensors", "x.GGUF", "a.bin", "b.pth", "c.pt", "d.ckpt", "README.md"
    ) == {
        "model.safetensors": ("safetensors", ("model.safetensors",), None),
        "x.GGUF": ("gguf", ("x.GGUF",), None),
        "a.bin": ("torch", ("a.bin",), None),
        "b.pth": ("torch", ("b.pth",), None),
        "c.pt": ("torch", ("c.pt",), None),
        "d.ckpt": ("torch", ("d.ckpt",), None),
    }


@pytest.mark.parametrize("count", ["00002", "000002"])
def test_shards_are_gathered(count: str) -> None:
    shards = tuple(f"model-0000{n}-of-{count}.safetensors" for n in (1, 2))
    assert _found(*reversed(shards), "model.safetensors.index.json") == {
        "model.safetensors": ("safetensors", shards, "model.safetensors.index.json")
    }


def test_sets_beside_each_other() -> None:
    found = _found(
        "m-00001-of-00002.safetensors",
        "m-00002-of-00002.safetensors",
        "n-00001-of-00001.gguf",
        "n-00001-of-00001.bin",
        "m.fp16-00001-of-00001.safetensors",
        "m.safetensors.index.fp16.json",
    )
    assert {name: len(files) for name, (_, files, _) in found.items()} == {
        "m.safetensors": 2,
        "n.gguf": 1,
        "n.bin": 1,
        "m.fp16.safetensors": 1,
    }
    assert found["m.fp16.safetensors"][2] == "m.safetensors.index.fp16.json"


def test_an_index_without_its_shards_is_a_set() -> None:
    index = "pytorch_model.bin.index.json"
    assert _found(index) == {"pytorch_model.bin": ("torch", (), index)}


@pytest.mark.parametrize(
    "name",
    ["model-1-of-2.safetensors", "model-00001-of-2.safetensors", "00001-of-00002.safetensors",
     "model-00001-of-00002.safetensors.tmp"],
)  # fmt: skip
def test_what_is_no_shard(name: str) -> None:
    assert weight_sets.shard_of(name) is None


@pytest.mark.parametrize(
    "name",
    ["training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state_7.pth",
     "trainer_state.json", "random_states_0.pkl", "scaler.pt"],
)  # fmt: skip
def test_trainer_state(name: str) -> None:
    assert not weight_sets.find([name])


def test_weights_that_only_begin_like_trainer_state() -> None:
    assert len(weight_sets.find(["optimizers.bin", "schedulers.pt"])) == 2


# Choosing


_ORDER = [
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "consolidated.safetensors",
    "model.fp16.safetensors",
    "model.gguf",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
]


@pytest.mark.parametrize("first", range(len(_ORDER)))
def test_the_order_of_loading(first: int) -> None:
    sets = weight_sets.find(["zzz.safetensors", *_ORDER[first:]])
    chosen, aside = weight_sets.choose(sets, None)
    assert [each.name for each in chosen] == [_ORDER[first]]
    assert len(aside) == len(sets) - 1


def test_unknown_names_are_all_taken() -> None:
    sets = weight_sets.find(["a.safetensors", "b.gguf"])
    assert weight_sets.choose(sets, None) == (sets, [])


def test_a_path_or_a_name_is_chosen() -> None:
    sets = weight_sets.find(["a.safetensors"])
    for pattern, folder in (("a.*", ""), ("a.*", "unet"), ("unet/*", "unet"), ("*/a.*", "unet")):
        assert weight_sets.choose(sets, pattern, folder)[0] == sets
    for pattern, folder in (("unet/*", ""), ("vae/*", "unet"), ("b*", "")):
        assert weight_sets.choose(sets, pattern, folder)[0] == []


def test_letters_count_in_patterns() -> None:
    sets = weight_sets.find(["M.Q4_K.gguf"])
    assert weight_sets.choose(sets, "*q4_k*")[0] == []


def test_one_shard_chosen() -> None:
    sets = weight_sets.find([f"m-0000{n}-of-00003.bin" for n in (1, 2, 3)])
    (chosen,), _ = weight_sets.choose(sets, "*-0000[12]-*")
    assert chosen.files == ("m-00001-of-00003.bin", "m-00002-of-00003.bin")
    (note,) = weight_sets.check_shards(chosen)
    assert note.text.startswith("only 2 of 3 shards are listed: ")


# Missing ones


@pytest.mark.parametrize(
    ("present", "missing"),
    [([2, 3], "00001"), ([1, 3], "00002"), ([1, 2], "00003"), ([3], "00001")],
)
def test_the_first_missing_shard_is_named(present: list[int], missing: str) -> None:
    (weights,) = weight_sets.find([f"m-0000{n}-of-00003.safetensors" for n in present])
    with pytest.raises(MissingShard, match=f"the first that is not: m-{missing}-of-00003"):
        weight_sets.check_shards(weights)


def test_shards_that_are_all_there() -> None:
    (weights,) = weight_sets.find([f"m-0000{n}-of-00003.safetensors" for n in (1, 2, 3)])
    assert weight_sets.check_shards(weights) == ()


def test_numbers_of_six_digits() -> None:
    (weights,) = weight_sets.find(["m-000002-of-000002.safetensors"])
    with pytest.raises(MissingShard, match="m-000001-of-000002"):
        weight_sets.check_shards(weights)


def test_a_count_of_billions_takes_no_time() -> None:
    (weights,) = weight_sets.find(["m-00001-of-999999.safetensors"])
    with pytest.raises(MissingShard, match="1 of 999999 shards are there"):
        weight_sets.check_shards(weights)


# Names one by one


def test_a_file_by_itself() -> None:
    assert weight_sets.of_file("any") == WeightSet("any", "torch", ("any",), chosen=True)
    assert weight_sets.of_file("x.gguf").format == "gguf"


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("model.safetensors.index.json", "model.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin"),
        ("a.b.safetensors.index.fp16.json", "a.b.fp16.safetensors"),
        ("model.safetensors.index.json.bak", None),
        ("x.onnx.index.json", None),
        ("index.json", None),
        (".safetensors.index.json", None),
    ],
)
def test_names_of_indexes(name: str, whole: str | None) -> None:
    found = weight_sets.of_index(name)
    assert (found.name if found else None) == whole


@given(
    st.lists(
        st.from_regex(
            r"[a-c](\.x)?(-0000[12]-of-0000[12])?\.(bin|gguf|safetensors)", fullmatch=True
        )
        | st.from_regex(r"[a-c]\.(bin|safetensors)\.index(\.x)?\.json", fullmatch=True)
        | st.text(max_size=12),
        unique=True,
        max_size=12,
    )
)
def test_every_file_is_in_one_set_at_most(names: list[str]) -> None:
    sets = weight_sets.find(names)
    files = [file for each in sets for file in each.files]
    assert len(files) == len(set(files))
    assert set(files) <= set(names)
    assert len({each.name for each in sets}) == len(sets)
    chosen, aside = weight_sets.choose(sets, None)
    assert sorted(chosen + aside) == sorted(sets)
    assert bool(chosen) == bool(sets)
    assert weight_sets.choose(sets, "*")[0] == sets


def test_missing_shards_are_named_by_their_pattern() -> None:
    (weights,) = weight_sets.find(["m-00001-of-00003.safetensors"])
    for folder, shown in (("", ""), ("unet", "unet/")):
        with pytest.raises(MissingShard) as caught:
            weight_sets.check_shards(weights, folder)
        assert caught.value.message.startswith(f"{shown}m-*-of-00003.safetensors: 1 of 3 shards")
