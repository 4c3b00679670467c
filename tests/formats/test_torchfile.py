"""The torch reader on files put together by hand: good ones, and one for each defect."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.errors import FormatError
from modelscope_cli.formats import torchfile
from modelscope_cli.formats.base import UnknownFormat
from modelscope_cli.formats.torchfile import scan_globals
from tests.builders.torch import (
    MARK,
    POP,
    Entry,
    Stored,
    archive,
    call,
    floating,
    get,
    integer,
    legacy,
    legacy_storage,
    made,
    mapping,
    name,
    ordered,
    pickled,
    put,
    sequence,
    several,
    sizes,
    storage,
    tensor,
    text,
)
from tests.corpus import make_torch
from tests.formats.torch_reading import CORPUS, Memory, names, our_rows, read_bytes, read_path, said

GOOD = sorted((CORPUS / "good" / "torch").iterdir())
BAD = sorted((CORPUS / "bad" / "torch").iterdir())

W, B = ("weight", "F32", (2, 3)), ("bias", "F32", (3,))
# What each good file holds: container, tensors, foreign globals.
EXPECTED: dict[str, tuple[str, list[Any], list[str]]] = {
    "state-dict": ("zip", [W, B], []),
    "renamed-root": ("zip", [W, B], []),
    "unaligned": ("zip", [W, B], []),
    "big-endian": ("zip", [W, B], []),
    "shared-storage": ("zip", [("a", "F32", (2, 3)), ("b", "F32", (3,))], []),
    "checkpoint": (
        "zip",
        [
            ("state_dict.weight", "F32", (2, 3)),
            ("optimizer.state.0.exp_avg", "F32", (6,)),
            ("schedule.1", "F32", (1,)),
        ],
        [],
    ),
    "strided": ("zip", [("weight", "F32", (2, 2))], []),
    "tensor-of-nothing": ("zip", [("weight", "F16", (0,))], []),
    "empty": ("zip", [], []),
    "lone-tensor": ("zip", [("tensor", "F32", (2, 3))], []),
    "parameter": ("zip", [W], []),
    "meta-device": ("zip", [("weight", "BF16", (4, 4))], []),
    "float8": ("zip", [("weight", "F8_E4M3", (4, 6))], []),
    "quantized": ("zip", [("weight", "QU4X2", (2, 5))], []),
    "sparse": ("zip", [("weight", "F32", (9,))], []),
    "whole-module": (
        "zip",
        [("fc.weight", "F32", (2, 3)), ("norm.running_mean", "F32", (3,))],
        [
            "__main__.Net",
            "torch.nn.modules.batchnorm.BatchNorm1d",
            "torch.nn.modules.linear.Linear",
        ],
    ),
    "deflated": ("zip", [W], []),
    "foreign-global": ("zip", [W, B], ["posix.system"]),
    "unused-storage": ("zip", [W], []),
    "torchscript": (
        "torchscript",
        [("fc.weight", "F32", (2, 3)), ("fc.running", "F32", (3,))],
        [],
    ),
    "torchscript-without-source": (
        "torchscript",
        [("fc.running", "F32", (3,)), ("fc.weight", "F32", (2, 3))],
        [],
    ),
    "torchscript-frozen": ("torchscript", [("CONSTANTS.c0", "F32", (2, 3))], []),
    "legacy": ("legacy", [W], []),
    "legacy-python2": ("legacy", [W], []),
    "legacy-view": ("legacy", [("weight", "F32", (3,))], []),
    "legacy-trailing": ("legacy", [W], []),
    "legacy-module": ("legacy", [W], ["torch.nn.modules.linear.Linear"]),
    "plain-pickle": ("pickle", [W], ["torch.storage._load_from_bytes"]),
}


def test_committed_corpus_is_what_its_maker_writes() -> None:
    committed = {
        path.relative_to(CORPUS): path.read_bytes()
        for kind in ("good", "bad")
        for path in (CORPUS / kind / "torch").iterdir()
    }
    assert committed == make_torch.files()
    assert max(map(len, committed.values())) < 4096


@pytest.mark.parametrize("path", GOOD, ids=lambda path: str(path.stem))
def test_good_corpus(path: Path) -> None:
    container, rows, foreign = EXPECTED[path.stem]
    contents = read_path(path)
    assert our_rows(contents) == rows
    assert contents.fact.metadata["container"] == container
    assert contents.fact.metadata["foreign_globals"] == foreign
    assert (contents.fact.path, contents.fact.format) == (path.name, "torch")
    assert contents.fact.size == path.stat().st_size
    warned = any(note.warning for note in contents.notes)
    assert warned == bool(foreign) or path.stem == "meta-device"


@pytest.mark.parametrize("path", BAD, ids=lambda path: str(path.stem))
def test_bad_corpus(path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read_path(path)
    assert type(caught.value).__name__ == path.stem.partition("--")[0]
    assert caught.value.message.startswith(f"{path.name}: ")
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4


# Offsets, bytes, storages


def test_offsets_are_those_of_the_data() -> None:
    for good in ("state-dict", "unaligned", "renamed-root"):
        data = make_torch.GOOD[good]
        for row in read_bytes(data).tensors:
            assert row.offset is not None
            stored = make_torch.TWO["0" if row.name == "weight" else "1"]
            assert data[row.offset : row.offset + row.bytes] == stored


def test_a_view_starts_inside_its_storage() -> None:
    whole, part = read_bytes(make_torch.GOOD["shared-storage"]).tensors
    assert part.offset == (whole.offset or 0) + 3 * 4
    assert (part.elements, part.bytes) == (3, 12)


def test_a_view_of_an_older_file_starts_inside_its_root() -> None:
    data = make_torch.GOOD["legacy-view"]
    (row,) = read_bytes(data).tensors
    assert row.offset == len(data) - 24 + 2 * 4


def test_shared_storages_are_named() -> None:
    metadata = read_bytes(make_torch.GOOD["checkpoint"]).fact.metadata
    assert metadata["shared_storages"] == [
        ["state_dict.weight", "optimizer.state.0.exp_avg", "schedule.1"]
    ]


def test_tensors_of_one_storage_are_the_same_only_at_the_same_place() -> None:
    value = mapping(
        {
            "a": tensor(),
            "tied": tensor(),
            "flat": tensor((6,)),
            "turned": tensor((2, 3), stride=(1, 2)),
            "end": tensor((3,), offset=3),
        }
    )
    metadata = read_bytes(archive(pickled(value))).fact.metadata
    assert metadata["shared_storages"] == [["a", "tied", "flat", "turned", "end"]]
    assert metadata["same_tensors"] == [["a", "tied"]]


def test_compressed_storages_have_no_offset() -> None:
    contents = read_bytes(make_torch.GOOD["deflated"])
    assert contents.tensors.offsets == [None]
    assert contents.tensors.bytes == [24]
    assert "1 storage compressed" in said(contents)


def test_byteorder_is_told() -> None:
    assert read_bytes(make_torch.GOOD["big-endian"]).fact.metadata["byteorder"] == "big"
    assert read_bytes(make_torch.GOOD["deflated"]).fact.metadata["byteorder"] is None


def test_packed_rows_end_in_whole_bytes() -> None:
    (row,) = read_bytes(make_torch.GOOD["quantized"]).tensors
    assert (row.elements, row.bytes) == (10, 6)


def test_sparse_tensors_weigh_what_is_stored() -> None:
    contents = read_bytes(make_torch.GOOD["sparse"])
    (row,) = contents.tensors
    assert (row.shape, row.elements, row.bytes, row.offset) == ((9,), 9, 24 + 12, None)
    assert "sparse" in said(contents)


def test_tensors_without_data_are_a_warning() -> None:
    contents = read_bytes(make_torch.GOOD["meta-device"])
    assert contents.tensors.offsets == [None]
    assert contents.tensors.bytes == [32]
    assert "meta device" in said(contents)


def test_storages_of_no_listed_tensor_are_counted() -> None:
    assert "1 storage (12 bytes)" in said(read_bytes(make_torch.GOOD["unused-storage"]))


def test_bytes_behind_a_legacy_file_are_a_note() -> None:
    contents = read_bytes(make_torch.GOOD["legacy-trailing"])
    assert "4 bytes after the last storage" in said(contents)
    assert not any(note.warning for note in contents.notes)


def test_zero_elements_need_no_place() -> None:
    data = archive(
        pickled(mapping({"none": tensor((0, 7), storage("1", 0), offset=3)})), {"1": b""}
    )
    (row,) = read_bytes(data).tensors
    assert (row.shape, row.elements, row.bytes) == ((0, 7), 0, 0)


def test_weights_are_never_read() -> None:
    weights = 10_000_000
    state = pickled(mapping({"weight": tensor((weights,), storage("0", weights))}))
    files = {
        "zip": Memory(archive(state, {"0": bytes(4 * weights)})),
        "legacy": Memory(
            legacy(
                mapping({"weight": tensor((weights,), legacy_storage("0", weights))}),
                [Stored("0", bytes(4 * weights), weights)],
            )
        ),
    }
    for file in files.values():
        torchfile.read(file)
        assert sum(length for _, length in file.read) < 300_000
        assert len(file.read) < 8


# Names


def _names_of(value: bytes) -> list[str]:
    return names(read_bytes(archive(pickled(value))))


def test_keys_that_are_no_strings() -> None:
    keys = [
        (integer(7), "7"),
        (b"N", "None"),
        (floating(0.5), "0.5"),
        (several(integer(1), text("a")), "(1, a)"),
        (several(several(integer(1))), "(?)"),
        (b"C\3abc", "abc"),
        (name("torch.float32"), "torch.float32"),
        (b"]", "?"),
    ]
    found = _names_of(mapping([(key, tensor()) for key, _ in keys]))
    assert found == [shown for _, shown in keys]


def test_a_shared_container_is_listed_wherever_it_is() -> None:
    state = put(mapping({"w": tensor()}), 0)
    assert _names_of(mapping({"model": state, "ema": get(0)})) == ["model.w", "ema.w"]


def test_a_container_in_itself_is_listed_once() -> None:
    value = put(b"}", 0) + MARK + text("w") + tensor() + text("me") + get(0) + b"u"
    assert _names_of(value) == ["w"]


def test_the_same_name_on_two_paths_is_a_warning() -> None:
    value = mapping({"a.b": tensor(), "a": mapping({"b": tensor()})})
    contents = read_bytes(archive(pickled(value)))
    assert names(contents) == ["a.b", "a.b"]
    assert "several tensors are called 'a.b'" in said(contents)


def test_attributes_and_items_of_unknown_objects() -> None:
    thing = made("thing.Thing", {"attribute": tensor()})
    full = (
        call("thing.List", tensor()) + MARK + tensor() + b"e" + MARK + text("k") + tensor() + b"u"
    )
    contents = read_bytes(archive(pickled(mapping({"a": thing, "b": full}))))
    assert names(contents) == ["a.attribute", "b.0", "b.0", "b.k"]
    assert contents.fact.metadata["foreign_globals"] == ["thing.List", "thing.Thing"]


def test_slots_and_attributes_of_unknown_objects() -> None:
    state = several(mapping({"a": tensor()}), mapping({"b": tensor()}))
    value = name("thing.Thing") + b")\x81" + state + b"b"
    assert _names_of(value) == ["a", "b"]


def test_a_default_dict_is_foreign_but_its_items_are_listed() -> None:
    value = call("collections.defaultdict", name("builtins.list"))
    value += MARK + text("w") + tensor() + b"u"
    contents = read_bytes(archive(pickled(value)))
    assert names(contents) == ["w"]
    assert "collections.defaultdict" in contents.fact.metadata["foreign_globals"]


def _subclass(state: bytes) -> bytes:
    inner = several(
        name("torchao.Tensor"), name("torch.bfloat16"), sizes((4, 4)), sizes((4, 1)),
        integer(0), b"N", b"N", b"\x89",
    )  # fmt: skip
    return call(
        "torch._tensor._rebuild_from_type_v2",
        name("torch._utils._rebuild_wrapper_subclass"),
        name("torchao.Tensor"),
        inner,
        state,
    )


def test_the_tensors_in_a_tensor_subclass_are_listed() -> None:
    contents = read_bytes(archive(pickled(mapping({"w": _subclass(mapping({"data": tensor()}))}))))
    assert names(contents) == ["w.data"]
    assert "'w' is a tensor subclass" in said(contents)


def test_a_tensor_subclass_without_tensors_is_without_data() -> None:
    contents = read_bytes(archive(pickled(mapping({"w": _subclass(b"}")}))))
    assert our_rows(contents) == [("w", "BF16", (4, 4))]
    assert contents.tensors.offsets == [None]


def test_older_tensors_get_their_place_as_state() -> None:
    state = several(storage(), integer(0), sizes((6,)), sizes((1,)))
    value = mapping({"w": name("torch.FloatTensor") + b")\x81" + state + b"b"})
    assert our_rows(read_bytes(archive(pickled(value)))) == [("w", "F32", (6,))]


# What a pickle would call


def test_foreign_globals_are_warned_of_by_name() -> None:
    contents = read_bytes(make_torch.GOOD["foreign-global"])
    (note,) = contents.notes
    assert note.warning
    assert "posix.system" in note.text


def test_only_the_first_of_many_names_are_shown() -> None:
    value = b"".join(name(f"thing.C{index:02}") + POP for index in range(20)) + tensor()
    contents = read_bytes(archive(pickled(value)))
    assert "thing.C04 and 15 more" in said(contents)
    assert len(contents.fact.metadata["foreign_globals"]) == 20


def test_tensors_that_depend_on_a_call_are_counted() -> None:
    lost = tensor(stored=call("thing.storage", integer(1)))
    contents = read_bytes(archive(pickled(mapping({"a": tensor(), "b": lost}))))
    assert names(contents) == ["a"]
    assert "1 tensor not listed" in said(contents)


def test_nothing_is_ever_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "was-run",)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(FormatError):
            read_bytes(archive(pickle.dumps([Attack()], protocol)))
        with pytest.raises(UnknownFormat):
            read_bytes(pickle.dumps([Attack()], protocol))
    assert not list(tmp_path.iterdir())


def test_scan_names_what_the_listing_calls_foreign() -> None:
    for good, (_, _, foreign) in EXPECTED.items():
        assert scan_globals(Memory(make_torch.GOOD[good])) == foreign


def test_scan_names_what_was_seen_before_a_defect() -> None:
    broken = archive(pickled(make_torch.ATTACK)[:-1] + b"\xff")
    assert scan_globals(Memory(broken)) == ["posix.system"]
    with pytest.raises(FormatError) as caught:
        read_bytes(broken)
    assert "posix.system" in (caught.value.hint or "")


def test_scan_looks_into_pickled_storages() -> None:
    data = make_torch.BAD["NotAStorage--an-attack-inside"]
    assert scan_globals(Memory(data)) == ["posix.system", "torch.storage._load_from_bytes"]


def test_scan_of_what_cannot_be_read_is_the_error() -> None:
    with pytest.raises(FormatError):
        scan_globals(Memory(make_torch.BAD["TruncatedPickle--no-stop"]))


# Containers


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("UnknownFormat--gzip", "gzip"),
        ("UnknownFormat--7z", "7z"),
        ("UnknownFormat--numpy", "numpy"),
        ("UnknownFormat--onnx", "ONNX"),
        ("UnknownFormat--ctranslate2", "CTranslate2"),
        ("LfsPointer--alone", "git lfs pull"),
        ("UnknownFormat--html", "HTML"),
        ("UnknownFormat--zeros", "zeros"),
        ("UnknownFormat--hdf5", "HDF5"),
        ("UnknownFormat--tar", "tar"),
        ("MissingPickle--numpy", "npz"),
        ("MissingPickle--keras", "Keras"),
        ("OldTarFormat--2016", "tar format"),
        ("NotATorchPickle--scikit-learn", "plain pickle"),
    ],
)
def test_what_is_no_torch_file_is_told_apart(bad: str, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_bytes(make_torch.BAD[bad])


def test_a_pickle_longer_than_the_first_window() -> None:
    state = mapping(
        {"x" * 1000 + str(index): tensor((1,), legacy_storage()) for index in range(999)}
    )
    assert len(read_bytes(legacy(state)).tensors) == 999


def test_constants_outside_the_state_dict_are_a_note() -> None:
    constants = Entry("archive/constants.pkl", pickled(several(tensor())))
    data = archive(
        pickled(make_torch.SCRIPT), more=(constants, Entry("archive/constants/0", bytes(24)))
    )
    contents = read_bytes(data)
    assert names(contents) == ["fc.running", "fc.weight"]
    assert "24 bytes of TorchScript constants" in said(contents)


def test_torchscript_objects_that_are_no_modules() -> None:
    packed = name("__torch__.torch.classes.Packed") + b")\x81" + several(tensor()) + b"b"
    plain = made("__torch__.Point", {"x": tensor()})
    value = made("__torch__.Net", {"w": tensor(), "training": b"\x89", "p": packed, "q": plain})
    more = (Entry("archive/constants.pkl", pickled(b")")),)
    assert names(read_bytes(archive(pickled(value), more=more))) == ["w"]


def test_torchscript_modules_in_a_circle() -> None:
    more = (Entry("archive/constants.pkl", pickled(b")")),)
    value = name("__torch__.Net") + b")\x81" + b"q\0"
    value += mapping({"w": tensor(), "training": b"\x89", "me": get(0)}) + b"b"
    assert names(read_bytes(archive(pickled(value), more=more))) == ["w"]


def test_python2_names_that_are_no_utf8() -> None:
    state = ordered([(b"U\2\xe9w", tensor(stored=legacy_storage()))])
    assert names(read_bytes(legacy(state))) == ["éw"]


def test_storage_lists_share_one_sequence() -> None:
    value = sequence(tensor(), tensor((1,)))
    assert names(read_bytes(archive(pickled(value)))) == ["0", "1"]
