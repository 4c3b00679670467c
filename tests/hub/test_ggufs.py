"""GGUF repos: many files are listed, one is chosen, and a vocabulary is no long way."""

from __future__ import annotations

import pytest

from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.load import How, open_model
from tests.builders import folders, gguf
from tests.documents import document
from tests.hub.conftest import AddRepo
from tests.hub.test_reading import names
from tests.hub_server import HubServer, Repo
from tests.running import Run


def test_a_vocabulary_takes_few_requests(hub: HubServer, add: AddRepo) -> None:
    tokens = gguf.array(gguf.STRING, [f"token{number}" * 6 for number in range(60_000)])
    data = gguf.build([gguf.f32("a", 32)], {"tokenizer.ggml.tokens": tokens})
    assert len(data) > 2_000_000
    add("org/x", {"m.gguf": data})
    assert names(open_model("org/x")) == ["a"]
    assert len(hub.targets("store")) == 2


@pytest.fixture
def ggufs(add: AddRepo) -> Repo:
    files: dict[str, object] = {
        f"m-{kind}.gguf": folders.gguf_weights(kind) for kind in ("Q4_K_M", "Q8_0")
    }
    return add("org/gguf", {**files, **folders.split_gguf("m-F16")})


def test_many_gguf_files_are_listed(hub: HubServer, ggufs: Repo, run: Run) -> None:
    found = document(run("params", "org/gguf", "--json").out)
    sizes = {path: each.size for path, each in ggufs.commits[ggufs.main].items()}
    split = sum(size for path, size in sizes.items() if "F16" in path)
    assert [(row["file"], row["type"], row["bytes"], row["files"]) for row in found["choices"]] == [
        ("m-F16-00001-of-00002.gguf", "F16", split, 2),
        ("m-Q4_K_M.gguf", "Q4_K_M", sizes["m-Q4_K_M.gguf"], 1),
        ("m-Q8_0.gguf", "Q8_0", sizes["m-Q8_0.gguf"], 1),
    ]
    assert "3 GGUF files to choose from" in found["totals"]["unknown"]["parameters"]
    assert found["totals"]["parameters"] is None
    text = run("params", "org/gguf")
    assert text.code == 0
    assert "m-Q4_K_M.gguf" in text.out
    assert "--weights" in text.err
    assert not hub.targets("store")


@pytest.mark.parametrize("target", ["org/gguf:Q4_K_M", "org/gguf:q4_k_m", "org/gguf/m-Q4_K_M.gguf"])
def test_one_gguf_file_is_chosen(hub: HubServer, ggufs: Repo, target: str) -> None:
    assert names(open_model(target)) == ["Q4_K_M"]
    assert len(hub.targets("store")) == 1


def test_weights_choose(hub: HubServer, ggufs: Repo) -> None:
    assert names(open_model("org/gguf", How(weights="*Q8_0*"))) == ["Q8_0"]
    assert names(open_model("org/gguf:F16")) == ["a", "b"]
    with pytest.raises(UsageError, match="fits no weight file"):
        open_model("org/gguf", How(weights="*Q2*"))
    with pytest.raises(NotFound, match="no GGUF file of type Q2_K here"):
        open_model("org/gguf:Q2_K")


def test_config_of_many_gguf_files(ggufs: Repo, run: Run) -> None:
    done = run("config", "org/gguf")
    assert done.code == 2
    assert "3 GGUF files to choose from: org/gguf:TYPE or --weights GLOB" in done.err
