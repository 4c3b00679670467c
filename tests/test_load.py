"""The MODEL grammar on a real disk: what each text opens, and what is said beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.facts import ModelFacts, TensorTable, Unknown
from modelscope_cli.load import How, holds_a_model, open_model
from tests.builders import folders
from tests.builders.hfcache import MAIN, OTHER, Cache
from tests.running import Run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    files = {"model.safetensors": folders.weights("a", "b"), "config.json": folders.BERT}
    return folders.write(tmp_path / "m", files)


def _names(facts: ModelFacts) -> list[str]:
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors.names


def _notes(facts: ModelFacts) -> str:
    return "\n".join(note.text for note in facts.notes)


def _warnings(facts: ModelFacts) -> str:
    return "\n".join(note.text for note in facts.notes if note.warning)


# Paths


def test_spellings_of_a_folder(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    Path(os.environ["HOME"], "m").symlink_to(model)
    for text in (
        "./m",
        "m",
        "m/",
        str(model),
        f"{model}/",
        "~/m",
        "../" + model.parent.name + "/m",
    ):
        facts = open_model(text)
        assert _names(facts) == ["a", "b"]
        assert facts.ref.target == text
        assert (facts.ref.kind, facts.ref.format, facts.ref.files) == (
            "directory",
            "safetensors",
            1,
        )
        assert facts.ref.path is not None
        assert Path(facts.ref.path).samefile(model)
        assert (facts.config, facts.config_file) == (folders.BERT, "config.json")
        assert not facts.notes


def test_a_file(model: Path) -> None:
    facts = open_model(str(model / "model.safetensors"))
    assert _names(facts) == ["a", "b"]
    assert (facts.ref.kind, facts.ref.path) == ("file", str(model / "model.safetensors"))
    assert facts.config == folders.BERT  # known by the library's own file name
    assert facts.files[0].path == "model.safetensors"
    folders.write(model, {"other.safetensors": folders.weights("c")})
    assert open_model(str(model / "other.safetensors")).config is None


def test_a_configuration_alone(model: Path, tmp_path: Path) -> None:
    only = folders.write(tmp_path / "only", {"config.json": folders.BERT})
    for target, kind in ((only, "directory"), (only / "config.json", "file"),
                         (model / "config.json", "file")):  # fmt: skip
        facts = open_model(str(target))
        assert isinstance(facts.tensors, Unknown)
        assert "memory --exact builds the class" in facts.tensors.reason
        assert (facts.ref.kind, facts.ref.format, facts.ref.files) == (kind, "config", 0)
        assert facts.config == folders.BERT


def test_a_local_path_wins_over_a_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Cache(Path(os.environ["HF_HUB_CACHE"])).add(
        "org/name", MAIN, {"model.safetensors": folders.weights("cached")}, refs=("main",)
    )
    assert _names(open_model("org/name")) == ["cached"]
    folders.write(tmp_path, {"org/name/model.safetensors": folders.weights("local")})
    assert _names(open_model("org/name")) == ["local"]
    assert _names(open_model("hf://org/name")) == ["cached"]


def test_a_file_that_looks_like_a_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders.write(tmp_path, {"org/name": folders.weights("a"), "weights": folders.weights("b")})
    assert _names(open_model("org/name")) == ["a"]
    assert _names(open_model("weights")) == ["b"]


def test_revisions_are_for_repos(model: Path) -> None:
    with pytest.raises(UsageError, match="is a path on this machine"):
        open_model(str(model), How(revision="main"))


@pytest.mark.parametrize("link", ["folder", "file"])
def test_links_are_followed(model: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "folder").symlink_to(model)
    (tmp_path / "file").symlink_to(model / "model.safetensors")
    assert _names(open_model(str(tmp_path / link))) == ["a", "b"]


# Shards


def test_an_index(tmp_path: Path) -> None:
    folder = folders.write(tmp_path, folders.sharded())
    for target in (folder, folder / "model.safetensors.index.json"):
        facts = open_model(str(target))
        assert (_names(facts), facts.ref.files) == (["a", "b"], 2)
        assert not facts.notes


def test_one_shard_alone(tmp_path: Path) -> None:
    folders.write(tmp_path, folders.sharded())
    facts = open_model(str(tmp_path / "model-00002-of-00002.safetensors"))
    assert _names(facts) == ["b"]
    assert _notes(facts) == "only one of 2 shards is listed: model-00002-of-00002.safetensors"


def test_the_first_part_of_a_split_gguf_is_the_whole(tmp_path: Path) -> None:
    folders.write(tmp_path, folders.split_gguf())
    for target in (tmp_path, tmp_path / "m-00001-of-00002.gguf"):
        facts = open_model(str(target))
        assert (_names(facts), facts.ref.files) == (["a", "b"], 2)
        assert not facts.notes
    facts = open_model(str(tmp_path / "m-00002-of-00002.gguf"))
    assert _names(facts) == ["b"]
    assert "only one of 2 shards is listed" in _notes(facts)


# What a file is


def test_a_wrong_ending_is_told(tmp_path: Path) -> None:
    folders.write(tmp_path, {"a.bin": folders.gguf_weights("a"), "b.gguf": folders.weights("b")})
    facts = open_model(str(tmp_path / "a.bin"))
    assert (facts.ref.format, _names(facts)) == ("gguf", ["a"])
    assert _warnings(facts) == "a.bin is a gguf file by its content, whatever its name"
    facts = open_model(str(tmp_path / "b.gguf"))
    assert facts.ref.format == "safetensors"
    assert "b.gguf is a safetensors file" in _warnings(facts)


def test_a_blob_has_no_ending(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "hub")
    cache.add("org/name", MAIN, {"model.safetensors": folders.weights("a")})
    blob = next((cache.repo("org/name") / "blobs").iterdir())
    facts = open_model(str(blob))
    assert (_names(facts), facts.ref.format) == (["a"], "safetensors")
    assert not _warnings(facts)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("org/m/confg.json", "did you mean config.json?"),
        ("org/m/tokenizer.model", None),
        ("org/m/deep/er/x.json", None),
        ("org/m:Q8_0", "org/m is here: --weights '*Q8_0*' chooses in a folder"),
        ("org/m@v1", "org/m is here, and has no revisions"),
    ],
)
def test_what_a_folder_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, hint: str | None
) -> None:
    folders.write(tmp_path / "org" / "m", {"config.json": folders.BERT})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        open_model(text)
    assert caught.value.message == f"{text}: there is no such file"
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["datasets/org/x", "spaces/org/x"])
def test_what_is_no_model_is_said_first(text: str) -> None:
    with pytest.raises(NotFound, match=f"^{text} is a .* of the Hub: mscope looks at models") as e:
        open_model(text)
    assert e.value.hint == "there is no file or folder of that name here either"


# The HF cache


@pytest.fixture
def cache() -> Cache:
    cache = Cache(Path(os.environ["HF_HUB_CACHE"]))
    cache.add(
        "org/name",
        MAIN,
        {"model.safetensors": folders.weights("new"), "config.json": b'{"model_type": "bert"}'},
        refs=("main",),
    )
    cache.add("org/name", OTHER, {"model.safetensors": folders.weights("old")}, refs=("v1",))
    return cache


@pytest.mark.parametrize(
    ("text", "name", "commit"),
    [
        ("org/name", "new", MAIN),
        ("org/name@main", "new", MAIN),
        ("org/name@v1", "old", OTHER),
        (f"org/name@{OTHER}", "old", OTHER),
        (f"org/name@{OTHER[:8]}", "old", OTHER),
        ("hf://org/name@v1", "old", OTHER),
        ("https://huggingface.co/org/name", "new", MAIN),
        ("https://huggingface.co/org/name/tree/v1", "old", OTHER),
        ("https://huggingface.co/org/name/blob/v1/model.safetensors", "old", OTHER),
        ("org/name/model.safetensors", "new", MAIN),
    ],
)
def test_models_in_the_cache(cache: Cache, text: str, name: str, commit: str) -> None:
    facts = open_model(text)
    assert _names(facts) == [name]
    assert (facts.ref.target, facts.ref.kind) == (text, "cache")
    assert (facts.ref.id, facts.ref.revision) == ("org/name", commit)


def test_a_revision_beside_the_model(cache: Cache) -> None:
    assert _names(open_model("org/name", How(revision="v1"))) == ["old"]
    assert _names(open_model("org/name@v1", How(revision="v1"))) == ["old"]
    with pytest.raises(UsageError, match="two revisions"):
        open_model("org/name@v1", How(revision="main"))


@pytest.mark.parametrize("inner", ["", f"snapshots/{MAIN}", f"snapshots/{MAIN}/model.safetensors"])
def test_a_path_inside_the_cache(cache: Cache, inner: str) -> None:
    facts = open_model(str(cache.repo("org/name") / inner))
    assert _names(facts) == ["new"]
    assert (facts.ref.id, facts.ref.revision) == ("org/name", MAIN)


def test_the_age_of_a_branch_is_told(cache: Cache) -> None:
    assert "main = d76c4a5, fetched today" in _notes(open_model("org/name"))
    assert not open_model(f"org/name@{MAIN}").notes


def test_another_cache_folder(tmp_path: Path) -> None:
    hub = tmp_path / "home" / "hub"
    Cache(hub).add("a/b", MAIN, {"model.safetensors": folders.weights("w")}, refs=("main",))
    assert _names(open_model("a/b", How(cache_dir=str(hub)))) == ["w"]
    facts = open_model("a/b", How(cache_dir=str(hub.parent)))
    assert _names(facts) == ["w"]
    assert str(hub) in _notes(facts)  # an HF_HOME, whose hub/ is used
    with pytest.raises(NotFound):
        open_model("a/b")


def test_a_cache_without_the_weights(cache: Cache, run: Run) -> None:
    cache.add("org/x", MAIN, {"config.json": folders.encoded(folders.BERT)}, refs=("main",))
    with pytest.raises(NotFound, match=r"^org/x: its weights are not in the HF cache$") as caught:
        open_model("org/x")
    assert str(caught.value.hint).startswith("hf download org/x brings it here; the network is")
    assert run("params", "org/x").code == 3
    assert run("config", "org/x", "--get", "model_type").out == "bert\n"
    with pytest.raises(NotFound) as caught:
        open_model(str(cache.repo("org/x") / "snapshots" / MAIN))
    assert f"hf download org/x --revision {MAIN}" in str(caught.value.hint)


@pytest.mark.parametrize("index", [True, False])
def test_a_cache_without_all_the_weights(cache: Cache, run: Run, index: bool) -> None:
    files = folders.sharded(index=index)
    del files["model-00002-of-00002.safetensors"]
    snapshot = cache.add("org/x", MAIN, files, refs=("main",))
    with pytest.raises(NotFound, match=r"^org/x: its weights are not all in .*1 of 2") as caught:
        open_model("org/x")
    assert "hf download org/x brings it here" in str(caught.value.hint)
    assert run("params", "org/x").code == 3
    plain = snapshot.parents[3] / "plain"
    folders.write(plain, files)
    assert run("params", str(plain)).code == 4


def test_a_gguf_by_its_type(cache: Cache) -> None:
    files = {f"m.{kind}.gguf": folders.gguf_weights(kind) for kind in ("Q4_K_M", "Q8_0")}
    cache.add("org/gguf", MAIN, files, refs=("main",))
    for kind in ("Q4_K_M", "q4_k_m", "Q8_0"):
        assert _names(open_model(f"org/gguf:{kind}")) == [kind.upper()]
    with pytest.raises(NotFound, match="no GGUF file of type Q2_K here") as caught:
        open_model("org/gguf:Q2_K")
    assert str(caught.value.hint).startswith("there are: Q4_K_M, Q8_0; the network is switched off")


# Nothing typed


def test_nothing_typed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = open_model(None)
    assert (facts.ref.target, facts.ref.kind, facts.ref.default) == (
        "builtin:huozi3",
        "builtin",
        True,
    )
    monkeypatch.chdir(model)
    facts = open_model(None)
    assert (facts.ref.target, facts.ref.default, _names(facts)) == (".", False, ["a", "b"])
    monkeypatch.chdir(tmp_path)  # a folder with a model below it is none itself
    assert open_model(None).ref.default


def test_the_default_says_so(run: Run, model: Path) -> None:
    assert run("params").out.startswith("builtin:huozi3 (the default; name a MODEL to see yours)")
    named = run("params", "builtin:huozi3")
    assert named.out.startswith("builtin:huozi3: ")
    assert '"default": true' in run("params", "--json").out
    assert '"default": false' in run("params", "builtin:huozi3", "--json").out
    assert '"default": false' in run("params", "--json", cwd=model).out
    chosen = run("params", "--json", env={"MSCOPE_MODEL": "builtin:huozi3"})
    assert '"default": false' in chosen.out


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        (["config.json"], False),  # empty: see test_current_folder
        (["model_index.json"], True),
        (["modules.json"], True),
        (["adapter_config.json"], True),
        (["x.safetensors"], True),
        (["X.GGUF"], True),
        (["model.safetensors.index.json"], True),
        (["README.md", "tokenizer.json", "main.py"], False),
        (["training_args.bin", "optimizer.pt"], False),
        ([], False),
    ],
)
def test_which_folders_hold_a_model(tmp_path: Path, names: list[str], holds: bool) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert holds_a_model(str(tmp_path)) is holds
    assert not holds_a_model(str(tmp_path / "missing"))
