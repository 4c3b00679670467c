"""Write the torch corpus: good files of every container, and one file for each defect.

Nothing here can do harm: where a pickle names `posix.system`, it would call `true`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.builders.torch import (
    BUILD,
    FALSE,
    MAGIC,
    MARK,
    NONE,
    PERSID,
    POP,
    PROTO2,
    REDUCE,
    STOP,
    Entry,
    Stored,
    archive,
    call,
    deflated,
    floating,
    get,
    integer,
    legacy,
    legacy_storage,
    long,
    made,
    mapping,
    name,
    ordered,
    pickled,
    put,
    python2_text,
    sequence,
    several,
    sizes,
    storage,
    tensor,
    text,
    zipped,
)

HERE = Path(__file__).parent

STATE = ordered({"weight": tensor(), "bias": tensor((3,), storage("1", 3))})
TWO = {"0": struct.pack("<6f", *range(6)), "1": struct.pack("<3f", *range(3))}
OLD_STATE = ordered({"weight": tensor(stored=legacy_storage())})
ATTACK = call("posix.system", text("true"))


def _zip(value: bytes) -> bytes:
    """An archive of this object with one storage of six floats."""
    return archive(pickled(value))


def _raw(pickle: bytes) -> bytes:
    return archive(pickle)


def _weight(made_of: bytes) -> bytes:
    return _zip(mapping({"weight": made_of}))


def _persistent(identifier: bytes) -> bytes:
    return _weight(tensor(stored=identifier + PERSID))


def _entries(*entries: Entry) -> bytes:
    pickle = Entry("archive/data.pkl", pickled(mapping({"weight": tensor()})))
    return zipped([pickle, Entry("archive/data/0", bytes(24)), *entries])


def _module(**groups: bytes) -> dict[str, bytes]:
    empty = {"_parameters": ordered({}), "_buffers": ordered({}), "_modules": ordered({})}
    return {"training": FALSE, **empty, **groups}


LINEAR = made(
    "torch.nn.modules.linear.Linear",
    _module(_parameters=ordered({"weight": tensor(), "bias": NONE})),
)
NORM = made(
    "torch.nn.modules.batchnorm.BatchNorm1d",
    _module(
        _buffers=ordered({"running_mean": tensor((3,)), "scratch": tensor((1,))}),
        _non_persistent_buffers_set=call("builtins.set", sequence(text("scratch"))),
    ),
)
WHOLE_MODULE = made("__main__.Net", _module(_modules=ordered({"fc": LINEAR, "norm": NORM})))

SCRIPT_SOURCE = b"""class Linear(Module):
  __parameters__ = ["weight", ]
  __buffers__ = ["running", ]
  running : Tensor
  weight : Tensor
  training : bool
  cached : Tensor
  def forward(self: __torch__.Linear, x: Tensor) -> Tensor:
    return torch.linear(x, self.weight, None)
class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  fc : __torch__.Linear
"""
SCRIPT = made(
    "__torch__.Net",
    {
        "training": FALSE,
        "fc": made(
            "__torch__.Linear",
            {
                "running": tensor((3,)),
                "weight": tensor(),
                "training": FALSE,
                "cached": tensor((1,)),
                "steps": call("torch.jit._pickle.build_intlist", sequence(integer(1))),
            },
        ),
    },
)


def _script(value: bytes, constants: bytes = b"", more: tuple[Entry, ...] = ()) -> bytes:
    empty = Entry("archive/constants.pkl", pickled(several(constants)))
    return archive(pickled(value), more=(empty, *more))


PLAIN_STORAGE = legacy(legacy_storage())
QUANTIZED = call(
    "torch._utils._rebuild_qtensor",
    storage("0", 6, "torch.QUInt4x2Storage"),
    integer(0),
    sizes((2, 5)),
    sizes((5, 1)),
    several(name("torch.per_tensor_affine"), floating(0.5), integer(0)),
    FALSE,
    ordered({}),
)
SPARSE = call(
    "torch._utils._rebuild_sparse_tensor",
    call("torch.serialization._get_layout", text("torch.sparse_coo")),
    several(
        tensor((1, 3), storage("0", 3, "torch.LongStorage")),
        tensor((3,), storage("1", 3)),
        call("torch.Size", several(integer(9))),
        FALSE,
    ),
)
FLOAT8 = call(
    "torch._utils._rebuild_tensor_v3",
    storage("0", 24, "torch.storage.UntypedStorage"),
    integer(0),
    sizes((4, 6)),
    sizes((6, 1)),
    FALSE,
    ordered({}),
    name("torch.float8_e4m3fn"),
)
PROTOCOL_4 = (
    b"\x80\x04\x95" + struct.pack("<Q", 40) + b"}\x94\x8c\x06weight\x94\x8c\x05torch\x94"
    b"\x8c\x04Size\x94\x93\x94)R\x94s" + STOP
)
PYTHON2 = (
    name("collections.OrderedDict")
    + several(sequence(sequence(python2_text(b"weight"), tensor(stored=legacy_storage()))))
    + REDUCE
)
VIEW = several(text("1"), integer(2), integer(3))
WIDE_VIEW = several(text("1"), integer(4), integer(3))

GOOD = {
    "state-dict": archive(pickled(STATE), TWO),
    "renamed-root": archive(pickled(STATE), TWO, root="pytorch_model"),
    "unaligned": archive(pickled(STATE), TWO, align=0),
    "big-endian": archive(pickled(STATE), TWO, byteorder=b"big"),
    "shared-storage": _zip(mapping({"a": tensor(), "b": tensor((3,), offset=3)})),
    "checkpoint": _zip(
        mapping(
            {
                "state_dict": ordered({"weight": tensor()}),
                "optimizer": mapping(
                    {"state": mapping([(integer(0), mapping({"exp_avg": tensor((6,))}))])}
                ),
                "epoch": integer(3),
                "schedule": sequence(floating(0.1), tensor((1,))),
            }
        )
    ),
    "strided": _weight(tensor((2, 2), offset=1, stride=(3, 1))),
    "tensor-of-nothing": _weight(call("torch.HalfTensor")),
    "empty": archive(pickled(ordered({})), {}),
    "lone-tensor": _zip(tensor()),
    "parameter": _weight(call("torch._utils._rebuild_parameter", tensor(), FALSE, ordered({}))),
    "meta-device": archive(
        pickled(
            mapping(
                {
                    "weight": call(
                        "torch._utils._rebuild_meta_tensor_no_storage",
                        name("torch.bfloat16"),
                        sizes((4, 4)),
                        sizes((4, 1)),
                        FALSE,
                    )
                }
            )
        ),
        {},
    ),
    "float8": _weight(FLOAT8),
    "quantized": archive(pickled(mapping({"weight": QUANTIZED})), {"0": bytes(6)}),
    "sparse": archive(pickled(mapping({"weight": SPARSE})), {"0": bytes(24), "1": bytes(12)}),
    "whole-module": _zip(WHOLE_MODULE),
    "deflated": zipped(
        [
            deflated("archive/data.pkl", pickled(mapping({"weight": tensor()}))),
            deflated("archive/data/0", bytes(24)),
            deflated("archive/version", b"3\n"),
        ]
    ),
    "foreign-global": _zip(ATTACK + POP + STATE.replace(storage("1", 3), storage())),
    "unused-storage": archive(pickled(mapping({"weight": tensor(), "s": storage("1", 3)})), TWO),
    "torchscript": _script(SCRIPT, more=(deflated("archive/code/__torch__.py", SCRIPT_SOURCE),)),
    "torchscript-without-source": _script(SCRIPT),
    "torchscript-frozen": archive(
        pickled(made("__torch__.Net", {})),
        {},
        more=(
            Entry("archive/constants/0", bytes(24)),
            Entry("archive/constants.pkl", pickled(several(tensor()))),
        ),
    ),
    "legacy": legacy(OLD_STATE),
    "legacy-python2": legacy(PYTHON2),
    "legacy-view": legacy(mapping({"weight": tensor((3,), legacy_storage(view=VIEW))})),
    "legacy-trailing": legacy(OLD_STATE) + b"more",
    "legacy-module": legacy(
        several(text("module"), name("torch.nn.modules.linear.Linear"), text("f.py"), text(""))
        + PERSID
        + b")\x81"
        + mapping(_module(_parameters=ordered({"weight": tensor(stored=legacy_storage())})))
        + BUILD
    ),
    "plain-pickle": pickled(
        mapping(
            {
                "weight": tensor(
                    stored=name("torch.storage._load_from_bytes")
                    + several(b"B" + struct.pack("<I", len(PLAIN_STORAGE)) + PLAIN_STORAGE)
                    + REDUCE
                )
            }
        )
    ),
}

# A dict that holds the one before it ten times over, thirty levels up from a tensor.
LAUGHS = put(mapping({"w": tensor()}), 0) + b"".join(
    put(mapping({str(index): get(level) for index in range(10)}), level + 1) for level in range(30)
)
FULL = MARK + integer(1) * 65 + b"t"


def _tar(member: bytes) -> bytes:
    head = bytearray(512)
    head[: len(member)] = member
    head[257:263] = b"ustar\0"
    return bytes(head) + bytes(512)


BAD = {
    # The pickle's opcodes
    "TruncatedPickle--no-stop": _raw(PROTO2 + mapping({"weight": tensor()})),
    "TruncatedPickle--empty": _raw(b""),
    "TruncatedPickle--cut-in-a-string": _raw(PROTO2 + b"X\x10\0\0\0weight"),
    "TruncatedPickle--cut-in-an-argument": _raw(PROTO2 + b"J\1\0"),
    "TruncatedPickle--string-of-4-gib": _raw(PROTO2 + b"X\xff\xff\xff\xffweight."),
    "TruncatedPickle--bytes-of-16-eib": _raw(PROTO2 + b"\x8e" + b"\xff" * 8 + b"x."),
    "TruncatedPickle--line-without-end": _raw(PROTO2 + b"ctorch\nSize"),
    "TruncatedPickle--legacy": legacy(OLD_STATE)[:200],
    "UnknownOpcode--0xff": _raw(PROTO2 + b"\xff."),
    "UnknownOpcode--text": _raw(b"\x80\x02?"),
    "UnsupportedProtocol--9": _raw(b"\x80\x09N."),
    "StackUnderflow--reduce": _raw(PROTO2 + b")R."),
    "StackUnderflow--stop": _raw(PROTO2 + b"."),
    "StackUnderflow--put": _raw(PROTO2 + b"q\0."),
    "StackUnderflow--below-a-mark": _raw(PROTO2 + b"N(\x85."),
    "MissingMark--tuple": _raw(PROTO2 + b"Nt."),
    "MissingMark--setitems": _raw(PROTO2 + b"}u."),
    "MissingMemo--binget": _raw(PROTO2 + b"h\x07."),
    "MissingMemo--long-binget": _raw(PROTO2 + b"j\xff\xff\xff\x7f."),
    "MissingMemo--get": _raw(b"g1\n."),
    "BadOpcodeArgument--string-not-utf8": _raw(PROTO2 + text(b"\xff\xfe") + STOP),
    "BadOpcodeArgument--global-not-utf8": _raw(b"c\xff\nsystem\n."),
    "BadOpcodeArgument--number-in-words": _raw(b"Iseven\n."),
    "BadOpcodeArgument--number-of-3000-digits": _raw(b"L" + b"9" * 3000 + b"L\n."),
    "BadOpcodeArgument--memo-minus-1": _raw(b"Np-1\n."),
    "BadOpcodeArgument--key-without-value": _raw(PROTO2 + b"}(K\1u."),
    "BadOpcodeArgument--negative-length": _raw(PROTO2 + b"\x8b\xff\xff\xff\xff."),
    "BadOpcodeArgument--unquoted-string": _raw(b"Sweight\n."),
    "IntegerTooLarge--2-gib": _raw(PROTO2 + b"\x8b\xff\xff\xff\x7f."),
    "FrameOverrun--beyond-the-end": _raw(b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N."),
    "FrameOverrun--frame-in-a-frame": _raw(
        b"\x80\x04\x95" + struct.pack("<Q", 11) + b"\x95" + struct.pack("<Q", 1) + b"N."
    ),
    "ExtensionOpcode--ext1": _raw(PROTO2 + b"\x82\1."),
    "ExtensionOpcode--ext4": _raw(PROTO2 + b"\x84\1\0\0\0."),
    "OutOfBandBuffer--next-buffer": _raw(b"\x80\x05\x97."),
    "BadGlobal--of-numbers": _raw(b"\x80\x04K\1K\2\x93."),
    "BadGlobal--name-of-2000": _raw(b"cposix\n" + b"x" * 2000 + b"\n."),
    "WrongTarget--append-to-a-dict": _zip(b"}N" + b"a"),
    "WrongTarget--setitem-on-a-list": _zip(b"]NNs"),
    "WrongTarget--build-on-a-class": _zip(name("torch.Tensor") + b"}b"),
    "WrongTarget--append-to-a-tensor": _weight(tensor() + b"Na"),
    "TrailingPickle--a-second-one": _raw(pickled(STATE) + pickled(ATTACK)),
    # Storages and tensors
    "BadPersistentId--no-tuple": _persistent(text("0")),
    "BadPersistentId--text-opcode": _zip(b"P0\n"),
    "BadPersistentId--unknown-kind": _persistent(several(text("file"), text("/etc/passwd"))),
    "BadPersistentId--unknown-class": _weight(tensor(stored=storage(kind="torch.WideStorage"))),
    "BadPersistentId--foreign-class": _weight(tensor(stored=storage(kind="os.FloatStorage"))),
    "BadPersistentId--minus-1-elements": _weight(tensor(stored=storage(elements=-1))),
    "BadPersistentId--two-sizes": _zip(sequence(tensor(), tensor((1,), storage(elements=7)))),
    "BadPersistentId--view-beyond-storage": legacy(
        mapping({"w": tensor((3,), legacy_storage(view=WIDE_VIEW))})
    ),
    "BadCall--tensor-of-no-storage": _weight(tensor(stored=text("0"))),
    "BadCall--too-few-arguments": _weight(
        call("torch._utils._rebuild_tensor_v2", storage(), integer(0))
    ),
    "BadCall--dtype-is-text": _weight(FLOAT8.replace(name("torch.float8_e4m3fn"), text("f8"))),
    "BadCall--dict-from-a-number": _zip(call("collections.OrderedDict", integer(1))),
    "BadCall--sparse-without-values": _weight(
        call("torch._utils._rebuild_sparse_tensor", NONE, several(NONE, NONE, NONE))
    ),
    "MissingStorage--not-in-the-archive": archive(pickled(STATE), {"0": bytes(24)}),
    "MissingStorage--plain-pickle": pickled(mapping({"w": tensor(stored=legacy_storage())})),
    "StorageSizeMismatch--short-entry": archive(pickled(STATE), {**TWO, "1": bytes(11)}),
    "StorageSizeMismatch--long-entry": archive(pickled(STATE), {**TWO, "1": bytes(16)}),
    "StorageSizeMismatch--unlisted": archive(
        pickled(mapping({"weight": tensor(), "s": storage("1", 4)})), TWO
    ),
    "StorageSizeMismatch--legacy-count": legacy(OLD_STATE, [Stored("0", elements=5)]),
    "StorageSizeMismatch--legacy-minus-1": legacy(OLD_STATE, [Stored("0", elements=-1)]),
    "TensorOutsideStorage--offset": _weight(tensor(offset=1)),
    "TensorOutsideStorage--stride": _weight(tensor(stride=(4, 1))),
    "TensorOutsideStorage--huge": _weight(tensor((2**40,))),
    "TensorOutsideStorage--packed-rows": archive(
        pickled(mapping({"weight": QUANTIZED.replace(storage("0", 6, "torch.QUInt4x2Storage"),
                                                     storage("0", 5, "torch.QUInt4x2Storage"))})),
        {"0": bytes(5)},
    ),
    "BadShape--minus-1": _weight(tensor((-1, 3), stride=(3, 1))),
    "BadShape--2-to-1000-by-nothing": _weight(tensor((0, 2**1000), stride=(1, 1))),
    "BadShape--offset-2-to-1000": _weight(tensor((0,), offset=2**1000)),
    "BadShape--a-float": _weight(tensor().replace(sizes((2, 3)), several(floating(2.0), b"K\3"))),
    "BadShape--a-bool": _weight(tensor().replace(sizes((2, 3)), several(b"\x88", b"K\3"))),
    "BadShape--no-tuple": _weight(tensor().replace(sizes((2, 3)), text("2x3"))),
    "BadShape--strides-missing": _weight(tensor(stride=(1,))),
    "BadShape--negative-stride": _weight(tensor(stride=(-3, 1))),
    "BadShape--negative-offset": _weight(tensor(offset=-1)),
    "TooManyDimensions--65": _weight(tensor().replace(sizes((2, 3)), FULL).replace(
        sizes((3, 1)), FULL)),
    "ShapeOverflow--product": _weight(tensor((2**40, 2**40), stride=(0, 0))),
    "DuplicateTensor--same-key": _zip(
        mapping([(text("weight"), tensor()), (text("weight"), tensor((1,)))])
    ),
    "NameTooLong--65536": zipped(
        [
            deflated("archive/data.pkl", pickled(mapping({"w" * 65536: tensor()}))),
            Entry("archive/data/0", bytes(24)),
        ]
    ),
    "TooManyNames--billion-laughs": _zip(LAUGHS),
    "ForeignGlobal--system": _zip(ATTACK),
    "ForeignGlobal--no-tensors": _zip(made("transformers.TrainingArguments", {"lr": floating(1)})),
    "ForeignGlobal--storage-from-a-call": _weight(tensor(stored=call("builtins.eval", text("0")))),
    "ForeignGlobal--inst": _raw(b"(S'true'\niposix\nsystem\n."),
    "ForeignGlobal--obj": _raw(b"(cposix\nsystem\nS'true'\no."),
    "ForeignGlobal--stack-global": _raw(b"\x80\x04\x8c\5posix\x8c\6system\x93\x8c\4true\x85R."),
    "ForeignGlobal--script-names-in-a-plain-archive": _zip(made("__torch__.Net", {})),
    # The zip archive
    "ZipDirectoryMissing--cut-off": archive(pickled(STATE), TWO)[:-60],
    "ZipDirectoryMissing--local-header-only": b"PK\3\4" + bytes(26),
    "ZipDirectoryBroken--count-too-high": zipped([Entry("archive/data.pkl", b"N.")], count=2),
    "ZipDirectoryBroken--starts-beyond-the-end": zipped(
        [Entry("archive/data.pkl", b"N.")], start=2**31
    ),
    "ZipDirectoryBroken--starts-in-the-data": zipped([Entry("archive/data.pkl", b"N.")], start=8),
    "ZipDirectoryBroken--bytes-behind-it": zipped(
        [Entry("archive/data.pkl", b"N.")], behind_directory=b"smuggled"
    ),
    "ZipDirectoryBroken--second-disk": zipped([Entry("archive/data.pkl", b"N.")], disk=1),
    "ZipDirectoryBroken--stored-in-fewer-bytes": _entries(
        Entry("archive/data/1", bytes(8), packed=bytes(4))
    ),
    "ZipDirectoryBroken--no-64-bit-size": _entries(
        Entry("archive/data/1", bytes(8), header=0xFFFFFFFF)
    ),
    "ZipDirectoryBroken--zip64-record-outside": _entries()[:-22]
    + b"PK\6\7" + struct.pack("<LQL", 0, 2**60, 1)
    + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0),
    "TooManyEntries--zip64-of-2-to-40": _entries()[:-22]
    + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 20, 20, 0, 0, 2**40, 2**40, 0, 0)
    + b"PK\6\7" + struct.pack("<LQL", 0, len(_entries()) - 22, 1)
    + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0),
    "DuplicateEntry--two-pickles": _entries(Entry("archive/data.pkl", pickled(ATTACK))),
    "EntriesOverlap--same-bytes": _entries(Entry("archive/data/1", b"", header=8)),
    "EntriesOverlap--into-the-directory": _entries(Entry("archive/data/1", bytes(8), size=4096)),
    "EncryptedEntry--data": _entries(Entry("archive/data/1", bytes(8), flags=1)),
    "UnsupportedCompression--lzma": _entries(Entry("archive/data/1", bytes(8), 14)),
    "LocalHeaderMismatch--name": zipped(
        [Entry("archive/data.pkl", pickled(STATE), local_name="archive/dark.pkl")]
    ),
    "LocalHeaderMismatch--not-there": zipped([Entry("archive/data.pkl", b"N.", header=1)]),
    "EntryTooLarge--bomb": zipped([deflated("archive/data.pkl", b"}" * 3_000_000 + STOP)]),
    "EntryTooLarge--claims-3-gib": zipped([deflated("archive/data.pkl", b"N.", size=3 * 2**30)]),
    "InflateError--damaged": zipped([deflated("archive/data.pkl", b"N.", packed=b"\xff" * 9)]),
    "InflateError--larger-than-said": zipped([deflated("archive/data.pkl", b"N" * 99, size=9)]),
    "InflateError--smaller-than-said": zipped([deflated("archive/data.pkl", b"N.", size=9)]),
    "UnknownByteOrder--middle": archive(pickled(STATE), TWO, byteorder=b"middle"),
    "MissingPickle--numpy": zipped([Entry("weight.npy", b"\x93NUMPY")]),
    "MissingPickle--keras": zipped([Entry("config.json", b"{}"), Entry("model.weights.h5", b"")]),
    "MissingPickle--no-folder": zipped([Entry("data.pkl", pickled(STATE))]),
    # Legacy files
    "UnsupportedVersion--1002": legacy(OLD_STATE, version=1002),
    "UnsupportedVersion--nested-tuples": pickled(long(MAGIC)) + pickled(b"N" + b"\x85" * 3000),
    "BadStorageKeys--unknown": legacy(OLD_STATE, [Stored("0"), Stored("9")]),
    "BadStorageKeys--twice": legacy(OLD_STATE, [Stored("0"), Stored("0")]),
    "BadStorageKeys--missing": legacy(OLD_STATE, []),
    "BadStorageKeys--no-list": legacy(OLD_STATE, keys=text("0")),
    "TruncatedStorage--half": legacy(OLD_STATE)[:-12],
    "TruncatedStorage--no-count": legacy(OLD_STATE)[:-30],
    "OldTarFormat--2016": _tar(b"storages"),
    # Not torch files
    "NotATorchPickle--scikit-learn": pickled(
        made("sklearn.linear_model._base.LinearRegression", {"coef_": NONE})
    ),
    "NotATorchPickle--system": pickled(ATTACK),
    "NotATorchPickle--system-in-text": b"cposix\nsystem\n(S'true'\ntR.",
    "NotATorchPickle--wrong-magic": pickled(b"\x8a\x04abcd") + pickled(integer(1001)),
    "NotAStorage--an-attack-inside": pickled(
        tensor(stored=call("torch.storage._load_from_bytes", b"C" + bytes([len(pickled(ATTACK))])
                           + pickled(ATTACK)))
    ),
    "UnknownFormat--empty": b"",
    "UnknownFormat--gzip": b"\x1f\x8b\x08\0" + bytes(20),
    "UnknownFormat--7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
    "UnknownFormat--numpy": b"\x93NUMPY\1\0v\0{'descr': '<f4'}",
    "UnknownFormat--onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.0.1:\x10",
    "UnknownFormat--ctranslate2": b"\6\0\0\0\x0c\0WhisperSpec\0\3\0\0\0\x94\0\0\0",
    "LfsPointer--alone": b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:" + b"0" * 64 + b"\nsize 440473133\n",
    "UnknownFormat--html": b"<!DOCTYPE html><html><body>404</body></html>",
    "UnknownFormat--zeros": bytes(600),
    "UnknownFormat--words": b"These are no weights.\n",
    "UnknownFormat--hdf5": b"\x89HDF\r\n\x1a\n" + bytes(24),
    "UnknownFormat--tar": _tar(b"weights/model.bin"),
}  # fmt: skip


def files() -> dict[Path, bytes]:
    """Every file of the corpus by its path, relative to the corpus."""
    return {
        Path(folder, "torch", f"{name_}.pt"): data
        for folder, cases in (("good", GOOD), ("bad", BAD))
        for name_, data in cases.items()
    }


def main() -> None:
    """Write the files where they are committed."""
    for path, data in files().items():
        target = HERE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


if __name__ == "__main__":
    main()
