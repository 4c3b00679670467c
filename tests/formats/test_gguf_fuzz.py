"""Whatever happens to a GGUF file's bytes: a listing or a FormatError, and soon."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.errors import FormatError
from modelscope_cli.facts import FileContents
from tests.bounded import within
from tests.corpus import make_gguf
from tests.formats.gguf_reading import our_metadata, our_rows, read_bytes

SEEDS = [data for path, data in make_gguf.files().items() if path.parts[0] == "good"]
# Numbers that overflow, wrap or sit at a limit, as well as any.
NUMBERS = st.sampled_from([0, 1, 2**8, 2**16, 2**24, 2**31, 2**32 - 1, 2**63, 2**64 - 1]) | (
    st.integers(0, 2**64 - 1)
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["number", "byte", "cut", "insert", "remove", "repeat"])):
            case "number":
                width = draw(st.sampled_from([4, 8]))
                data[at : at + width] = (draw(NUMBERS) % 256**width).to_bytes(width, "little")
            case "byte":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "remove":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
    return bytes(data)


@settings(max_examples=600)
@given(mutated())
def test_a_listing_or_a_format_error(data: bytes) -> None:
    def work() -> None:
        with suppress(FormatError):
            check(read_bytes(data), data)

    within(1, work)


def check(contents: FileContents, data: bytes) -> None:
    """What is listed lies inside the file and can be decoded."""
    for row in our_rows(contents):
        assert row.offset is not None
        assert contents.fact.header_bytes <= row.offset
        assert row.offset + row.bytes <= len(data)
    our_metadata(contents)
    str(dict(contents.fact.metadata))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes_behind_the_magic(data: bytes) -> None:
    with suppress(FormatError):
        read_bytes(b"GGUF\x03\0\0\0" + data)
