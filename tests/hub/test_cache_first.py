"""The HF cache answers first; what it lacks comes from the Hub, and nothing comes twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, snapshot_download

from modelscope_cli.errors import NetworkTrouble, NotFound, UsageError
from modelscope_cli.facts import ModelFacts, TensorTable
from modelscope_cli.load import How, open_model
from tests.builders import folders
from tests.hub.conftest import AddRepo
from tests.hub_server import Content, HubServer, Repo
from tests.running import Run

FILES: dict[str, object] = {
    "config.json": folders.BERT,
    "model.safetensors": folders.weights("a", "b"),
}


@pytest.fixture
def repo(add: AddRepo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return add("org/x", FILES)


def names(facts: ModelFacts) -> list[str]:
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors.names


def notes(facts: ModelFacts) -> str:
    return "\n".join(note.text for note in facts.notes)


def test_a_whole_snapshot_needs_no_network(hub: HubServer, repo: Repo) -> None:
    snapshot_download("org/x", endpoint=hub.url)
    hub.log.clear()
    facts = open_model("org/x")
    assert (facts.ref.kind, facts.ref.revision) == ("cache", repo.main)
    assert f"main = {repo.main[:7]}, fetched today; --refresh asks the Hub" in notes(facts)
    assert not hub.log


def test_refresh_asks(hub: HubServer, repo: Repo) -> None:
    old = repo.main
    snapshot_download("org/x", endpoint=hub.url)
    hub.log.clear()
    facts = open_model("org/x", How(refresh=True))
    assert (facts.ref.kind, facts.ref.revision) == ("hub", old)
    assert not [each for each in hub.log if each.status == 206 and each.origin == "none"]
    new = repo.commit({**repo.commits[old], "model.safetensors": _weights("c")})
    assert names(open_model("org/x")) == ["a", "b"]  # still what the cache has
    facts = open_model("org/x", How(refresh=True))
    assert (names(facts), facts.ref.revision) == (["c"], new)


def _weights(*tensors: str) -> Content:
    return Content(folders.weights(*tensors), storage="lfs")


def test_refresh_and_offline(repo: Repo, run: Run) -> None:
    done = run("params", "org/x", "--refresh", "--offline")
    assert done.code == 2
    assert run("params", "org/x", "--refresh", env={"HF_HUB_OFFLINE": "1"}).code == 2


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_the_rest_of_a_partial_snapshot(hub: HubServer, repo: Repo, file: str) -> None:
    hf_hub_download("org/x", file, endpoint=hub.url)
    hub.log.clear()
    want_tensors = file == "config.json"
    facts = open_model("org/x", want_tensors=want_tensors)
    assert (facts.ref.kind, facts.config) == ("hub", folders.BERT)
    if want_tensors:
        assert names(facts) == ["a", "b"]


def test_local_bytes_are_used(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", dict(folders.sharded()))
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        hf_hub_download("org/x", name, endpoint=hub.url)
    hub.log.clear()
    assert names(open_model("org/x")) == ["a", "b"]
    assert len(hub.targets("store")) == 1  # the shard that was not there
    assert not [t for t in hub.targets() if repo.main in t and "index" in t]


def test_other_commits_are_not_mixed(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", dict(folders.sharded()))
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        hf_hub_download("org/x", name, endpoint=hub.url)
    files = {name: Content(data, storage="lfs") for name, data in folders.sharded().items()}
    first = "model-00001-of-00002.safetensors"
    wider = folders.weights("a", dtype="F64")
    new = repo.commit({**files, first: Content(wider, storage="lfs")})
    facts = open_model("org/x")
    assert facts.ref.revision == new
    assert isinstance(facts.tensors, TensorTable)
    assert facts.tensors.dtypes == ["F64", "F32"]


def test_a_type_that_was_not_downloaded(hub: HubServer, add: AddRepo) -> None:
    kinds = ("Q4_K_M", "Q8_0")
    add("org/g", {f"m-{kind}.gguf": folders.gguf_weights(kind) for kind in kinds})
    hf_hub_download("org/g", "m-Q8_0.gguf", endpoint=hub.url)
    assert names(open_model("org/g")) == ["Q8_0"]
    assert names(open_model("org/g:Q4_K_M")) == ["Q4_K_M"]
    assert names(open_model("org/g", How(weights="*Q4*"))) == ["Q4_K_M"]
    with pytest.raises(NotFound, match="no GGUF file of type Q2_K"):
        open_model("org/g:Q2_K", How(offline=True))


def test_a_component_that_was_not_downloaded(hub: HubServer) -> None:
    from tests.hub_server import from_folder
    from tests.running import ROOT

    folder = ROOT / "tests" / "corpus" / "good" / "folder" / "diffusers"
    hub.add(Repo("org/d", from_folder(folder)))
    snapshot_download("org/d", endpoint=hub.url, allow_patterns=["*.json", "unet/*"])
    whole = open_model(str(folder))
    assert names(open_model("org/d")) == names(whole)


def test_a_config_the_tree_knows_of(hub: HubServer, repo: Repo) -> None:
    snapshot_download("org/x", endpoint=hub.url, allow_patterns=["*.safetensors"])
    facts = open_model("org/x")
    assert (facts.ref.kind, facts.config) == ("hub", folders.BERT)
    assert open_model("org/x", How(offline=True)).config is None


def test_offline(hub: HubServer, repo: Repo, run: Run) -> None:
    for argv, env in (
        (["--offline"], {}),
        ([], {"HF_HUB_OFFLINE": "1"}),
        ([], {"TRANSFORMERS_OFFLINE": "yes"}),
    ):
        done = run("params", "org/x", *argv, env=env)
        assert done.code == 3
        assert "org/x" in done.err
        assert "not in the HF cache" in done.err or "no such model in the HF cache" in done.err
    assert not hub.log
    assert run("params", "org/x").code == 0
    hub.log.clear()
    for revision in ("", f"@{repo.main}", f"@{repo.main[:8]}"):
        done = run("params", f"org/x{revision}", "--offline")
        assert done.code == 0, done.err
    assert not hub.log
    assert run("params", "org/x@v1", "--offline").code == 3


def test_offline_does_not_reach_beyond_what_was_read(hub: HubServer, repo: Repo, run: Run) -> None:
    assert run("config", "org/x").code == 0
    done = run("params", "org/x", "--offline")
    assert done.code == 3
    assert not done.out


def test_a_commit_that_is_known_is_not_asked_for_again(hub: HubServer, repo: Repo) -> None:
    assert open_model("org/x").ref.kind == "hub"
    hub.log.clear()
    assert open_model(f"org/x@{repo.main}").ref.kind == "hub"
    assert not hub.log
    assert open_model(f"org/x@{repo.main}", How(refresh=True)).ref.revision == repo.main
    assert len(hub.log) == 1


def test_main_moves(hub: HubServer, repo: Repo) -> None:
    assert names(open_model("org/x")) == ["a", "b"]
    repo.commit({**repo.commits[repo.main], "model.safetensors": _weights("c")})
    assert names(open_model("org/x")) == ["c"]


def test_guesses_of_an_older_commit_are_dropped(hub: HubServer, repo: Repo) -> None:
    """`main` moves between the question which commit it is and the guess at its weights."""
    old = repo.main
    answer = hub.hub.answer
    moved: list[str] = []

    def move_first(request):  # type: ignore[no-untyped-def]
        reply = answer(request)
        if "/revision/" in request.target and not moved:
            moved.append(repo.commit({"model.safetensors": _weights("c")}))
        return reply

    hub.hub_server.answer = move_first
    facts = open_model("org/x")
    assert (names(facts), facts.ref.revision) == (["a", "b"], old)
    assert moved


def test_a_folder_of_that_name_wins(
    hub: HubServer, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders.write(tmp_path, {"org/x/config.json": folders.BERT})
    with pytest.raises(NotFound, match="there is no such file"):
        open_model("org/x/model.safetensors")
    with pytest.raises(NotFound, match="there is no such file"):
        open_model("org/x@main")
    assert not hub.log
    assert names(open_model("hf://org/x")) == ["a", "b"]


def test_another_hf_cache(hub: HubServer, repo: Repo, tmp_path: Path) -> None:
    snapshot_download("org/x", endpoint=hub.url, cache_dir=tmp_path / "hub")
    hub.log.clear()
    assert open_model("org/x", How(cache_dir=str(tmp_path))).ref.kind == "cache"
    assert open_model("org/x").ref.kind == "hub"


def test_hf_s_cache_is_never_written(hub: HubServer, repo: Repo) -> None:
    hf_hub_download("org/x", "config.json", endpoint=hub.url)
    home = Path(os.environ["HF_HOME"])
    before = {path: path.lstat().st_mtime_ns for path in home.rglob("*")}
    assert names(open_model("org/x")) == ["a", "b"]
    assert {path: path.lstat().st_mtime_ns for path in home.rglob("*")} == before
    ours = Path(os.environ["XDG_CACHE_HOME"], "mscope", "hub")
    kept = {path.name for path in ours.rglob("*") if path.is_file()}
    assert kept == {"refs.json", f"{repo.main}.pack"}


def test_a_cache_that_cannot_be_written(hub: HubServer, repo: Repo) -> None:
    Path(os.environ["XDG_CACHE_HOME"]).mkdir(parents=True, exist_ok=True)
    Path(os.environ["XDG_CACHE_HOME"], "mscope").write_text("in the way")
    assert names(open_model("org/x")) == ["a", "b"]
    assert names(open_model("org/x")) == ["a", "b"]


def test_changed_documents_are_told(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", {"config.json": folders.BERT, **folders.sharded()})
    snapshot = Path(snapshot_download("org/x", endpoint=hub.url))
    assert "warning" not in run("params", "org/x").err
    config = snapshot / "config.json"
    config.write_text(json.dumps({**folders.BERT, "hidden_size": 8}))
    index = snapshot / "model.safetensors.index.json"
    index.write_bytes(index.read_bytes() + b"\n")
    for target in ("org/x", str(snapshot)):
        err = run("params", target).err
        assert "warning: config.json was changed after its download" in err
        assert "warning: model.safetensors.index.json was changed after its download" in err
    quiet = run("config", "org/x", "-q")
    assert "config.json was changed" in quiet.err
    assert quiet.code == 0


def test_replaced_documents_are_told_through_a_link_too(
    hub: HubServer, add: AddRepo, run: Run, tmp_path: Path
) -> None:
    add("org/x", {"config.json": folders.BERT, **folders.sharded()})
    snapshot = Path(snapshot_download("org/x", endpoint=hub.url))
    (tmp_path / "llama").symlink_to(snapshot)
    (tmp_path / "hop").symlink_to("llama")
    (tmp_path / "snapshots").symlink_to(snapshot.parent)
    (tmp_path / "config.json").symlink_to(snapshot / "config.json")
    ways = (
        "org/x",
        *(str(tmp_path / way) for way in ("llama", "hop", f"snapshots/{snapshot.name}")),
    )
    for target in (*ways, str(tmp_path / "config.json")):
        told = run("config", target, "--json")
        assert "warning" not in told.err
        model = json.loads(told.out)["model"]
        assert (model["kind"], model["revision"]) == ("cache", snapshot.name)
    (snapshot / "config.json").unlink()  # as `sed -i` does
    (snapshot / "config.json").write_text(json.dumps({**folders.BERT, "hidden_size": 8}))
    for command in ("config", "params"):
        for target in ways:
            assert (
                "warning: config.json was replaced after its download" in run(command, target).err
            )
    noted = snapshot.parent.parent / "trees" / f"{snapshot.name}.json"
    done = run("config", str(tmp_path / "llama"), "-o", str(noted))
    assert done.code == 2  # nothing of the repo is written over, whatever the way to it


def test_errors_of_the_network_after_a_partial_snapshot(
    hub: HubServer, repo: Repo, pauses: list[float]
) -> None:
    hf_hub_download("org/x", "config.json", endpoint=hub.url)
    hub.fault("", 503, times=999)
    with pytest.raises(NetworkTrouble) as caught:
        open_model("org/x")
    hint = f"the HF cache holds main = {repo.main[:7]}; org/x: its weights are not in the HF cache"
    assert hint in str(caught.value.hint)
    assert open_model("org/x", want_tensors=False).ref.kind == "cache"


def test_refresh_without_a_network(hub: HubServer, repo: Repo, pauses: list[float]) -> None:
    snapshot_download("org/x", endpoint=hub.url)
    hub.fault("", 503, times=999)
    with pytest.raises(NetworkTrouble) as caught:
        open_model("org/x", How(refresh=True))
    hint = f"the HF cache holds main = {repo.main[:7]}; it answers without --refresh"
    assert hint in str(caught.value.hint)


def test_an_ambiguous_short_commit(hub: HubServer, repo: Repo) -> None:
    for name in ("d76c4a5" + "0" * 33, "d76c4a5" + "1" * 33):
        folder = Path(os.environ["HF_HUB_CACHE"], "models--org--x", "snapshots", name)
        folders.write(folder, {"model.safetensors": folders.weights("z")})
    with pytest.raises(UsageError, match="fits 2 commits"):
        open_model("org/x@d76c4a5")
