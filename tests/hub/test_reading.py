"""A model on the Hub reads as the same model on disk, with few requests and no weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from modelscope_cli.errors import NotFound, TruncatedFile
from modelscope_cli.facts import ModelFacts, TensorTable, Unknown
from modelscope_cli.load import How, open_model
from tests.builders import checkpoints, folders
from tests.builders import safetensors as builder
from tests.documents import document
from tests.hub.conftest import AddRepo
from tests.hub_server import Content, HubServer, Repo, from_folder, sparse
from tests.running import ROOT, Run

PLAIN = {"config.json": folders.BERT, "model.safetensors": folders.weights("a", "b")}
GOOD = ROOT / "tests" / "corpus" / "good"


def names(facts: ModelFacts) -> list[str]:
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors.names


def columns(facts: ModelFacts) -> dict[str, Any]:
    assert isinstance(facts.tensors, TensorTable)
    return {column: getattr(facts.tensors, column) for column in TensorTable.__slots__}


@pytest.mark.parametrize(
    "folder", sorted(path.name for path in (GOOD / "folder").iterdir() if path.is_dir())
)
@pytest.mark.parametrize("storage", ["lfs", "xet"])
def test_every_kind_of_folder(hub: HubServer, folder: str, storage: str) -> None:
    path = GOOD / "folder" / folder
    repo = hub.add(Repo("org/x", from_folder(path, storage)))
    here, there = open_model(str(path)), open_model("org/x")
    if there.choices:
        assert folder == "alternatives"
        return
    assert there._replace(ref=here.ref, tensors=here.tensors) == here
    if isinstance(here.tensors, Unknown):
        assert there.tensors == here.tensors
    else:
        assert columns(there) == columns(here)
    assert (there.ref.kind, there.ref.id, there.ref.revision) == ("hub", "org/x", repo.main)
    assert there.ref.path is None
    assert (there.ref.format, there.ref.files) == (here.ref.format, here.ref.files)


@pytest.mark.parametrize(
    "file",
    [
        "safetensors/every-dtype.safetensors",
        "safetensors/header-not-padded.safetensors",
        "gguf/all-types.gguf",
        "gguf/nested-arrays.gguf",
        "torch/state-dict.pt",
        "torch/legacy.pt",
        "torch/torchscript.pt",
    ],
)
def test_every_format(hub: HubServer, file: str) -> None:
    path = GOOD / file
    name = f"model{path.suffix}"
    hub.add(Repo("org/x", {name: Content(path.read_bytes(), storage="lfs")}))
    here, there = open_model(str(path)), open_model("org/x")
    mine, theirs = columns(there), columns(here)
    assert {k: v for k, v in mine.items() if k != "files"} == {
        k: v for k, v in theirs.items() if k != "files"
    }
    assert there.ref.format == here.ref.format


def test_round_trips_of_a_single_file(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", PLAIN)
    assert names(open_model("org/x")) == ["a", "b"]
    # What there is, what most models have and the official Hub's short cut are asked at once;
    # only where a redirect leads comes after.
    assert len(hub.targets("hub")) == 5
    assert len(hub.targets("store")) == 1
    hub.log.clear()
    assert names(open_model("org/x")) == ["a", "b"]
    assert hub.targets() == ["/api/models/org/x/revision/main?blobs=true"]
    hub.log.clear()
    assert names(open_model(f"org/x@{repo.main}")) == ["a", "b"]
    assert names(open_model("org/x", How(offline=True))) == ["a", "b"]
    assert not hub.log


def test_the_header_is_all_that_is_read(hub: HubServer, tmp_path: Path) -> None:
    header = folders.weights("a")[:-8]
    size = 40 * 10**9
    text = builder.compact({"a": builder.entry("F32", [10**10], 0, 4 * 10**10)})
    header = builder.framed(text)
    size = len(header) + 4 * 10**10
    hub.add(Repo("org/x", {"model.safetensors": sparse(tmp_path / "big", header, size)}))
    assert names(open_model("org/x")) == ["a"]
    asked = [each.range for each in hub.log if each.origin == "store"]
    assert asked == ["bytes=0-262143"]


def test_a_long_header_takes_one_request_more(hub: HubServer, add: AddRepo) -> None:
    many = [f"layer.{number}.{'x' * 100}" for number in range(3000)]
    add("org/x", {"model.safetensors": folders.weights(*many)})
    assert names(open_model("org/x")) == many
    store = [each for each in hub.log if each.origin == "store"]
    assert len(store) == 2
    # The second goes straight to where the redirect led.
    assert len([t for t in hub.targets("hub") if "/resolve/" in t]) == 2
    hub.log.clear()
    assert names(open_model("org/x")) == many
    assert len(hub.log) == 1


@pytest.mark.parametrize("padding", range(-20, 21))
def test_headers_around_the_first_read(hub: HubServer, add: AddRepo, padding: int) -> None:
    from modelscope_cli.foresight import HEAD_BYTES

    text = builder.compact(builder.entries([builder.Tensor("a")]))
    data = builder.framed(text.ljust(HEAD_BYTES - 8 + padding), bytes(8))
    add("org/x", {"model.safetensors": data})
    assert names(open_model("org/x")) == ["a"]


def test_shards(hub: HubServer, add: AddRepo, tmp_path: Path) -> None:
    files = folders.sharded()
    repo = add("org/x", dict(files))
    folders.write(tmp_path, files)
    here, there = open_model(str(tmp_path)), open_model("org/x")
    assert columns(there) == columns(here)
    hub.log.clear()
    repo.serve_all_headers()
    wiped = repo.commit(repo.commits[repo.main])
    at_once = open_model(f"org/x@{wiped}")  # the short cut knows main alone
    assert columns(at_once) == columns(here)
    assert not [target for target in hub.targets() if "safetensors-metadata" in target]
    hub.log.clear()
    repo.commit({**repo.commits[wiped], "new.txt": Content(b"x")})
    os.environ["XDG_CACHE_HOME"] += "2"
    assert columns(open_model("org/x")) == columns(here)
    assert not hub.targets("store")  # no shard was asked


def test_shards_against_their_index(hub: HubServer, add: AddRepo, run: Run) -> None:
    files = {**folders.sharded(), "model-00002-of-00002.safetensors": folders.weights("c")}
    repo = add("org/x", dict(files))
    assert run("params", "org/x").code == 4
    repo.serve_all_headers()
    os.environ["XDG_CACHE_HOME"] += "x"
    assert run("params", "org/x").code == 4


def test_numpy_reads_the_same(hub: HubServer, add: AddRepo) -> None:
    arrays = {"w": np.zeros((3, 4), np.float16), "b": np.ones(5, np.float32)}
    add("org/x", {"model.safetensors": safetensors.numpy.save(arrays)})
    facts = open_model("org/x")
    assert isinstance(facts.tensors, TensorTable)
    found = {row.name: (row.shape, row.dtype) for row in facts.tensors}
    assert found == {"w": ((3, 4), "F16"), "b": ((5,), "F32")}


def test_small_values_are_read_at_once(hub: HubServer, tmp_path: Path) -> None:
    made = checkpoints.llama(checkpoints.LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT)
    folder = checkpoints.write(tmp_path / "m", made)
    hub.add(Repo("org/x", from_folder(folder)))
    here, there = open_model(str(folder)), open_model("org/x")
    assert there.values == here.values
    assert here.values
    hub.log.clear()
    assert open_model("org/x").values == here.values
    assert len(hub.log) == 1


# Parts of repos


def test_single_files_and_folders(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {**PLAIN, **{f"sub/{k}": v for k, v in folders.sharded("m").items()}})
    assert names(open_model("org/x/sub/m-00002-of-00002.safetensors")) == ["b"]
    assert names(open_model("org/x/sub")) == ["a", "b"]
    assert names(open_model("org/x/sub/m.safetensors.index.json")) == ["a", "b"]
    facts = open_model("org/x/config.json")
    assert facts.config == folders.BERT
    with pytest.raises(NotFound, match=r"org/x has no file confg\.json at ") as caught:
        open_model("org/x/confg.json")
    assert caught.value.hint == "did you mean config.json?"
    with pytest.raises(NotFound, match="org/x has no file sub/deeper"):
        open_model("org/x/sub/deeper/y.json")


def test_addresses(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", PLAIN)
    repo.refs |= {"refs/pr/1": repo.main, "feature/y": repo.main, "v1": repo.main}
    for text in (
        "hf://org/x",
        f"{hub.url}/org/x",
        f"{hub.url}/org/x/tree/main",
        f"{hub.url}/org/x/blob/main/model.safetensors",
        f"{hub.url}/org/x/resolve/v1/model.safetensors",
        "https://huggingface.co/org/x/tree/refs%2Fpr%2F1",
        "org/x@refs/pr/1",
        "org/x@feature/y",
        f"org/x@{repo.main[:8]}",
        f"org/x@{repo.main}",
    ):
        facts = open_model(text)
        assert names(facts) == ["a", "b"], text
        assert facts.ref.revision == repo.main


def test_config_asks_for_no_weights(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", PLAIN)
    assert run("config", "org/x", "--get", "model_type").out == "bert\n"
    assert not hub.targets("store")
    assert names(open_model("org/x")) == ["a", "b"]  # what config kept is no reason to stop there


def test_kind_in_json(hub: HubServer, add: AddRepo, run: Run) -> None:
    repo = add("org/x", PLAIN)
    model = document(run("params", "org/x", "--json").out)["model"]
    assert (model["kind"], model["id"], model["revision"]) == ("hub", "org/x", repo.main)
    assert model["path"] is None


def test_a_torch_file_far_away(hub: HubServer, add: AddRepo) -> None:
    data = (GOOD / "torch" / "state-dict.pt").read_bytes()
    add("org/x", {"pytorch_model.bin": data})
    assert names(open_model("org/x"))


def test_a_file_that_ends_early(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {"model.safetensors": folders.weights("a")[:-1]})
    with pytest.raises(TruncatedFile):
        open_model("org/x")


def test_an_empty_file(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", {"model.safetensors": b"", "config.json": folders.BERT})
    assert run("params", "org/x").code == 4


def test_repos_without_siblings(hub: HubServer, add: AddRepo) -> None:
    files: dict[str, object] = {f"f{number:04}.txt": "x" for number in range(1100)}
    add("org/x", {**PLAIN, **files})
    hub.hub.tree_only = True
    assert names(open_model("org/x")) == ["a", "b"]
    assert len([target for target in hub.targets() if "/tree/" in target]) == 2


def test_hostile_paths_are_left_out(hub: HubServer, add: AddRepo) -> None:
    paths = ("../../etc/passwd", "/abs.safetensors", "a\\b.safetensors", "x/../model.gguf", " ")
    add("org/x", {**PLAIN, **dict.fromkeys(paths, b"")})
    facts = open_model("org/x")
    assert names(facts) == ["a", "b"]
    assert not facts.notes
