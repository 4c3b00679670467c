"""Whatever happens to the bytes of a good model: a listing, or one clear refusal, and soon."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.bounded import within
from tests.documents import document
from tests.hostile import TEXTS, harm
from tests.running import Completed, run

GOOD = Path(__file__).parent / "corpus" / "good"
# A model is one file or a folder; in a folder any one of its files is damaged.
SEEDS = sorted(path for path in GOOD.rglob("*") if path.is_file())
_SECONDS = 1.0
_BYTES = 300_000_000
# Numbers that overflow, wrap, sit at a limit or claim more than any file holds, and any other.
NUMBERS = st.sampled_from(
    [0, 1, 7, 8, 255, 2**16, 2**24, 10**8, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63,
     2**64 - 1]
) | st.integers(0, 2**64 - 1)  # fmt: skip
_DIGITS = re.compile(rb"\d+")


@st.composite
def damaged(draw: st.DrawFn, seeds: list[Path]) -> tuple[Path, bytes]:
    """A file of the corpus, and what became of its bytes."""
    path = draw(st.sampled_from(seeds))
    data = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        _damage(draw, data)
    return path, bytes(data)


def _damage(draw: st.DrawFn, data: bytearray) -> None:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    match draw(st.sampled_from(["bit", "length", "digits", "cut", "splice", "move", "text"])):
        case "bit" if data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        case "length":  # a count or size field, in either byte order, often at the very start
            at = draw(st.sampled_from([0, 4, 8, 16, at]))
            width = draw(st.sampled_from([1, 2, 4, 8]))
            number = (draw(NUMBERS) % 256**width).to_bytes(width, "little")
            data[at : at + width] = number if draw(st.booleans()) else number[::-1]
        case "digits":  # the same in JSON
            if found := list(_DIGITS.finditer(bytes(data))):
                match = found[draw(st.integers(0, len(found) - 1))]
                data[match.start() : match.end()] = str(draw(NUMBERS)).encode()
        case "cut":
            del data[at:]
        case "splice":
            data[at : at + draw(st.integers(0, 30))] = draw(st.binary(max_size=60))
        case "move":
            data[at:at] = data[at : at + draw(st.integers(1, 400))] * draw(st.integers(1, 4))
        case "text":
            data[at:at] = draw(st.sampled_from(TEXTS)).encode()[:400]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def _placed(work: Path, path: Path, data: bytes) -> Path:
    """A model in which the file at `path` has these bytes."""
    model = work / "model"
    shutil.rmtree(model, ignore_errors=True)
    top = GOOD / Path(*path.relative_to(GOOD).parts[:2])
    if top == path:
        model.mkdir()
        (model / path.name).write_bytes(data)
        return model / path.name
    shutil.copytree(top, model)
    (model / path.relative_to(top)).write_bytes(data)
    return model


def _settled(done: Completed) -> None:
    """A listing, or a refusal of one or two lines."""
    assert done.code in (0, 3, 4), done.err
    assert harm(done.err) is None
    lines = [line for line in done.err.splitlines() if not line.startswith("mscope: note: ")]
    assert all(len(line) <= 2000 for line in lines)
    if done.code:
        assert done.out == ""
        assert 1 <= sum(not line.startswith("mscope: warning: ") for line in lines) <= 2
    else:
        assert all(line.startswith("mscope: warning: ") for line in lines)


_WAYS: tuple[list[str], ...] = (
    [],
    ["--fold"],
    ["--by", "module"],
    ["-f", "md"],
    ["-f", "csv"],
    ["--color", "always"],
)


def _examples(count: int) -> settings:
    slow = [HealthCheck.too_slow]
    return settings(max_examples=count, suppress_health_check=slow)


@_examples(500)
@given(case=damaged(SEEDS))
@example(case=(GOOD / "safetensors" / "two-tensors.safetensors", b"\xff" * 8 + b"{}"))
@example(case=(GOOD / "gguf" / "v3.gguf", b"GGUF\3\0\0\0" + b"\xff" * 16))
@example(case=(GOOD / "torch" / "state-dict.pt", b"PK\3\4"))
def test_a_listing_or_a_refusal(work: Path, case: tuple[Path, bytes]) -> None:
    model = _placed(work, *case)
    done = within(_SECONDS, lambda: run("params", str(model), "-f", "json"))
    _settled(done)
    if done.code == 0:
        document(done.out)


@_examples(150)
@given(case=damaged(SEEDS), argv=st.sampled_from(_WAYS))
def test_what_is_listed_is_shown_in_every_way(
    work: Path, case: tuple[Path, bytes], argv: list[str]
) -> None:
    done = run("params", str(_placed(work, *case)), *argv)
    _settled(done)
    assert harm(done.out, styled="always" in argv) is None


@_examples(150)
@given(case=damaged([path for path in SEEDS if path.suffix in (".json", ".gguf")]))
def test_a_configuration_or_a_refusal(work: Path, case: tuple[Path, bytes]) -> None:
    done = run("config", str(_placed(work, *case)), "--json")
    if "each with its own metadata" not in done.err:
        _settled(done)
        assert done.code or json.loads(done.out)["schema"] == "mscope/config/1"


@_examples(60)
@given(case=damaged(SEEDS))
def test_memory_stays_within_bounds(work: Path, case: tuple[Path, bytes]) -> None:
    """Whatever lengths a small file claims."""
    model = _placed(work, *case)
    tracemalloc.start()
    try:
        run("params", str(model), "-f", "json")
        assert tracemalloc.get_traced_memory()[1] < _BYTES
    finally:
        tracemalloc.stop()
