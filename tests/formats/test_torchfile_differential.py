"""The torch reader against torch itself, on files that torch writes in this run."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.dtypes import TORCH
from modelscope_cli.facts import FileContents
from modelscope_cli.formats.torch_globals import BUILDERS, SCRIPT_BUILDERS
from modelscope_cli.formats.torch_zip import read_archive
from tests.corpus import make_torch
from tests.formats.torch_reading import (
    Memory,
    Row,
    names,
    our_rows,
    read_bytes,
    read_path,
    said,
    stored_bytes,
    torch_row,
    torch_rows,
    torch_tensors,
)

torch: Any = pytest.importorskip("torch", reason="asks torch, which the test extra leaves out")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch deprecates much of what it still writes

WRITERS: dict[str, dict[str, Any]] = {
    "zip": {},
    "zip-protocol-4": {"pickle_protocol": 4},
    "zip-protocol-5": {"pickle_protocol": 5},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy-protocol-3": {"_use_new_zipfile_serialization": False, "pickle_protocol": 3},
}
every_container = pytest.mark.parametrize("writer", WRITERS)


def saved(value: Any, writer: str = "zip") -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **WRITERS[writer])
    return buffer.getvalue()


def loaded(data: bytes, writer: str = "zip") -> Any:
    """What torch loads again; its safe unpickler knows no opcodes beyond protocol 2."""
    return torch.load(io.BytesIO(data), weights_only="protocol" not in writer)


def check(value: Any, writer: str, *, reloaded: bool = True) -> FileContents:
    """Our names, dtypes, shapes and places are those of what torch loads again."""
    data = saved(value, writer)
    contents = read_bytes(data)
    tensors = list(torch_tensors(loaded(data, writer) if reloaded else value))
    assert our_rows(contents) == [torch_row(name, tensor) for name, tensor in tensors]
    for row, (_, tensor) in zip(contents.tensors, tensors, strict=True):
        if row.offset is not None and tensor.is_contiguous():
            assert data[row.offset : row.offset + row.bytes] == stored_bytes(tensor)
    return contents


def test_known_globals_are_those_of_weights_only() -> None:
    from torch import _weights_only_unpickler as unpickler

    allowed = set(unpickler._get_allowed_globals())
    assert allowed <= set(BUILDERS)
    assert set(BUILDERS) - allowed == {
        # Written by older torch for the same tensors; no longer read.
        "torch._utils._rebuild_xla_tensor",
        "torch._utils._rebuild_sparse_csr_tensor",
    }


def test_torchscript_helpers_are_those_of_torch() -> None:
    import torch.jit._pickle as helpers

    public = {name for name in vars(helpers) if name.startswith(("build_", "restore_"))}
    assert {f"torch.jit._pickle.{name}" for name in public} == set(SCRIPT_BUILDERS) - set(BUILDERS)


SMALL_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)}
DTYPES = sorted(
    {
        str(value).removeprefix("torch.")
        for value in vars(torch).values()
        if isinstance(value, torch.dtype)
    }
    - SMALL_INTEGERS  # shells for libraries: torch cannot save a tensor of them
)


def test_every_dtype_of_torch_is_known() -> None:
    assert set(DTYPES) == set(TORCH)


@every_container
@pytest.mark.parametrize("dtype", [name for name in DTYPES if not name.startswith("q")])
def test_dtypes(dtype: str, writer: str) -> None:
    if dtype.startswith("quint"):
        pytest.skip("quantized: tested below")
    kind = getattr(torch, dtype)
    raw = torch.arange(48, dtype=torch.uint8) % 2
    # torch writes its newer dtypes into legacy files, and cannot read them there.
    reloaded = "legacy" not in writer or kind not in torch.storage._new_dtypes()
    value = {"w": raw.view(kind).reshape(3, -1), "s": raw[:16].view(kind)[:1]}
    contents = check(value, writer, reloaded=reloaded)
    assert contents.fact.metadata["foreign_globals"] == []
    assert contents.notes == ()


@every_container
def test_pairs_of_float4_are_counted_as_safetensors_counts_them(writer: str) -> None:
    library: Any = pytest.importorskip("safetensors.torch", reason="compares with safetensors")
    value = {"w": torch.zeros(3, 8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}
    (row,) = read_bytes(saved(value, writer)).tensors
    header = library.save(value)
    assert f'"shape":{list(row.shape)}'.replace(" ", "").encode() in header
    assert (row.elements, row.bytes) == (48, 24)


@every_container
def test_views_and_shared_storages(writer: str) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    value = {
        "base": base,
        "row": base[2],
        "column": base[:, 1],
        "steps": base[::2, ::3],
        "transposed": base.T,
        "expanded": base[0].expand(5, 6),
        "tied": base,
        "other": torch.zeros(2),
    }
    contents = check(value, writer)
    (shared,) = contents.fact.metadata["shared_storages"]
    assert shared == [name for name in value if name != "other"]
    offsets = dict(zip(contents.tensors.names, contents.tensors.offsets, strict=True))
    assert offsets["row"] == (offsets["base"] or 0) + 2 * 6 * 4
    assert offsets["steps"] == offsets["transposed"] == offsets["tied"] == offsets["base"]
    assert contents.tensors.bytes[5] == 5 * 6 * 4


@every_container
def test_containers_inside_containers(writer: str) -> None:
    value = {
        "state_dict": OrderedDict(a=torch.zeros(2)),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "list": [torch.zeros(1), (torch.ones(2), {"deep": torch.zeros(1, 1)})],
        "epoch": 3,
        "others": [None, True, 1.5, "text", b"bytes", {1, 2}, torch.Size([3]), torch.float16,
                   torch.device("cpu"), 2**70, complex(1, 2), bytearray(b"x")],
    }  # fmt: skip
    contents = check(value, writer)
    assert contents.fact.metadata["foreign_globals"] == []
    assert "optimizer.state.0.exp_avg" in names(contents)


@every_container
def test_parameters_and_buffers(writer: str) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    marked = torch.nn.Parameter(torch.zeros(3))
    marked.note = "kept"
    tensor = torch.zeros(4)
    tensor.note = "kept"
    check({"a": parameter, "b": marked, "c": tensor, "d": torch.nn.Buffer(torch.ones(2))}, writer)


@every_container
def test_one_tensor_and_none(writer: str) -> None:
    assert names(check(torch.zeros(2, 2), writer)) == ["tensor"]
    assert names(check({}, writer)) == []
    assert names(check({"epoch": 3}, writer)) == []
    check({"empty": torch.zeros(0, 5), "scalar": torch.tensor(3)}, writer)


@every_container
def test_state_of_a_model_and_its_optimizer(writer: str) -> None:
    model = a_model()
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    check(model.state_dict(), writer)
    check({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, writer)


def a_model() -> Any:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2, bias=False), "b": torch.nn.GRU(2, 2)}),
    )
    model.register_buffer("kept", torch.ones(1))
    model.register_buffer("dropped", torch.ones(1), persistent=False)
    model.register_parameter("none", None)
    model.tied = model[2]["a"]
    return model


@every_container
def test_a_module_saved_whole(writer: str) -> None:
    model = a_model()
    contents = read_bytes(saved(model, writer))
    assert our_rows(contents) == torch_rows(dict(model.state_dict()))
    foreign = contents.fact.metadata["foreign_globals"]
    assert "torch.nn.modules.conv.Conv2d" in foreign
    assert "torch.nn.modules.conv.Conv2d" in said(contents)
    assert "1 storage (4 bytes)" in said(contents)  # the buffer that is not persistent


@every_container
def test_quantized_tensors(writer: str) -> None:
    values = torch.arange(15.0).reshape(3, 5)
    per_channel = (torch.ones(3), torch.zeros(3), 0)
    value = {
        "int8": torch.quantize_per_tensor(values, 0.1, 0, torch.qint8),
        "uint8": torch.quantize_per_tensor(values, 0.1, 0, torch.quint8),
        "int32": torch.quantize_per_tensor(values, 0.1, 0, torch.qint32),
        "channels": torch.quantize_per_channel(values, *per_channel, torch.qint8),
        "4x2": torch.quantize_per_channel(values, *per_channel, torch.quint4x2),
        "2x4": torch.quantize_per_channel(values, *per_channel, torch.quint2x4),
    }
    data = saved(value, writer)
    contents = read_bytes(data)
    again = loaded(data, writer)
    assert our_rows(contents) == [torch_row(name, tensor) for name, tensor in again.items()]
    assert contents.tensors.bytes == [
        tensor.untyped_storage().nbytes() for tensor in again.values()
    ]
    for row, tensor in zip(contents.tensors, value.values(), strict=True):
        assert row.offset is not None
        own = bytes(tensor.untyped_storage().tolist())
        assert data[row.offset : row.offset + row.bytes] == own


@every_container
def test_sparse_tensors(writer: str) -> None:
    dense = torch.eye(4)
    value = {
        "coo": dense.to_sparse(),
        "csr": dense.to_sparse_csr(),
        "csc": dense.to_sparse_csc(),
        "bsr": dense.to_sparse_bsr((2, 2)),
        "plain": dense,
    }
    contents = read_bytes(saved(value, writer))
    assert our_rows(contents) == torch_rows(value)
    sizes = dict(zip(contents.tensors.names, contents.tensors.bytes, strict=True))
    assert sizes["coo"] == 2 * 4 * 8 + 4 * 4
    assert sizes["csr"] == (5 + 4) * 8 + 4 * 4


@every_container
def test_nested_tensors_are_their_buffer(writer: str) -> None:
    value = {"n": torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(1, 3)])}
    assert our_rows(read_bytes(saved(value, writer))) == [Row("n", "F32", (9,))]


@every_container
def test_tensors_on_the_meta_device(writer: str) -> None:
    value = {"w": torch.empty(3, 4, dtype=torch.float16, device="meta")}
    contents = read_bytes(saved(value, writer))
    assert our_rows(contents) == torch_rows(value)
    assert (contents.tensors.offsets, contents.tensors.bytes) == ([None], [24])
    assert "meta device" in said(contents)


@every_container
def test_storages_alone_are_no_tensors(writer: str) -> None:
    value = {"w": torch.zeros(2), "s": torch.zeros(3).untyped_storage()}
    contents = read_bytes(saved(value, writer))
    assert names(contents) == ["w"]
    assert "1 storage (12 bytes)" in said(contents)


@every_container
def test_many_tensors(writer: str) -> None:
    check({f"layers.{index}.weight": torch.full((2, 2), index) for index in range(700)}, writer)


def test_places_in_the_archive_are_those_that_torch_computes() -> None:
    data = saved({str(index): torch.zeros(index, 3) for index in range(40)})
    ours = read_archive(Memory(data))
    theirs = torch._C.PyTorchFileReader(io.BytesIO(data))
    for name, entry in ours.entries.items():
        record = name.decode().partition("/")[2]
        assert ours.data_start(entry) == theirs.get_record_offset(record)


def test_storages_beyond_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "sparse.pt"  # 8 KiB on disk
    value = {
        "first": torch.zeros(3),
        "huge": torch.empty(2_200_000_000, dtype=torch.bfloat16),
        "behind": torch.zeros(5),
    }
    with torch.serialization.skip_data():
        torch.save(value, path)
    contents = read_path(path)
    assert our_rows(contents) == torch_rows(value)
    theirs = torch._C.PyTorchFileReader(str(path))
    places = [theirs.get_record_offset(f"data/{key}") for key in range(3)]
    assert contents.tensors.offsets == places
    assert places[2] > 2**32


@pytest.mark.parametrize("alignment", [1, 64, 4096])
def test_other_alignments(alignment: int) -> None:
    from torch.utils.serialization import config

    with config.patch({"save.storage_alignment": alignment}):
        check({"a": torch.arange(5.0), "b": torch.arange(7, dtype=torch.int8)}, "zip")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_tensors(protocol: int) -> None:
    value = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    data = pickle.dumps(value, protocol)
    if protocol < 3:  # bytes as text: no offset to give, and nobody wrote such files
        with pytest.raises(Exception, match="something else than bytes"):
            read_bytes(data)
        return
    contents = read_bytes(data)
    assert our_rows(contents) == torch_rows(value)
    for row in contents.tensors:
        assert row.offset is not None
        assert data[row.offset : row.offset + row.bytes] == stored_bytes(value[row.name])
    assert "torch.load refuses" in said(contents)


# TorchScript


class Scripted(torch.nn.Module):  # type: ignore[misc]  # torch is optional, so untyped
    """Parameters, buffers of both kinds, and tensors that are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(3))
        self.weight = torch.nn.Parameter(torch.zeros(3, 4))
        self.register_buffer("transient", torch.zeros(2), persistent=False)
        self.attribute = torch.ones(2)
        self.listed = [torch.ones(5)]
        self.pair = (torch.ones(6), 1)
        self.tied = self.weight
        self.inner = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(2, 2, False)])
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        extra = self.attribute.sum() + self.listed[0].sum() + self.pair[0].sum()
        return x + self.weight.sum() + self.kept.sum() + self.transient.sum() + extra


def script_bytes(module: Any) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


def traced(module: Any) -> Any:
    del module.tied  # torch does not trace parameters that are shared
    return torch.jit.trace(module, torch.zeros(1))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="TorchScript ends with Python 3.13")
@pytest.mark.parametrize("make", [torch.jit.script, traced])
def test_torchscript(make: Callable[[Any], Any]) -> None:
    data = script_bytes(make(Scripted()))
    contents = read_bytes(data)
    state = torch.jit.load(io.BytesIO(data)).state_dict()
    assert our_rows(contents) == torch_rows(dict(state))
    assert contents.fact.metadata["container"] == "torchscript"
    assert contents.fact.metadata["foreign_globals"] == []


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="TorchScript ends with Python 3.13")
def test_frozen_torchscript() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()).eval()
    contents = read_bytes(script_bytes(torch.jit.freeze(torch.jit.script(module))))
    assert sorted(row.shape for row in contents.tensors) == [(2,), (2, 4)]
    assert names(contents)[0] == "CONSTANTS.c0"
    assert "frozen" in said(contents)


# The files put together by hand are files to torch too

LOADED_BY_WEIGHTS_ONLY = (
    "tensor-of-nothing",
    "state-dict", "renamed-root", "unaligned", "shared-storage", "checkpoint", "strided", "empty",
    "lone-tensor", "parameter", "meta-device", "float8", "sparse", "deflated", "unused-storage",
    "legacy", "legacy-python2", "legacy-view", "legacy-trailing", "quantized",
)  # fmt: skip


@pytest.mark.parametrize("good", LOADED_BY_WEIGHTS_ONLY)
def test_good_corpus_as_torch_loads_it(good: str) -> None:
    data = make_torch.GOOD[good]
    assert our_rows(read_bytes(data)) == torch_rows(loaded(data))


# torch reads past these; here they are defects, because what is read is then not what was saved.
STRICTER_THAN_TORCH = {
    "BadShape--a-bool", "DuplicateTensor--same-key", "NameTooLong--65536",
    "TooManyNames--billion-laughs", "TrailingPickle--a-second-one", "TooManyDimensions--65",
    "BadPersistentId--two-sizes", "TensorOutsideStorage--packed-rows", "UnsupportedProtocol--9",
    "BadStorageKeys--twice", "BadStorageKeys--missing", "BadStorageKeys--no-list",
}  # fmt: skip


@pytest.mark.parametrize("bad", [name for name in make_torch.BAD
                                 if name not in STRICTER_THAN_TORCH])  # fmt: skip
def test_bad_corpus_is_bad_to_torch(bad: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  (torch raises many kinds)
        loaded(make_torch.BAD[bad])
