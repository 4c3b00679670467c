"""Family F: each rule failing, passing, skipped."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests.audit.conftest import Audit, good
from tests.builders import folders, safetensors
from tests.builders.torch import archive
from tests.corpus.make_pickles import EVIL
from tests.running import ROOT

_BAD = ROOT / "tests" / "corpus" / "bad"
_SHARDS = {
    "DuplicateIndexKey", "IndexNotJson", "IndexPathEscape", "IndexTooLarge", "InvalidIndex",
    "MissingShard", "SplitMismatch", "TensorInOtherShard", "TensorInTwoShards", "TensorNotInIndex",
    "TensorNotInShard",
}  # fmt: skip
_LARGER = {"OffsetsHole", "TrailingBytes", "TrailingPickle"}


def _cases() -> list[Path]:
    return sorted(path for family in _BAD.iterdir() for path in family.iterdir())


@pytest.mark.parametrize("path", _cases(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_defect_that_readers_know_is_a_finding_and_no_error(path: Path, audit: Audit) -> None:
    said = audit(None, "--select", "F", model=str(path))
    assert (said.code, said.err.count("error")) == (1, 0)
    defect = path.name.partition("--")[0]
    rule = "F002" if defect in _SHARDS else "F007" if defect in _LARGER else "F001"
    assert any(each["message"].startswith(f"{defect}: ") for each in said.findings(rule))


def test_a_good_model_passes_every_rule_of_the_family(audit: Audit) -> None:
    # Its tensors are no class's: F003 is tried on real ones.
    said = audit(good(), "--select", "F", "--ignore", "F003")
    assert said.code == 0
    assert said.document["passed"] is True
    assert {each["status"] for each in said.document["rules"]} <= {"passed", "skipped"}
    assert not said.document["findings"]


def test_a_built_in_has_no_files_to_judge(audit: Audit) -> None:
    said = audit(None, model="builtin:llama3-8b")
    assert said.code == 0
    for rule in ("F004", "F005", "F006", "F008", "M002", "P001", "P003", "C001"):
        assert said.status(rule) == "skipped"


def test_a_second_set_that_nothing_would_load_is_read_too(audit: Audit) -> None:
    said = audit(good(adapter_model__safetensors=b"cut"), "--select", "F001")
    assert said.one("F001")["file"] == "adapter_model.safetensors"


def test_other_programs_bin_files_are_not_taken_for_checkpoints(audit: Audit) -> None:
    said = audit(good(**{"openvino/openvino_model__bin": bytes(range(200))}), "--select", "F")
    assert said.code == 0


def test_a_shard_that_is_missing(audit: Audit) -> None:
    files = folders.sharded()
    del files["model-00002-of-00002.safetensors"]
    said = audit(files, "--select", "F002")
    assert said.one("F002")["severity"] == "error"
    assert audit(folders.sharded(), "--select", "F002").status("F002") == "passed"


def _without_index() -> dict[str, object]:
    return {name: each for name, each in folders.sharded().items() if ".index." not in name}


def test_shards_without_an_index_are_found_by_nobody(audit: Audit) -> None:
    files = {**_without_index(), "config.json": {**folders.BERT, "architectures": ["BertModel"]}}
    said = audit(files, "--select", "F002")
    assert said.one("F002")["severity"] == "error"
    assert "model.safetensors.index.json" in said.one("F002")["message"]
    shard = next(name for name in files if "-of-" in name)
    assert audit(None, "--select", "F002", model=f"m/{shard}").code == 0
    said = audit({"model.safetensors": folders.weights("a")}, "--select", "F002")
    (found,) = [each for each in said.findings("F002") if "index.json" in each["message"]]
    assert found["severity"] == "warning"  # the whole file is loaded before them


@pytest.mark.parametrize("missing", ["index", None])
def test_transformers_finds_no_shards_without_an_index(
    audit: Audit, tmp_path: Path, missing: str | None
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "m", max_shard_size="3KB")
    if missing is not None:
        (tmp_path / "m" / "model.safetensors.index.json").unlink()
        with pytest.raises(OSError, match="no file named"):
            transformers.BertModel.from_pretrained(tmp_path / "m")
    else:
        transformers.BertModel.from_pretrained(tmp_path / "m")
    assert audit(None, "--select", "F002").code == (missing is not None)


def test_weights_that_would_be_loaded_under_a_wrong_name(audit: Audit, tmp_path: Path) -> None:
    files = good(model__safetensors=None, pytorch_model__bin=folders.weights("a.weight"))
    said = audit(files, "--select", "F006")
    assert (said.code, said.one("F006")["severity"]) == (1, "error")
    if (transformers := sys.modules.get("transformers")) is not None:
        with pytest.raises(Exception, match=r"."):  # which one is torch's own matter
            transformers.BertModel.from_pretrained(tmp_path / "m")
    said = audit(good(pytorch_model__bin=folders.weights("a.weight")), "--select", "F006")
    assert said.one("F006")["severity"] == "warning"


_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors", "pytorch_model.bin", "model.gguf", "other.bin", "config.json",
        "model.safetensors.index.json",
    ],
)  # fmt: skip
def test_a_pointer_of_git_lfs_says_what_to_do(audit: Audit, name: str) -> None:
    files = {**good(), name: _POINTER}
    said = audit(files, "--select", "F001")
    assert "git lfs pull" in said.one("F001")["message"]
    assert "LfsPointer" in said.one("F001")["message"]


@pytest.mark.parametrize(("name", "code"), [("optimizer.pt", 3), ("x.pkl", 3), ("model.bin", 1)])
def test_a_folder_that_holds_no_model_is_not_there(audit: Audit, name: str, code: int) -> None:
    assert audit({name: b"nothing"}, "--select", "F").code == code


def test_the_same_weights_twice(audit: Audit) -> None:
    twin = folders.weights(*(f"layer.{n}.weight" for n in range(9)))
    said = audit(good(model__safetensors=twin, copy__safetensors=twin), "--select", "F004")
    assert said.code == 0  # a warning
    assert said.one("F004")["severity"] == "warning"
    other = twin[:-1] + b"\1"
    assert audit(good(copy__safetensors=other), "--select", "F004").status("F004") == "passed"


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.pkl", b"payload")
    return out.getvalue()


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_checkpoint_that_is_also_an_archive(audit: Audit, comment: bytes) -> None:
    archive = _zip()
    if comment:
        archive = archive[:-2] + len(comment).to_bytes(2, "little") + comment
    header = safetensors.compact({"a": safetensors.entry("U8", [len(archive)], 0, len(archive))})
    both = safetensors.framed(header, archive)
    said = audit(good(model__safetensors=both), "--select", "F005")
    assert said.code == 1
    assert said.one("F005")["file"] == "model.safetensors"


@pytest.mark.parametrize("name", ["logo.png", "pytorch_model.bin"])
def test_an_archive_as_torch_writes_it_is_found_behind_something_else(
    audit: Audit, name: str
) -> None:
    both = b"\x89PNG\r\n\x1a\n" + bytes(100) + archive(EVIL, wide=True)
    said = audit({**good(), name: both}, "--select", "F005")
    assert (said.code, said.one("F005")["file"]) == (1, name)


def test_the_end_of_an_archive_by_chance_is_no_archive(audit: Audit) -> None:
    data = b"PK\5\6" + bytes(18)
    header = safetensors.compact({"a": safetensors.entry("U8", [len(data)], 0, len(data))})
    files = good(model__safetensors=safetensors.framed(header, data), x__zip=_zip())
    assert audit(files, "--select", "F005").code == 0


@pytest.mark.parametrize(
    ("name", "content", "severity"),
    [
        ("model.safetensors", _zip(), "error"),
        ("notes.txt", b"\x80\x04\x95\x01", "error"),
        ("config2.json", folders.weights("a"), "warning"),
        ("other.gguf", folders.weights("a"), "warning"),
        ("tool.py", b"\x7fELF" + bytes(60), "error"),
    ],
)
def test_files_that_are_not_what_their_names_say(
    audit: Audit, name: str, content: bytes, severity: str
) -> None:
    said = audit({**good(), name: content}, "--select", "F006")
    found = said.one("F006")
    assert (found["file"], found["severity"]) == (name, severity)
    assert said.code == (severity == "error")


def test_bytes_that_no_tensor_owns(audit: Audit) -> None:
    said = audit(good(model__safetensors=folders.weights("a") + b"more"), "--select", "F")
    assert said.one("F007")["message"].startswith("TrailingBytes")
    assert said.status("F001") == "passed"


def test_a_fifo_and_a_link_to_nothing(audit: Audit, tmp_path: Path) -> None:
    folders.write(tmp_path / "m", good())
    os.mkfifo(tmp_path / "m" / "pipe")
    (tmp_path / "m" / "gone.json").symlink_to("nowhere")
    said = audit(None, "--select", "F008")
    assert [each["file"] for each in said.findings("F008")] == ["gone.json", "pipe"]
    assert "a FIFO" in said.findings("F008")[1]["message"]


def test_weights_that_are_a_link_to_nothing_are_a_finding(audit: Audit, tmp_path: Path) -> None:
    folders.write(tmp_path / "m", good(model__safetensors=None))
    (tmp_path / "m" / "model.safetensors").symlink_to("nowhere")
    said = audit(None, "--select", "F")
    assert said.code == 1
    assert said.findings("F001")
    assert said.one("F008")["file"] == "model.safetensors"


def test_a_file_by_itself_is_not_judged_by_what_lies_beside_it(
    audit: Audit, tmp_path: Path
) -> None:
    folders.write(tmp_path / "m", good(bad__safetensors=b"cut"))
    said = audit(None, "--select", "F", model="m/model.safetensors")
    assert said.code == 0
    assert audit(None, model="m/bad.safetensors").code == 1
