"""Lists of a commit's files: whole, or asked for otherwise, or refused with the reason."""

from __future__ import annotations

import pytest

from modelscope_cli.errors import NetworkTrouble
from modelscope_cli.load import open_model
from modelscope_cli.sources.hfcache.remote import Remote
from tests.builders import folders
from tests.hub.conftest import FILES, AddRepo, lines
from tests.hub.test_reading import names
from tests.hub_server import HubServer
from tests.running import Run

MANY: dict[str, object] = {f"f{number:04}.txt": "x" for number in range(1100)}


def trees(hub: HubServer) -> list[str]:
    return [target for target in hub.targets() if "/tree/" in target]


def test_a_whole_list_takes_no_tree(hub: HubServer, add: AddRepo) -> None:
    add("org/x", FILES)
    assert names(open_model("org/x")) == ["a", "b"]
    assert not trees(hub)


@pytest.mark.parametrize("files", [FILES, {**FILES, **MANY}], ids=["few", "many"])
def test_siblings_without_sizes(hub: HubServer, add: AddRepo, files: dict[str, object]) -> None:
    add("org/x", files)
    hub.hub.unsaid = ("size", "blobId", "lfs")
    assert names(open_model("org/x")) == ["a", "b"]
    assert len(trees(hub)) == 1 + (len(files) > 1000)


def test_one_sibling_without_a_size(hub: HubServer, add: AddRepo) -> None:
    files = {**FILES, "README.md": "x"}
    add("org/x", files, storage="lfs")
    hub.hub.unsaid = ("size",)  # LFS says its own
    assert names(open_model("org/x")) == ["a", "b"]
    assert len(trees(hub)) == 1


def test_sizes_that_nobody_says(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.hub.unsaid = hub.hub.unsaid_in_trees = ("size", "lfs")
    done = run("params", "org/x")
    assert done.code == 6
    assert "does not answer as a Hub does: it lists config.json without its size" in lines(done)[0]


def test_no_sizes_and_no_tree(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.hub.unsaid = ("size", "lfs")
    hub.fault("/tree/", 404, times=99)
    done = run("params", "org/x")
    assert done.code == 6
    assert "it lists config.json without its size, and its tree is not to be" in lines(done)[0]


def test_a_mirror_s_links_lead_to_the_hub_behind_it(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {**FILES, **MANY})
    hub.hub.tree_only = True
    hub.hub.host_of_links = "hub.invalid"
    assert names(open_model("org/x")) == ["a", "b"]
    assert len(trees(hub)) == 2


def test_a_tree_without_an_end(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", FILES)
    hub.hub.tree_only = True
    more = {"link": '<http://h/x?cursor=1>; rel="next"'}
    hub.fault("/tree/", 200, times=9999, headers=more, body=b"[]")
    done = run("params", "org/x")
    assert done.code == 6
    assert "its tree does not end" in lines(done)[0]


# What `cache verify --remote` holds files against


@pytest.mark.parametrize("unsaid", ["blobId", "size"])
def test_hashes_are_asked_for_where_they_lack(hub: HubServer, add: AddRepo, unsaid: str) -> None:
    repo = add("org/x", FILES)
    hub.hub.unsaid = (unsaid,)
    remote = Remote()
    found = remote.listing("org/x", repo.main)
    remote.close()
    assert {path: known.hash for path, known in found.known.items()} == {
        path: each.etag for path, each in repo.commits[repo.main].items()
    }


@pytest.mark.parametrize("unsaid", ["oid", "size", "path", "type"])
def test_a_list_that_says_too_little_is_none(hub: HubServer, add: AddRepo, unsaid: str) -> None:
    repo = add("org/x", FILES)
    hub.hub.tree_only = True
    hub.hub.unsaid_in_trees = (unsaid,)
    remote = Remote()
    with pytest.raises(NetworkTrouble, match="it lists "):
        remote.listing("org/x", repo.main)
    remote.close()


def test_a_hash_that_is_none_tells_nothing_of_its_file(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", {"a.json": "x", "b.json": "y"})
    repo.commits[repo.main]["a.json"].git = "abc"
    remote = Remote()
    found = remote.listing("org/x", repo.main)
    remote.close()
    assert found.paths == frozenset({"a.json", "b.json"})
    assert list(found.known) == ["b.json"]


def test_an_empty_list_is_none(hub: HubServer, add: AddRepo) -> None:
    repo = add("org/x", {})
    remote = Remote()
    with pytest.raises(NetworkTrouble, match="it lists no files"):
        remote.listing("org/x", repo.main)
    remote.close()


def test_weights_in_folders_without_sizes(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {f"sub/{name}": each for name, each in folders.sharded().items()})
    hub.hub.unsaid = ("size", "blobId", "lfs")
    assert names(open_model("org/x/sub")) == ["a", "b"]
