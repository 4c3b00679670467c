"""Write the corpus of pickles: every trick that scanners test with, and what must raise no alarm.

Nothing here can do harm: what a pickle would run is `true`. Bytes come from opcodes; none is
made or read by `pickle`.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from tests.builders.pickles import (
    TRUE,
    by_name,
    from_stack,
    gzipped,
    npy,
    npz,
    old_torch,
    packed,
    protocol,
    runs,
    seven_z,
    tar,
)
from tests.builders.torch import (
    MAGIC,
    Entry,
    archive,
    call,
    deflated,
    integer,
    legacy,
    legacy_storage,
    long,
    made,
    mapping,
    name,
    ordered,
    pickled,
    sequence,
    several,
    storage,
    tensor,
    text,
    zipped,
)

HERE = Path(__file__).parent / "pickles"
OS = "os.system"
COMPUTED = "a name computed while loading"


class Case(NamedTuple):
    """A file, and what must be said of it with the scanner installed.

    `theirs`: why picklescan, looking at the file itself, says something else.
    """

    data: bytes
    dangerous: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unseen: bool = False
    theirs: str | None = None


EVIL = pickled(runs())
STATE = ordered({"weight": tensor()})
OLD_STATE = ordered({"weight": tensor(stored=legacy_storage())})


def _evil(data: bytes, *more: str, theirs: str | None = None, unseen: bool = False) -> Case:
    return Case(data, (OS, *more), unseen=unseen, theirs=theirs)


def _bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def _member(path: str, data: bytes, **changes: object) -> bytes:
    return zipped([Entry(path, data)._replace(**changes)])  # type: ignore[arg-type]


def _wrong_checksum(data: bytes) -> bytes:
    """Every CRC of the pickle's replaced by another."""
    return data.replace(struct.pack("<L", zlib.crc32(EVIL)), b"\1\2\3\4")


def _reduce(module: str, attribute: str, *, unknown: bool = False, **more: str) -> Case:
    found = (f"{module}.{attribute}",)
    data = pickled(runs(module, attribute))
    theirs = more.get("theirs")
    return Case(data, theirs=theirs, **{"unknown" if unknown else "dangerous": found})  # type: ignore[arg-type]


REDUCES = {
    "reduce-os.pkl": _reduce("os", "system"),
    "reduce-posix.pkl": _reduce("posix", "system"),
    "reduce-nt.pkl": _reduce("nt", "system"),
    "reduce-subprocess.pkl": _reduce("subprocess", "Popen"),
    "reduce-eval.pkl": _reduce("builtins", "eval"),
    "reduce-exec.pkl": _reduce("builtins", "exec"),
    "reduce-compile.pkl": _reduce("builtins", "compile"),
    "reduce-open.pkl": _reduce("builtins", "open"),
    "reduce-getattr.pkl": _reduce("builtins", "getattr"),
    "reduce-python2-eval.pkl": _reduce("__builtin__", "eval"),
    "reduce-commands.pkl": _reduce("commands", "getoutput"),
    "reduce-runpy.pkl": _reduce("runpy", "_run_code"),
    "reduce-pty.pkl": _reduce("pty", "spawn"),
    "reduce-webbrowser.pkl": _reduce("webbrowser", "open"),
    "reduce-socket.pkl": _reduce("socket", "create_connection"),
    "reduce-shutil.pkl": _reduce("shutil", "rmtree"),
    "reduce-timeit.pkl": _reduce("timeit", "timeit"),
    "reduce-pdb.pkl": _reduce("pdb", "run"),
    "reduce-ctypes.pkl": _reduce("ctypes", "CDLL"),
    "reduce-attrgetter.pkl": _reduce("operator", "attrgetter"),
    "reduce-partial.pkl": _reduce("functools", "partial"),
    "reduce-pydoc.pkl": _reduce("pydoc", "pipepager"),
    "reduce-pip.pkl": _reduce("pip._internal.cli.main", "main"),
    "reduce-import.pkl": _reduce("builtins", "__import__", unknown=True),
    "reduce-importlib.pkl": _reduce("importlib", "import_module", unknown=True),
    "reduce-torch-hub.pkl": _reduce("torch.hub", "load", unknown=True),
    "reduce-pandas.pkl": _reduce("pandas", "read_pickle", unknown=True),
    "reduce-cpickle.pkl": _reduce(
        "cPickle", "loads", theirs="Python 3 reads Python 2's cPickle as pickle"
    ),
    "reduce-python2-urllib.pkl": _reduce(
        "urllib", "urlopen", theirs="Python 3 reads Python 2's urllib.urlopen as urllib.request's"
    ),
    "attribute-of-a-module.pkl": Case(
        pickled(runs("torch", "serialization.load")),
        ("torch.serialization.load",),
        theirs="it looks `torch` up, and misses what `torch.serialization` has",
    ),
    "attribute-of-an-import.pkl": Case(
        b"\x80\x04" + from_stack("torch.serialization", "os.system") + text(TRUE) + b"\x85R.",
        ("torch.serialization.os.system",),
        theirs="it takes a dotted attribute for one name",
    ),
}

PROTOCOLS = {f"protocol-{number}.pkl": Case(protocol(number), (OS,)) for number in range(6)}

_INST = b"(" + text(TRUE) + b"ios\nsystem\n"
_OBJ = b"(" + by_name("os", "system") + text(TRUE) + b"o"
OPCODES = {
    "inst.pkl": _evil(pickled(_INST)),
    "obj.pkl": _evil(pickled(_OBJ)),
    "newobj.pkl": _evil(pickled(by_name("os", "system") + text(TRUE) + b"\x85\x81")),
    "newobj-ex.pkl": _evil(b"\x80\x04" + by_name("os", "system") + text(TRUE) + b"\x85}\x92."),
    "popped.pkl": _evil(pickled(runs() + b"0N")),
    "only-named.pkl": _evil(pickled(by_name("os", "system"))),
    "in-a-state.pkl": _evil(pickled(made("collections.OrderedDict", {"a": runs()}))),
    "in-a-persistent-id.pkl": _evil(pickled(several(text("storage"), runs()) + b"Q")),
    "ext1.pkl": Case(
        b"\x80\x02\x82\x05(tR.", (), ("copyreg._extension_registry.5",),
        theirs="it knows nothing of the registry of extensions",
    ),
    "ext2.pkl": Case(
        b"\x80\x02\x83\x05\x01(tR.", (), ("copyreg._extension_registry.261",),
        theirs="it knows nothing of the registry of extensions",
    ),
    "ext4.pkl": Case(
        b"\x80\x02\x84\x05\0\1\0(tR.", (), ("copyreg._extension_registry.65541",),
        theirs="it knows nothing of the registry of extensions",
    ),
    "ext-and-more.pkl": Case(
        b"\x80\x02\x82\x050" + runs() + b".", (OS,), ("copyreg._extension_registry.5",),
        theirs="it knows nothing of the registry of extensions",
    ),
}  # fmt: skip

_PUT_OS, _PUT_SYSTEM = text("os") + b"q\0000", text("system") + b"q\0010"
STACK_GLOBALS = {
    "stack-global.pkl": _evil(b"\x80\x04" + from_stack("os", "system") + b"."),
    "stack-global-memo.pkl": _evil(
        b"\x80\x04" + _PUT_OS + _PUT_SYSTEM + b"h\0h\1\x93" + text(TRUE) + b"\x85R."
    ),
    "stack-global-memo-in-text.pkl": _evil(
        b"\x80\x04Vos\np7\n0Vsystem\np8\n0g7\ng8\n\x93" + text(TRUE) + b"\x85R."
    ),
    "stack-global-memo-overwritten.pkl": Case(
        b"\x80\x04" + text("math") + b"q\0000" + _PUT_OS + _PUT_SYSTEM + b"h\0h\1\x93(tR.", (OS,)
    ),
    "stack-global-things-between.pkl": _evil(
        b"\x80\x04" + text("os") + b"N0" + text("system") + b"K\0010\x93(tR.",
        theirs="it takes opcodes before STACK_GLOBAL for its names, and says `unknown`",
    ),
    "stack-global-dup.pkl": Case(
        b"\x80\x04" + text("pdb") + b"2\x93(tR.", ("pdb.pdb",),
        theirs="it takes opcodes before STACK_GLOBAL for its names, and fails",
    ),
    "stack-global-computed.pkl": Case(
        b"\x80\x04" + runs("builtins", "str", "os") + text("system") + b"\x93(tR.",
        (COMPUTED,), ("builtins.str",),
        theirs="it calls a name that is computed `unknown`",
    ),
}  # fmt: skip

_AFTER = b"0" + runs() + b"."
ODDITIES = {
    "odd-frame-in-a-frame.pkl": _evil(
        b"\x80\x04\x95\x40\0\0\0\0\0\0\0\x95\x10\0\0\0\0\0\0\0N" + _AFTER
    ),
    "odd-frame-beyond-the-end.pkl": _evil(b"\x80\x04\x95\0\0\1\0\0\0\0\0N" + _AFTER),
    "odd-integer-of-2000-bytes.pkl": _evil(
        b"\x80\x02\x8b" + struct.pack("<i", 2000) + bytes(2000) + _AFTER
    ),
    "odd-integer-in-hex.pkl": _evil(
        b"\x80\x02I0x10\n" + _AFTER,
        theirs="its parser takes decimal integers only, and gives up",
    ),
    "odd-build-of-nothing.pkl": _evil(b"\x80\x02)Nb" + _AFTER),
    "odd-item-of-a-list.pkl": _evil(b"\x80\x02]Naa".replace(b"aa", b"a") + b"K\0Ns" + _AFTER),
    "odd-append-of-nothing.pkl": _evil(b"\x80\x02" + text("x") + b"(e" + _AFTER),
    "odd-readonly-buffer.pkl": _evil(b"\x80\x05" + _bytes(b"x") + b"\x98" + _AFTER),
    "odd-memo-slot.pkl": _evil(b"\x80\x02Np" + b"0" * 3000 + b"1\n0g1\n" + _AFTER),
    "odd-long-path.pkl": Case(
        b"\x80\x04" + text("os") + text("path.os." * 200 + "system") + b"\x93(tR.",
        ("os." + "path.os." * 200 + "system",),
    ),
    "odd-dict-from-a-number.pkl": _evil(pickled(call("collections.OrderedDict", integer(1))
                                                + b"0" + runs())),
}  # fmt: skip

BROKEN = {
    "broken-after.pkl": _evil(b"\x80\x02" + runs() + b"\xff\xff\xff"),
    "broken-no-stop.pkl": _evil(b"\x80\x02" + runs()),
    "broken-underflow.pkl": _evil(b"\x80\x02" + runs() + b"00000."),
    "broken-no-mark.pkl": _evil(b"\x80\x02" + runs() + b"t."),
    "broken-memo.pkl": _evil(b"\x80\x02" + runs() + b"h\x09."),
    "broken-text.pkl": _evil(b"\x80\x02" + runs() + text(b"\xff\xfe") + b"."),
    "broken-in-text.pkl": _evil(by_name("os", "system") + b"(V" + TRUE.encode() + b"\ntR\xff"),
    "broken-archive.pt": _evil(archive(b"\x80\x02" + runs() + b"\xff")),
}

_HIDDEN = call("_codecs.encode", text(EVIL.decode("latin-1")), text("latin1"))
NESTED = {
    "nested-bytes.pkl": _evil(
        b"\x80\x03" + call("pickle.loads", _bytes(EVIL)) + b".", "pickle.loads",
        theirs="it does not look into bytes, and names the loading only",
    ),
    "nested-text.pkl": _evil(
        pickled(call("_pickle.loads", _HIDDEN)), "_pickle.loads",
        theirs="it does not look into bytes, and names the loading only; "
               "and `_codecs.encode` is on torch's own list",
    ),
    "nested-twice.pkl": _evil(
        b"\x80\x03" + call("pickle.loads", _bytes(
            b"\x80\x03" + call("pickle.loads", _bytes(EVIL)) + b".")) + b".",
        "pickle.loads",
        theirs="it does not look into bytes, and names the loading only",
    ),
    "nested-storage.pt": Case(
        b"\x80\x03" + call("torch.storage._load_from_bytes", _bytes(EVIL)) + b".",
        (OS,), ("torch.storage._load_from_bytes",),
        theirs="it does not look into bytes",
    ),
    "stacked.pkl": _evil(pickled(mapping({})) + EVIL),
    "stacked-in-text.pkl": _evil(b"(lp0\n." + protocol(0)),
    "stacked-ten.pkl": _evil(b"\x80\x02N." * 10 + EVIL),
    "legacy-object.pt": _evil(legacy(runs(), [])),
    "legacy-system-info.pt": _evil(
        pickled(long(MAGIC)) + pickled(integer(1001)) + EVIL + pickled(OLD_STATE)
        + pickled(sequence(text("0")))
    ),
    "legacy-in-text.pt": _evil(
        f"L{MAGIC}L\n.I1001\n.(dp0\n.".encode() + protocol(0) + b"(lp0\n."
    ),
    "legacy-computed-magic.pt": Case(
        pickled(runs("builtins", "eval", str(MAGIC))) + pickled(integer(1001)), ("builtins.eval",)
    ),
}  # fmt: skip

_NO_GZIP = "it does not unpack gzip"
_PLAIN = Entry("archive/data.pkl", pickled(STATE))
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
ZIPS = {
    "zip.pt": _evil(archive(EVIL)),
    "zip-wrong-checksum.pt": _evil(_wrong_checksum(archive(EVIL))),
    "zip-encrypted-flag.pt": _evil(_member("archive/data.pkl", EVIL, flags=0x1)),
    "zip-encrypted.pt": Case(
        _member("archive/data.pkl", b"\x13\x37" * 30, flags=0x1), unseen=True,
        theirs="it says nothing of what it cannot read",
    ),
    "zip-deflated.pt": _evil(zipped([deflated("archive/data.pkl", EVIL)])),
    "zip-deflated-wrong-checksum.pt": _evil(
        _wrong_checksum(zipped([deflated("archive/data.pkl", EVIL)]))
    ),
    "zip-behind-data.pt": _evil(b"x" * 100 + archive(EVIL)),
    "zip-wide.pt": _evil(archive(EVIL, wide=True)),
    "zip-wide-behind-data.pt": _evil(b"x" * 100 + archive(EVIL, wide=True)),
    "zip-wide-behind-a-picture.png": _evil(_PNG + archive(EVIL, wide=True)),
    "zip-not-where-it-says.pt": _evil(
        _member("archive/data.pkl", EVIL, header=5), unseen=True, theirs="it fails"
    ),
    "zip-wrong-signature.pt": Case(
        _member("archive/data.pkl", EVIL, signature=b"PK\7\x08"), unseen=True, theirs="it fails"
    ),
    "zip-local-extra-beyond-the-end.pt": Case(
        _member("archive/data.pkl", EVIL, local_extra_size=0x7FFF), unseen=True, theirs="it fails"
    ),
    "zip-cut-off.pt": _evil(
        archive(EVIL)[:-40], theirs="an archive without its end is none to it"
    ),
    "zip-two-pickles.pt": _evil(zipped([_PLAIN, Entry("archive/data.pkl", EVIL)])),
    "zip-two-pickles-first.pt": _evil(zipped([Entry("archive/data.pkl", EVIL), _PLAIN]),
        theirs="of two members of one name it opens the last, twice"),
    "zip-other-name.pt": _evil(zipped([_PLAIN, Entry("archive/extra.txt", EVIL)])),
    "zip-text-in-other-name.pt": _evil(
        zipped([_PLAIN, Entry("archive/extra.txt", protocol(0))]),
        theirs="it opens members by their names, and by the first bytes of protocol 2 and later",
    ),
    "zip-storage.pt": _evil(archive(pickled(STATE), {"0": EVIL})),
    "zip-in-zip.pt": _evil(
        zipped([Entry("archive/inner.pt", archive(EVIL))]),
        theirs="it does not look into archives in archives",
    ),
    "zip-bzip2.pt": _evil(zipped([packed("archive/data.pkl", EVIL, 12)])),
    "zip-lzma.pt": _evil(zipped([packed("archive/data.pkl", EVIL, 14)])),
    "zip-gzip.zip": _evil(zipped([Entry("x.pkl.gz", gzipped(EVIL))]), theirs=_NO_GZIP),
    "zip-unknown-method.pt": Case(
        _member("archive/data.pkl", b"\x5d\0\0" + bytes(30), method=95, packed=bytes(33)),
        unseen=True, theirs="it fails",
    ),
    "torchscript.pt": _evil(archive(EVIL, more=[Entry("archive/constants.pkl", pickled(b")"))])),
    "torchscript-constants.pt": _evil(
        archive(pickled(STATE), more=[Entry("archive/constants.pkl", EVIL)])
    ),
}  # fmt: skip

_TYPE = name("torch.FloatStorage")
_STORAGES = (
    pickled(integer(1))
    + pickled(several(integer(0), text("cpu"), _TYPE))
    + struct.pack("<q", 6)
    + bytes(24)
)
_VIEWS = pickled(integer(0))
_TENSORS = (
    pickled(integer(1))
    + pickled(several(integer(1), integer(0), name("torch.FloatTensor")))
    + struct.pack("<i4xqqq", 1, 6, 1, 0)
)
_NOT_PACKED = "it does not unpack what joblib packs"
_NOT_TAR = "it does not read tar archives"
CONTAINERS = {
    "objects.npy": _evil(npy(EVIL)),
    "objects.npz": _evil(npz(a=npy(EVIL))),
    "objects-behind-numbers.npz": _evil(npz(a=npy(None, bytes(12)), b=npy(EVIL))),
    "stored.7z": Case(seven_z("a.pkl", EVIL), unseen=True, theirs="without py7zr it fails"),
    "stored-7z.bin": Case(seven_z("a.pkl", EVIL), unseen=True, theirs="without py7zr it fails"),
    "old-torch.pt": _evil(old_torch(EVIL, _STORAGES, _TENSORS), theirs=_NOT_TAR),
    "old-torch-storages.pt": _evil(
        old_torch(pickled(STATE), _STORAGES.replace(b"K\1.", b"K\2.") + EVIL, _TENSORS),
        theirs=_NOT_TAR,
    ),
    "old-torch-tensors.pt": _evil(
        old_torch(pickled(STATE), _STORAGES, _TENSORS + EVIL), theirs=_NOT_TAR
    ),
    "tar-by-the-name-of-a-pickle.pkl": _evil(tar({"cos\nsystem\n(tR.": b""})),
    "zip-and-persistent-id.pkl": _evil(b"PK\3\4\n0" + runs() + b"."),
    "zlib.safetensors": _evil(zlib.compress(EVIL, 0), theirs=_NOT_PACKED),
    "some.tar": _evil(tar({"folder/model.pkl": EVIL}), theirs=_NOT_TAR),
    "zlib.joblib": _evil(zlib.compress(EVIL, 0), theirs=_NOT_PACKED),
    "gzip.pkl": _evil(gzipped(EVIL), theirs=_NO_GZIP),
    "gzip-behind-an-empty-one.pkl.gz": _evil(gzipped(b"") + gzipped(EVIL), theirs=_NO_GZIP),
    "gzip-behind-another.pkl.gz": _evil(gzipped(b"\x80\x02N.") + gzipped(EVIL), theirs=_NO_GZIP),
    "gzip-in-two.joblib": _evil(gzipped(EVIL[:10]) + gzipped(EVIL[10:]), theirs=_NO_GZIP),
    "gzip-in-gzip.pkl.gz": _evil(gzipped(gzipped(EVIL)), theirs=_NO_GZIP),
    "bzip2-in-two.joblib": _evil(
        bz2.compress(EVIL[:10]) + bz2.compress(EVIL[10:]), theirs="it does not unpack bzip2"
    ),
    "xz-in-two.joblib": _evil(
        lzma.compress(EVIL[:10]) + lzma.compress(EVIL[10:]), theirs="it does not unpack xz"
    ),
    "gzip.tar": _evil(tar({"x.pkl.gz": gzipped(EVIL)}), theirs=_NOT_TAR),
    "gzip-by-another-name.tar": _evil(tar({"x.weights": gzipped(EVIL)}), theirs=_NOT_TAR),
    "xz.pkl": _evil(lzma.compress(EVIL), theirs="it does not unpack xz"),
    "bzip2.pkl": _evil(bz2.compress(EVIL), theirs="it does not unpack bzip2"),
    "tar.gz": _evil(gzipped(tar({"m.pkl": EVIL})), theirs=_NO_GZIP),
}

NAMES = {
    "called.safetensors": _evil(EVIL),
    "called.json": _evil(EVIL),
    "called.gguf": _evil(protocol(4)),
    "called-in-text.txt": _evil(protocol(0)),
    "called-in-text-among-odd-names.safetensors": Case(
        protocol(0)[:-1] + by_name("a", "b c"), (OS,), ("a.b c",)
    ),
    "called-without-protocol.weights": _evil(EVIL[2:]),
    "called-archive.safetensors": _evil(archive(EVIL)),
    "called-nothing": _evil(EVIL),
    "safetensors-and-archive.safetensors": _evil(struct.pack("<Q", 2) + b"{}" + archive(EVIL)),
}

MALICIOUS = {
    **REDUCES, **PROTOCOLS, **OPCODES, **STACK_GLOBALS, **ODDITIES, **BROKEN, **NESTED, **ZIPS,
    **CONTAINERS, **NAMES,
}  # fmt: skip


def _data(number: int) -> bytes:
    """A dict of numbers and text, as a protocol writes it."""
    if number == 0:
        return b"(dp0\nVa\np1\nI1\nsVb\np2\n(lp3\nF1.5\naI01\nas."
    body = b"}q\0(X\1\0\0\0aq\1K\1X\1\0\0\0bq\2]q\3(G" + struct.pack(">d", 1.5) + b"\x88eu."
    return body.replace(b"\x88", b"I01\n") if number == 1 else b"\x80" + bytes([number]) + body


_ARRAY = (
    call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), several(integer(0)),
         text("b"))
    + several(integer(1), several(integer(3)),
              call("numpy.dtype", text("f8"), integer(0), integer(1)) + several(
                  integer(3), text("<"), b"NNN", integer(2**31 - 1), integer(1), integer(0)) + b"b",
              b"\x89", call("_codecs.encode", text("\0" * 24), text("latin1")))
    + b"b"
)  # fmt: skip
_TYPED = "`_codecs.encode`, on torch's own list, is unknown to it"
_TEXT = "told to look at text, it takes its letters for opcodes"
BENIGN = {
    **{f"data-{number}.pkl": Case(_data(number)) for number in range(6)},
    "state-dict.pt": Case(archive(pickled(STATE))),
    "state-dict.bin": Case(archive(pickled(STATE))),
    "parameter.pt": Case(
        archive(pickled(call("torch._utils._rebuild_parameter", tensor(), b"\x88", ordered({})))),
        theirs="it knows fewer of the names that torch loads with `weights_only`",
    ),
    "sizes-and-devices.pt": Case(
        archive(pickled(several(call("torch.Size", several(integer(2))),
                                call("torch.device", text("cpu")), name("torch.bfloat16")))),
        theirs="it knows fewer of the names that torch loads with `weights_only`",
    ),
    "state-dict-wide.pt": Case(archive(pickled(STATE), wide=True)),
    "state-dict-wide-behind-data.pt": Case(b"x" * 100 + archive(pickled(STATE), wide=True)),
    "legacy.pt": Case(legacy(OLD_STATE)),
    "old-torch.pt": Case(old_torch(pickled(STATE), _STORAGES, _TENSORS)),
    "torchscript.pt": Case(
        archive(pickled(made("__torch__.Net", {"weight": tensor()})),
                more=[Entry("archive/constants.pkl", pickled(b")"))]),
        theirs="it does not tell TorchScript, which no Python unpickler reads",
    ),
    "storage-like-a-pickle.pt": Case(archive(pickled(STATE), {"0": b"\x80\x02" + bytes(22)})),
    "storage-like-a-zip.pt": Case(archive(pickled(STATE), {"0": b"PK\3\4" + bytes(20)})),
    "array.pkl": Case(pickled(_ARRAY), theirs=_TYPED),
    "numbers.npy": Case(npy(None, bytes(12))),
    "numbers.npz": Case(npz(a=npy(None, bytes(12)))),
    "texts-bzip2.zip": Case(zipped([packed("a.txt", b"words " * 500_000, 12)])),
    "texts-lzma.zip": Case(zipped([packed("a.txt", b"words " * 500_000, 14)])),
    "header-of-640.safetensors": Case(struct.pack("<Q", 640) + b"{}".ljust(640)),
    "ctranslate2.bin": Case(struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + bytes(64)),
    "zeros.bin": Case(bytes(64)),
    "words.txt": Case(b"config\nsystem\n(This is text.\ntRo tell pickles from)\n",
                      theirs=_TEXT),
    "copyright.txt": Case(b"copyright\n2020 nobody\n\n(Some rights reserved.)\n", theirs=_TEXT),
    "numbers.data": Case(b"I1\nI2\nI3\n"),
    "config.json": Case(b'{"model_type": "bert", "note": "cos\\nsystem\\n(tR."}\n'),
    "empty.pkl": Case(b"", theirs="it fails"),
}  # fmt: skip

UNKNOWN = {
    "training-arguments.bin": Case(
        archive(pickled(made("transformers.training_args.TrainingArguments", {"a": integer(1)}))),
        (), ("transformers.training_args.TrainingArguments",),
    ),
    "whole-module.pt": Case(
        archive(pickled(made("torch.nn.modules.linear.Linear", {"weight": tensor()}))),
        (), ("torch.nn.modules.linear.Linear",),
    ),
    "scikit-learn.joblib": Case(
        b"\x80\x04" + from_stack("sklearn.linear_model._base", "LinearRegression") + b")\x81.",
        (), ("sklearn.linear_model._base.LinearRegression",),
    ),
    "script-names-in-a-plain-archive.pt": Case(
        archive(pickled(made("__torch__.Net", {"weight": tensor()}))), (), ("__torch__.Net",)
    ),
    "foreign-storage.pt": Case(
        archive(pickled(tensor(stored=storage(kind="mine.FloatStorage")))), (),
        ("mine.FloatStorage",),
    ),
}  # fmt: skip

CASES = {
    f"{folder}/{slug}": case
    for folder, cases in (("malicious", MALICIOUS), ("benign", BENIGN), ("unknown", UNKNOWN))
    for slug, case in cases.items()
}


def main() -> None:
    """Write every file."""
    for path, case in CASES.items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_bytes(case.data)


if __name__ == "__main__":
    main()
