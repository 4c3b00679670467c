"""Whether a pair's two tensors are equal, read from real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_cli.facts import ModelFacts, TensorTable, Unknown
from modelscope_cli.live import same_values as module
from modelscope_cli.live.same_values import same_values
from modelscope_cli.load import open_model

numpy = pytest.importorskip("numpy", reason="values are made with it")
safetensors = pytest.importorskip("safetensors.numpy", reason="it writes the files")


@pytest.fixture
def facts(tmp_path: Path) -> ModelFacts:
    values = numpy.arange(12, dtype=numpy.float32).reshape(4, 3)
    nearly = values.copy()
    nearly[3, 2] += 1
    safetensors.save_file(
        {"a": values, "same": values.copy(), "nearly": nearly, "half": values.astype("float16"),
         "turned": values.reshape(3, 4)},
        tmp_path / "model.safetensors",
    )  # fmt: skip
    return open_model(str(tmp_path))


@pytest.mark.parametrize("chunk", [1 << 22, 16])
def test_bytes_tell(facts: ModelFacts, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)

    assert same_values(facts, "a", "same") is True
    assert same_values(facts, "a", "nearly") is False
    assert same_values(facts, "a", "turned") is False


def test_a_file_named_itself(facts: ModelFacts) -> None:
    path = Path(facts.ref.path or "") / "model.safetensors"

    assert same_values(open_model(str(path)), "a", "same") is True


def test_what_bytes_do_not_tell(facts: ModelFacts, tmp_path: Path) -> None:
    assert same_values(facts, "a", "half") == Unknown("a is F32 and half F16: bytes do not compare")
    assert same_values(facts, "a", "b") == Unknown("0 tensors are called b")
    twice = TensorTable()
    for table in (facts.tensors, facts.tensors):
        assert isinstance(table, TensorTable)
        twice.extend(table)
    assert same_values(facts._replace(tensors=twice), "a", "same") == Unknown(
        "2 tensors are called a"
    )
    nowhere = facts._replace(ref=facts.ref._replace(path=None))
    assert isinstance(same_values(nowhere, "a", "same"), Unknown)
    (tmp_path / "model.safetensors").unlink()
    gone = same_values(facts, "a", "same")
    assert isinstance(gone, Unknown)
    assert "model.safetensors" in gone.reason
