"""Bytes of torch files whose tensors share storages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.analysis import params
from modelscope_cli.facts import TensorTable
from modelscope_cli.load import How, open_model
from modelscope_cli.reports import params as reports
from tests.builders.torch import archive, mapping, pickled, tensor


def examined(
    path: Path, value: Any, match: tuple[str, ...] = ()
) -> tuple[params.Params, list[str]]:
    path.write_bytes(archive(pickled(mapping(value))))
    facts = open_model(str(path), How())
    assert isinstance(facts.tensors, TensorTable)
    found = params.examine(facts, facts.tensors, params.Choice(match=match))
    return found, [note.text for note in reports.of_tensors(facts, found, None).notes]


def test_names_of_one_place_are_stored_once(tmp_path: Path) -> None:
    found, notes = examined(tmp_path / "a.pt", {f"t{n}": tensor() for n in range(10)})
    assert (found.totals.bytes, found.totals.parameters) == (24, 60)
    assert (found.loaded.parameters, found.loaded.bytes, found.loaded.basis) == (6, 24, "exact")
    said = "t1 is the same tensor as t0 (and 8 more names): stored once, listed under each"
    assert [note for note in notes if "same tensor" in note] == [said]
    assert not any("twice" in note for note in notes)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"a": tensor((10, 3), stride=(0, 1))}, 12),
        ({"a": tensor((1000,), stride=(0,))}, 4),
        ({"a": tensor(), "b": tensor((3,), offset=3)}, 24),
        ({"a": tensor((3,)), "b": tensor((3,), offset=3)}, 24),
        ({"a": tensor((3,)), "b": tensor((3,), offset=2)}, 20),
        ({"a": tensor((2,)), "b": tensor((2,), offset=4)}, 16),
        ({"a": tensor((2,), stride=(3,)), "b": tensor((2,), offset=1, stride=(3,))}, 16),
        ({"a": tensor((0,)), "b": tensor((2,))}, 8),
        ({"a": tensor((2,))}, 8),
    ],
)
def test_each_byte_counts_once(value: Any, size: int, tmp_path: Path) -> None:
    found, _ = examined(tmp_path / "a.pt", value)
    assert found.totals.bytes == size


def test_of_names_that_share_a_storage_the_listed_ones_count(tmp_path: Path) -> None:
    value = {"a": tensor(), "b": tensor((3,), offset=3), "c": tensor((3,), offset=3)}
    found, notes = examined(tmp_path / "a.pt", value, ("b", "c"))
    assert found.totals.bytes == 12
    assert "tensors share storages: the total counts each byte once" in notes


def test_other_formats_metadata_says_nothing_of_storages(tmp_path: Path) -> None:
    said = {"extents": "x", "same_tensors": "a b"}
    header: dict[str, Any] = {
        "__metadata__": said,
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    data = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(4))
    facts = open_model(str(path), How())
    assert isinstance(facts.tensors, TensorTable)
    found = params.examine(facts, facts.tensors, params.Choice())
    assert (found.totals.bytes, found.loaded.parameters) == (4, 1)


def test_a_trainers_state_is_no_parameter_of_the_model(tmp_path: Path) -> None:
    value = {
        "state_dict": mapping({"weight": tensor()}),
        "optimizer_states": mapping({"exp_avg": tensor(), "exp_avg_sq": tensor()}),
    }
    found, notes = examined(tmp_path / "a.ckpt", value)
    assert (found.totals.parameters, found.totals.tensors) == (6, 3)
    assert "2 tensors of a trainer's state: no parameters of the model" in notes
