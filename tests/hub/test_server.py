"""The server is a Hub to the real huggingface_hub: what it downloads, lists and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download

from tests.builders import folders
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer

FILES = {
    "config.json": folders.BERT,
    "model.safetensors": folders.weights("a", "b"),
    "d/x.txt": "x",
}


def test_what_a_repo_is(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", FILES)
    info = HfApi(hub.url).model_info("org/x", files_metadata=True)
    assert info.sha == repo.main
    assert info.siblings is not None
    sizes = {each.rfilename: (each.size, bool(each.lfs)) for each in info.siblings}
    weights = len(folders.weights("a", "b"))
    assert sizes["model.safetensors"] == (weights, True)
    assert sizes["d/x.txt"] == (1, False)
    listed = list(HfApi(hub.url).list_repo_tree("org/x", recursive=True))
    assert {each.path for each in listed} == {*FILES, "d"}


@pytest.mark.parametrize("storage", ["git", "lfs", "xet"])
def test_downloads(
    hub: HubServer, add: AddRepo, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        constants, "HF_HUB_DISABLE_XET", True
    )  # its own protocol has another server
    repo = add("org/x", FILES, storage=storage)
    path = hf_hub_download("org/x", "model.safetensors", endpoint=hub.url)
    assert Path(path).read_bytes() == folders.weights("a", "b")
    assert repo.main in path
    content = repo.commits[repo.main]["model.safetensors"]
    assert Path(path).resolve().name == content.etag
    folder = snapshot_download("org/x", endpoint=hub.url)
    assert (Path(folder) / "d" / "x.txt").read_bytes() == b"x"
    assert hub.targets("store") or storage == "git"


def test_headers_of_all_shards(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", dict(folders.sharded()))
    one_by_one = HfApi(hub.url).get_safetensors_metadata("org/x")
    assert one_by_one.weight_map == {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    repo.serve_all_headers()
    at_once = HfApi(hub.url).get_sharded_safetensors_metadata("org/x")
    assert at_once.files_metadata == one_by_one.files_metadata
    assert at_once.weight_map == one_by_one.weight_map


@pytest.mark.parametrize(
    ("access", "token", "error"),
    [
        ("private", None, errors.RepositoryNotFoundError),
        ("private", "hf_good", errors.RepositoryNotFoundError),
        ("gated", None, errors.GatedRepoError),
        ("gated", "hf_good", errors.GatedRepoError),
        ("disabled", None, errors.DisabledRepoError),
    ],
)
def test_refusals(
    hub: HubServer, add: AddRepo, access: str, token: str | None, error: type[Exception]
) -> None:
    add("org/x", FILES, access=access)
    with pytest.raises(error):
        HfApi(hub.url, token=token or False).get_hf_file_metadata(
            url=f"{hub.url}/org/x/resolve/main/model.safetensors"
        )
    hub.tokens["hf_allowed"] = {"org/x"}
    if access != "disabled":
        assert HfApi(hub.url, token="hf_allowed").model_info("org/x").id == "org/x"


def test_what_is_not_there(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    api = HfApi(hub.url)
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("org/y")
    with pytest.raises(errors.RevisionNotFoundError):
        api.model_info("org/x", revision="v9")
    with pytest.raises(errors.EntryNotFoundError):
        api.get_hf_file_metadata(url=f"{hub.url}/org/x/resolve/main/no.json")


def test_the_store_refuses_a_token(hub: HubServer, add: AddRepo) -> None:
    import urllib.error
    import urllib.request

    add("org/x", FILES)
    place = f"{hub.hub.cdn}/org/x/00?X-Signature=abc"
    request = urllib.request.Request(place, headers={"Authorization": "Bearer hf_good"})
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):
        pass
    assert caught.value.code == 400
    caught.value.close()


def test_pages_of_the_tree(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {f"f{number:04}.txt": "x" for number in range(2100)})
    assert len(list(HfApi(hub.url).list_repo_tree("org/x", recursive=True))) == 2100
    assert len([target for target in hub.targets() if "/tree/" in target]) == 3
