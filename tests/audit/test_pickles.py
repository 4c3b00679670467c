"""Every pickle of the corpus is judged as its script says, with the scanner and without."""

from __future__ import annotations

import contextlib
import io
import lzma
import pickle
import random
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from modelscope_cli.audit import pickles
from modelscope_cli.audit.pickles import DANGEROUS, UNKNOWN
from modelscope_cli.errors import MissingExtra
from modelscope_cli.formats.containers.search import Searched, search
from modelscope_cli.formats.pickles.listing import COMPUTED, REGISTRY, list_globals
from modelscope_cli.formats.torch_globals import BUILDERS
from modelscope_cli.formats.torch_legacy import Literal
from tests.bounded import within
from tests.builders.pickles import gzipped, npy, packed, protocol, runs, tar
from tests.builders.torch import Entry, archive, deflated, pickled, text, zipped
from tests.corpus.make_pickles import BENIGN, CASES, EVIL, MALICIOUS, Case

CORPUS = Path(__file__).parents[1] / "corpus" / "pickles"


def _searched(name: str, data: bytes) -> Searched:
    return search(Literal(name, data))


def _named(data: bytes, name: str) -> list[str]:
    return [each.shown for each in pickles.foreign(_searched(name, data).pickles)]


def _judged(searched: Searched, verdict: str) -> set[str]:
    found = list(pickles.foreign(searched.pickles))
    said = pickles.verdicts(each.name for each in found)
    return {each.shown for each in found if said[each.name] == verdict}


def test_the_corpus_is_what_its_script_writes() -> None:
    committed = {path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*")}
    assert committed == set(CASES)
    assert all((CORPUS / path).read_bytes() == case.data for path, case in CASES.items())
    assert all(len(case.data) < 8_000 for case in CASES.values())


@pytest.mark.parametrize("path", CASES)
def test_with_the_scanner(path: str) -> None:
    pytest.importorskip("picklescan", reason="the extra `scan` is not installed")
    case = CASES[path]
    searched = _searched(path, case.data)
    assert _judged(searched, DANGEROUS) == set(case.dangerous)
    assert _judged(searched, UNKNOWN) == set(case.unknown)
    assert bool(searched.unseen) == case.unseen, searched.unseen


@pytest.mark.parametrize("path", CASES)
def test_without_the_scanner(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picklescan", None)
    monkeypatch.setitem(sys.modules, "picklescan.scanner", None)
    case = CASES[path]
    found = list(pickles.foreign(_searched(path, case.data).pickles))
    assert {*case.dangerous, *case.unknown} <= {each.shown for each in found}
    if found:
        with pytest.raises(MissingExtra, match="no scanner"):
            pickles.verdicts(each.name for each in found)


@pytest.mark.parametrize("path", BENIGN)
def test_no_false_alarm(path: str) -> None:
    assert not BENIGN[path].dangerous
    assert not BENIGN[path].unknown
    assert not BENIGN[path].unseen


# Where the truth is the unpickler itself: it may ask for no name that was not listed


class _Inert:
    """Stands for every global: takes anything, does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __call__(self, *_: object) -> _Inert:
        return self

    def __setstate__(self, _: object) -> None: ...

    def append(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


class _Asking(pickle.Unpickler):
    """CPython's unpickler, which resolves no name: it notes what it is asked for."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        stream = io.BytesIO(data)
        stream.seek(start)
        super().__init__(stream, encoding="latin-1", fix_imports=False)
        self.asked: list[tuple[str, str]] = []

    def find_class(self, module: str, name: str) -> type[_Inert]:
        self.asked.append((module, name))
        return _Inert

    def persistent_load(self, _: object) -> object:
        return _Inert()


def _asked_for(data: bytes) -> list[tuple[str, str]]:
    unpickler = _Asking(data)
    with contextlib.suppress(Exception):  # whatever is wrong: what was asked before counts
        unpickler.load()
    return unpickler.asked


def _assert_all_listed(data: bytes) -> int:
    listed, _ = list_globals("x", data)
    asked = _asked_for(data)
    missed = set(asked) - set(listed.names)
    assert not missed or COMPUTED in listed.names, (missed, data)
    return len(asked)


@pytest.mark.parametrize("path", [path for path in MALICIOUS if path.endswith(".pkl")])
def test_the_unpickler_asks_for_nothing_else(path: str) -> None:
    _assert_all_listed(MALICIOUS[path].data)


_OPCODES = bytes([*b"()0 12NKI]}tadsubeloRhgpqXUVc", *range(0x80, 0x96)])
# not BYTEARRAY8: the unpickler makes room for as much as it says


def _changed(data: bytes, luck: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(changed))
        how = luck.randrange(3)
        if how == 0:
            changed[at] = luck.choice(_OPCODES)
        elif how == 1:
            changed[at:at] = bytes([luck.choice(_OPCODES)])
        else:
            del changed[at : at + luck.randint(1, 3)]
        if not changed:
            return data
    return bytes(changed)


def test_the_unpickler_asks_for_nothing_else_of_changed_ones() -> None:
    luck = random.Random(6)
    whole = [case.data for path, case in CASES.items() if path.endswith(".pkl")]
    starts = [data for data in whole if 0 < len(data) < 500 and data[:1] in b"\x80c("]
    asked = sum(_assert_all_listed(_changed(luck.choice(starts), luck)) for _ in range(6_000))
    assert asked > 1_000  # the changes leave enough that is still followed


# Bounds


def _timed(name: str, data: bytes) -> Searched:
    return within(1.0, lambda: _searched(name, data))


def test_a_bomb_is_not_unpacked_further_than_is_looked_at() -> None:
    bomb = zipped([deflated("archive/data.pkl", b"\x80\x02" + b"N0" * 100_000_000)])
    assert len(bomb) < 300_000
    assert any("unpacks to more than is" in why for why in _timed("m.pt", bomb).unseen)


def test_many_bombs_share_what_may_be_unpacked() -> None:
    one = deflated("0", b"\x80\x02]." + bytes(30_000_000))
    bomb = zipped([one._replace(name=f"archive/{number}.pkl") for number in range(20)])
    searched = _timed("m.pt", bomb)
    assert len([why for why in searched.unseen if "unpacks to more" in why]) > 10


_PADDING = text("a" * 3_000_000) + b"0"


@pytest.mark.parametrize("start", [b"\x80\x02", b""], ids=("with protocol", "without"))
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("m.weights", lambda data: data),
        ("m.pt", lambda data: zipped([deflated("archive/data.pkl", data)])),
        ("m.zip", lambda data: zipped([deflated("stuff", data)])),
        ("m.zip", lambda data: zipped([packed("stuff", data, 12)])),
        ("m.zip", lambda data: zipped([packed("stuff", data, 14)])),
        ("m.pkl.gz", lambda data: zlib.compress(data, 9)),
        ("m.bin", lambda data: lzma.compress(data)),
    ],
    ids=("plain", "by name", "deflate", "bzip2", "lzma", "zlib", "xz"),
)
def test_padding_hides_nothing(name: str, wrap: Callable[[bytes], bytes], start: bytes) -> None:
    data = wrap(start + _PADDING + runs() + b".")
    searched = within(2.0, lambda: _searched(name, data))
    assert [each.names for each in searched.pickles] == [(("os", "system"),)]
    assert not searched.unseen


def test_padding_larger_than_is_read_is_no_pass() -> None:
    padding = text("a" * 70_000_000) + b"0"
    for name in ("m.weights", "m.pkl"):
        assert "goes on beyond 64,000,000" in _searched(name, padding + runs() + b".").unseen[0]
    cut = b"X" + struct.pack("<I", 2**31) + bytes(70_000_000)  # no unpickler finds so much
    assert _searched("m.weights", cut) == Searched(())


def test_more_opcodes_than_are_walked_are_no_pass() -> None:
    data = b"N0" * 3_000_000 + runs() + b"."
    assert "more than 4,000,000 opcodes" in _timed("m.weights", data).unseen[0]


def test_opcodes_are_counted_however_the_file_is_read() -> None:
    data = b"\x80\x02" + b"N0" * 3_000_000 + runs() + b"."
    assert "more than 4,000,000 opcodes" in _timed("m.pkl", data).unseen[0]


def test_pickles_of_a_file_share_what_may_be_walked() -> None:
    one = deflated("0", b"\x80\x02" + b"N0" * 1_900_000 + b"N.")
    many = zipped([one._replace(name=f"{number}.pkl") for number in range(16)])
    assert "more than 4,000,000 opcodes" in _timed("m.zip", many).unseen[0]


@pytest.mark.parametrize("ending", ["gz", "txt.gz", "md"])
@pytest.mark.parametrize("words", [b"commit 9949\nAuthor: me\n", b"cscope (15.9)\n\n  * New"])
def test_words_are_no_pickle(words: bytes, ending: str) -> None:
    for data in (gzipped(words), words):
        assert _searched(f"changelog.{ending}", data) == Searched(())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zeros.npz", zipped([deflated("a.npy", npy(None, bytes(80_000_000)))])),
        ("texts.tar.gz", zlib.compress(tar({"a.txt": b"words " * 500_000}), 9)),
        ("texts.zip", zipped([deflated(str(n), b"words " * 20_000) for n in range(600)])),
    ],
    ids=("zeros", "texts in a tar", "many texts"),
)
def test_what_packs_well_is_no_false_alarm(name: str, data: bytes) -> None:
    assert _timed(name, data) == Searched(())


def test_streams_in_a_row_end() -> None:
    searched = _timed("m.pkl.gz", gzipped(b"") * 50_000 + gzipped(EVIL))
    assert "unpacks to more than is looked at" in searched.unseen[0]


def test_bombs_of_large_blocks_end() -> None:
    bomb = packed("a", bytes(900_000), 12)
    searched = _timed("m.zip", zipped([bomb._replace(name=f"{n}.pkl") for n in range(2_000)]))
    assert "unpacks to more than is looked at" in searched.unseen[0]


def test_text_that_is_packed_may_be_of_any_size() -> None:
    packed = zlib.compress(b'{"text": 1}\n' * 1_000_000, 9)
    assert _timed("data.json.gz", packed) == Searched(())


def test_a_listing_is_of_bounded_memory() -> None:
    tracemalloc.start()
    _searched("m.pkl", b"\x80\x04N" + b"\x94" * 4_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300_000_000


class _Counted(Literal):
    """A file that remembers how often it was read."""

    reads = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads += 1
        return super().read_at(offset, length)


def test_a_checkpoint_far_away_takes_few_requests() -> None:
    file = _Counted("m.bin", archive(EVIL, {str(number): bytes(24) for number in range(500)}))
    assert search(file, far=True).pickles[0].names == (("os", "system"),)
    assert file.reads < 15


def test_archives_in_archives_end() -> None:
    data = pickled(runs())
    for _ in range(8):
        data = zipped([Entry("a.zip", data)])
    assert "archives in archives" in _timed("m.pt", data).unseen[0]


def test_marks_in_marks_end() -> None:
    searched = _timed("m.pkl", b"\x80\x02" + b"(" * 1_000_000)
    assert "marks in each other" in searched.unseen[0]


def test_deep_tuples_are_linear() -> None:
    assert _named(b"\x80\x02)" + b"\x85" * 300_000 + b"0" + runs() + b".", "m.pkl") == ["os.system"]


@pytest.mark.parametrize("start", [b"\x80\x02", b"c", b"(", b"PK\3\4", b"\x1f\x8b", b"\x93NUMPY"])
def test_noise_is_looked_at_quickly(start: bytes) -> None:
    noise = random.Random(1).randbytes(1_000_000)
    assert not _named(start + noise, "m.pkl")
    _timed("m.pkl", start + noise)
    _timed("m.bin", (start + noise[:30]) * 20_000)


# Verdicts


@pytest.fixture
def _scanner() -> None:
    pytest.importorskip("picklescan", reason="the extra `scan` is not installed")


@pytest.mark.usefixtures("_scanner")
@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (("os", "system"), DANGEROUS),
        (("os.path", "join"), DANGEROUS),
        (("__builtin__", "eval"), DANGEROUS),
        (("torch", "serialization.load"), DANGEROUS),
        (("torch.serialization", "os.system"), DANGEROUS),
        (("a", "b.c.os.system"), DANGEROUS),
        (COMPUTED, DANGEROUS),
        ((REGISTRY, "5"), UNKNOWN),
        (("my.os", "System"), UNKNOWN),
        (("", ""), UNKNOWN),
        (("\ud800", "x\ny"), UNKNOWN),
        (("a" * 100_000, "b." * 100_000), UNKNOWN),
        (("numpy", "ndarray"), pickles.INNOCUOUS),
    ],
)
def test_verdicts(name: tuple[str, str], verdict: str) -> None:
    assert pickles.verdicts([name]) == {name: verdict}


@pytest.mark.usefixtures("_scanner")
def test_one_name_does_not_change_what_is_said_of_another() -> None:
    names = [("", ""), ("numpy", "ndarray"), ("os", "system"), ("x\ny", "z"), ("numpy", "dtype")]
    for order in (names, names[::-1]):
        assert set(pickles.verdicts(order).items()) == {
            (("", ""), UNKNOWN),
            (("numpy", "ndarray"), pickles.INNOCUOUS),
            (("os", "system"), DANGEROUS),
            (("x\ny", "z"), UNKNOWN),
            (("numpy", "dtype"), pickles.INNOCUOUS),
        }


def test_what_torch_takes_with_weights_only_is_inert() -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the test extra")
    from torch._weights_only_unpickler import _get_allowed_globals

    allowed = {tuple(each.rpartition(".")[::2]) for each in _get_allowed_globals()}
    assert torch is not None
    inert = [name for name in allowed if pickles.is_inert(name)]
    assert len(inert) > len(allowed) * 0.8
    ours = {tuple(each.rpartition(".")[::2]) for each in BUILDERS}
    # What is inert beyond torch's list only makes tensors, from before there was a list.
    assert {".".join(name) for name in ours - allowed} <= _OLDER


_OLDER = {"torch._utils._rebuild_xla_tensor", "torch._utils._rebuild_sparse_csr_tensor"}


def test_nothing_of_ours_imports_an_unpickler() -> None:
    for case in (Case(protocol(4)), Case(protocol(0))):
        _searched("m.pkl", case.data)
    source = Path(pickles.__file__).parents[1]
    for path in source.rglob("*.py"):
        lines = map(str.strip, path.read_text(encoding="utf-8").splitlines())
        assert not [line for line in lines if line.startswith(("import pickle", "from pickle "))]
