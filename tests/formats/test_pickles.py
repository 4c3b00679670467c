"""The symbolic pickle machine against Python's own pickle and pickletools."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.pickles import walk as walking
from modelscope_cli.formats.pickles.errors import TooManyOpcodes, TruncatedPickle
from modelscope_cli.formats.pickles.nodes import Blob, Call, Global, Pairs
from modelscope_cli.formats.pickles.opcodes import ARGUMENT_BYTES, HANDLERS
from modelscope_cli.formats.pickles.walk import Rules, Seen, Walked, foreign_names, some_of, walk
from tests.bounded import within

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
LENGTHS = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4,
           pickletools.TAKEN_FROM_ARGUMENT4U: 4, pickletools.TAKEN_FROM_ARGUMENT8U: 8,
           pickletools.UP_TO_NEWLINE: 0}  # fmt: skip


def walked(data: bytes, seen: Seen | None = None) -> Any:
    return walk("x", data, Rules({}, {} if seen is None else seen)).value


def test_every_opcode_of_python_has_a_handler_and_no_other_byte_has() -> None:
    unknown = HANDLERS[0xFF]
    known = {chr(byte) for byte, handler in enumerate(HANDLERS) if handler is not unknown}
    assert known == {opcode.code for opcode in pickletools.opcodes}


def test_argument_sizes_are_those_of_pickletools() -> None:
    for opcode in pickletools.opcodes:
        argument: Any = opcode.arg
        size = 0 if argument is None else LENGTHS.get(argument.n, argument.n)
        assert ARGUMENT_BYTES[ord(opcode.code)] == size, opcode.name


# Values as Python writes them

ATOMS = (
    st.none() | st.booleans() | st.integers(-(2**2000), 2**2000) | st.floats(allow_nan=False)
    | st.text(st.characters()) | st.binary(max_size=300)
)  # fmt: skip
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(KEYS, inner)
    ),
    max_leaves=20,
)


def undone(value: Any) -> Any:
    """A walked value as the object it stands for, where only plain types are in it."""
    if isinstance(value, Blob):
        return value.head if value.length == len(value.head) else value
    if isinstance(value, Pairs):
        return {undone(key): undone(inner) for key, inner in value.entries()}
    if isinstance(value, Call):
        return _undone_call(value)
    if isinstance(value, list | tuple):
        return type(value)(map(undone, value))
    return value


def _undone_call(value: Call) -> Any:
    """How protocols 0 to 2 write bytes: _codecs.encode(text, "latin1"), or bytes()."""
    assert isinstance(value.function, Global)
    assert isinstance(value.args, tuple)
    if value.function.name == "builtins.bytes":
        return b""
    assert value.function.name == "_codecs.encode"
    return value.args[0].encode("latin1")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=VALUES)
@settings(max_examples=60)
def test_plain_values_are_what_pickle_wrote(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    found = undone(_with_bytes(walked(data), data))
    assert repr(found) == repr(value)  # tells 1 from True and 1.0


def _with_bytes(value: Any, data: bytes) -> Any:
    """Blobs replaced by their bytes, read where the machine says they lie."""
    if isinstance(value, Blob):
        return data[value.offset : value.offset + value.length]
    if isinstance(value, Pairs):
        pairs = Pairs()
        pairs.update([_with_bytes(part, data) for entry in value.entries() for part in entry])
        return pairs
    if isinstance(value, list | tuple):
        return type(value)(_with_bytes(part, data) for part in value)
    return value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_and_recursive_values_end(protocol: int) -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    found = walked(pickle.dumps(ring, protocol))
    assert found[0] == 1
    assert found[1] is found
    twice = walked(pickle.dumps([(shared := {"a": 1}), shared], protocol))
    assert twice[0] is twice[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sets_are_lists(protocol: int) -> None:
    found = walked(pickle.dumps([{1, 2}, frozenset((3, 4))], protocol))
    if protocol >= 4:
        assert sorted(found[0]) == [1, 2]
        assert sorted(found[1]) == [3, 4]
    else:
        assert [call.function.name for call in found] == ["builtins.set", "builtins.frozenset"]


class Slotted:
    """Pickled with a state of attributes and slots."""

    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, 2


class Bag(list[int]):
    """Pickled as an object with items."""


class Keyed:
    """Pickled by NEWOBJ_EX from protocol 4."""

    def __new__(cls, *, value: int = 0) -> Keyed:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"value": 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("thing", [Bag((1, 2)), collections.Counter("aab"), pickle.PickleError()])
def test_objects_are_calls_that_were_not_made(thing: Any, protocol: int) -> None:
    seen: Seen = {}
    found = walked(pickle.dumps(thing, protocol), seen)
    assert isinstance(found, Call)
    assert any(name.endswith(type(thing).__name__) for name in foreign_names(seen))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_states_items_and_keywords_are_kept(protocol: int) -> None:
    slotted = walked(pickle.dumps(Slotted(), protocol))
    assert undone(slotted.state) == (None, {"a": 1, "b": 2})
    assert walked(pickle.dumps(Bag((1, 2)), protocol)).items == [1, 2]
    assert isinstance(walked(pickle.dumps(Keyed(value=3), protocol)), Call)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_optimized_and_framed_pickles(protocol: int) -> None:
    value = {"text": "x" * 70_000, "bytes": b"y" * 70_000, "list": list(range(70_000))}
    data = pickle.dumps(value, protocol)
    for form in (data, pickletools.optimize(data)):
        found = walked(form)
        assert found.get("text") == value["text"]
        assert found.get("list") == value["list"]


def test_pickles_of_python2_and_text_opcodes() -> None:
    assert walked(b"(dp0\nS'a\\x41'\np1\nI01\nsS\"b\"\nF1.5\nsV\\u20ac\nL12L\ns.").get("aA") is True
    assert undone(walked(b"(lI1\naI-2\na.")) == [1, -2]
    assert walked(b"(I1\n0I2\n.") == 2
    assert walked(b"I1\n(I2\n1.") == 1
    assert walked(b"((I5\n1I6\nt.") == (6,)


def test_older_names_are_read_as_python_3_does() -> None:
    seen: Seen = {}
    walked(b"(c__builtin__\neval\nccopy_reg\n_reconstructor\nt.", seen)
    assert set(seen) == {"builtins.eval", "copyreg._reconstructor"}


def test_several_pickles_follow_each_other() -> None:
    data = pickle.dumps(1, 2) + pickle.dumps("two", 2)
    first = walk("x", data, Rules({}, {}))
    assert first == Walked(1, len(pickle.dumps(1, 2)))
    assert walk("x", data, Rules({}, {}), start=first.end) == Walked("two", len(data))


def truncations(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cut_off_pickle_is_called_so(protocol: int) -> None:
    value = {"a": [1, 300, 70_000, 2**70, 0.5, "é", b"bytes"], "b": (None, True), "c": {1, 2}}
    for cut in truncations(pickle.dumps(value, protocol)):
        with pytest.raises(TruncatedPickle):
            walked(cut)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_pickle_that_comes_in_pieces(protocol: int, step: int) -> None:
    value = {"a": [1, 300, 2**70, 0.5, "é"], "b": (None, collections.OrderedDict(c=[1]), "x" * 99)}
    data = pickle.dumps(value, protocol)

    def more(held: bytes) -> bytes | None:
        return data[: len(held) + step] if len(held) < len(data) else None

    whole = walk("x", data, Rules({}, {}))
    pieces = walk("x", data[:1], Rules({}, {}), more=more)
    assert pieces.end == whole.end == len(data)
    assert isinstance(pieces.value, Pairs)
    assert undone(pieces.value.get("a")) == value["a"]


def test_more_opcodes_than_any_checkpoint_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking.Machine, "most_opcodes", 1000)
    with pytest.raises(TooManyOpcodes):
        walked(b"N0" * 1000 + b"N.")


def test_errors_say_where() -> None:
    with pytest.raises(FormatError, match=r"at byte 1,002\)"):
        walk("x", b"NN\xff", Rules({}, {}), base=1000)
    with pytest.raises(FormatError, match="at byte 2 of the pickle"):
        walk("x", b"NN\xff", Rules({}, {}), base=None)


def test_names_are_shortened() -> None:
    assert some_of("abcdefg") == "a, b, c, d, e and 2 more"
    assert some_of([]) == ""


@settings(max_examples=1000)
@given(st.binary(max_size=200))
def test_any_bytes_end_soon(data: bytes) -> None:
    def work() -> None:
        with suppress(FormatError):
            walked(data)

    within(1, work)


CODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])


@settings(max_examples=1000)
@given(st.lists(CODES | st.binary(max_size=4), max_size=60).map(b"".join))
def test_any_opcodes_are_read_as_pickletools_reads_them(data: bytes) -> None:
    """What the machine walks to its STOP, pickletools parses up to the same byte."""
    try:
        end = walk("x", data, Rules({}, {}, persistent=lambda value: value)).end
    except FormatError:
        return
    stream = io.BytesIO(data)
    try:
        for _ in pickletools.genops(stream):
            pass
    except ValueError:  # text that pickletools reads more strictly
        return
    assert stream.tell() == end
