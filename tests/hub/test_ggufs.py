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
    with pytest.raises(NotFound, match="org/gguf: no GGUF file of type Q2_K here") as caught:
        open_model("org/gguf:Q2_K")
    assert caught.value.hint == "there are: F16, Q4_K_M, Q8_0"


def test_a_type_of_a_repo_without_ggufs(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {"model.safetensors": folders.weights("a")})
    with pytest.raises(NotFound, match="org/x: no GGUF file of type Q4_K_M here") as caught:
        open_model("org/x:Q4_K_M")
    assert caught.value.hint == "there are no GGUF files"


def _in_folders() -> dict[str, object]:
    """As unsloth lays them out: large types in folders of their own."""
    split = folders.split_gguf("m-BF16")
    return {
        **{f"BF16/{name}": data for name, data in split.items()},
        "UD-Q2_K_XL/m-UD-Q2_K_XL-00001-of-00001.gguf": folders.gguf_weights("a"),
        "onnx/model.bin": b"x",
    }


IN_FOLDERS = [
    ("BF16/m-BF16-00001-of-00002.gguf", "BF16", 2),
    ("UD-Q2_K_XL/m-UD-Q2_K_XL-00001-of-00001.gguf", "UD-Q2_K_XL", 1),
]


@pytest.mark.parametrize("above", [(), ("Q4_K_M",), ("Q4_K_M", "Q8_0")], ids=len)
def test_ggufs_in_folders_are_listed(
    hub: HubServer, add: AddRepo, run: Run, above: tuple[str, ...]
) -> None:
    files = {f"m-{kind}.gguf": folders.gguf_weights("a") for kind in above}
    repo = add("org/x", {**files, **_in_folders()})
    found = document(run("params", "org/x", "--json").out)["choices"]
    assert [(row["file"], row["type"], row["files"]) for row in found] == [
        *((f"m-{kind}.gguf", kind, 1) for kind in above),
        *IN_FOLDERS,
    ]
    sizes = {path: each.size for path, each in repo.commits[repo.main].items()}
    both = sum(size for path, size in sizes.items() if path.startswith("BF16/"))
    assert next(row["bytes"] for row in found if row["type"] == "BF16") == both
    assert not hub.targets("store")
    assert names(open_model("org/x:bf16")) == ["a", "b"]
    assert names(open_model("org/x:UD-Q2_K_XL")) == ["a"]


def test_the_library_s_own_name_is_no_alternative(hub: HubServer, add: AddRepo) -> None:
    add("org/x", {"model.gguf": folders.gguf_weights("c"), **_in_folders()})
    facts = open_model("org/x")
    assert names(facts) == ["c"]
    assert "also here, not listed: BF16/m-BF16.gguf" in facts.notes[0].text


def test_a_projector_is_no_model_of_its_type(hub: HubServer, add: AddRepo) -> None:
    files: dict[str, object] = {
        "m-F16.gguf": folders.gguf_weights("a"),
        "m-Q8_0.gguf": folders.gguf_weights("a"),
        "mmproj-F16.gguf": folders.gguf_weights("p"),
        "m-mmproj-bf16.gguf": folders.gguf_weights("p"),
    }
    add("org/x", files)
    assert names(open_model("org/x:F16")) == ["a"]
    assert names(open_model("org/x", How(weights="mmproj-F16*"))) == ["p"]
    assert names(open_model("org/x/mmproj-F16.gguf")) == ["p"]
    with pytest.raises(NotFound, match="no GGUF file of type BF16") as caught:
        open_model("org/x:BF16")
    assert caught.value.hint == "there are: F16, Q8_0"
    add("org/y", {"mmproj-F16.gguf": folders.gguf_weights("p")})
    assert names(open_model("org/y:F16")) == ["p"]
    add("org/z", {"mmproj-F16.gguf": b"", "F16/m-F16.gguf": folders.gguf_weights("a")})
    assert names(open_model("org/z:F16")) == ["a"]


def test_config_of_many_gguf_files(ggufs: Repo, run: Run) -> None:
    done = run("config", "org/gguf")
    assert done.code == 2
    assert "3 GGUF files to choose from: org/gguf:TYPE or --weights GLOB" in done.err
