"""Models on the Hub under audit: what a branch is now, by ranges, and what a repo refuses."""

from __future__ import annotations

from tests.audit.conftest import good
from tests.builders import folders
from tests.builders.folders import encoded
from tests.documents import document
from tests.hub.conftest import AddRepo
from tests.hub_server import HubServer
from tests.hub_server.repos import content
from tests.running import Run


def _files(**changes: object) -> dict[str, object]:
    return good(**changes)


def test_a_model_on_the_hub_is_judged_as_on_a_disk(add: AddRepo, run: Run) -> None:
    repo = add("org/x", _files())
    done = run("audit", "org/x", "--json", "--ignore", "F003")
    found = document(done.out)
    assert done.code == 0, done.out
    assert found["model"]["kind"] == "hub"
    assert found["model"]["revision"] == repo.main
    (unpinned,) = (each for each in found["findings"] if each["rule"] == "P004")
    assert repo.main in unpinned["message"]
    assert run("audit", f"org/x@{repo.main}", "--fail-on", "note", "--ignore", "F003").code == 0


def test_a_defect_on_the_hub_is_a_finding(add: AddRepo, run: Run) -> None:
    add("org/x", _files(model__safetensors=folders.weights("a") + b"more"))
    done = run("audit", "org/x", "--select", "F", "--json")
    assert done.code == 1
    assert [each["rule"] for each in document(done.out)["findings"]] == ["F007"]


def test_a_branch_is_what_it_is_now(add: AddRepo, run: Run) -> None:
    repo = add("org/x", _files())
    assert run("audit", "org/x").code == 0
    changed = _files(model__safetensors=folders.weights("a")[:-1])
    repo.commit({name: content(name, encoded(each)) for name, each in changed.items()}, "main")
    assert run("audit", "org/x").code == 1


def test_a_model_that_is_not_there_or_not_allowed(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/secret", _files(), access="gated")
    add("org/x", _files())
    for model in ("org/none", "org/secret"):
        done = run("audit", model)
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith("mscope: error: ")
    done = run("audit", "org/none", "org/x", "--json")
    assert done.code == 3
    assert "mscope: warning: org/none: " in done.err
    assert [each["model"] for each in document(done.out)["errors"]] == ["org/none"]


def test_offline_nothing_is_asked(hub: HubServer, add: AddRepo, run: Run) -> None:
    add("org/x", _files())
    assert run("audit", "org/x", "--offline").code == 3
    assert not hub.log
