"""Numbers as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.units import UNITS, count_text, counted, short_count, size_text


@pytest.mark.parametrize(
    ("count", "iec", "si"),
    [
        (0, "0 B", "0 B"),
        (1, "1 B", "1 B"),
        (999, "999 B", "999 B"),
        (1000, "1000 B", "1.00 kB"),
        (1023, "1023 B", "1.02 kB"),
        (1024, "1.00 KiB", "1.02 kB"),
        (90_856_960, "86.65 MiB", "90.86 MB"),
        (2**30, "1.00 GiB", "1.07 GB"),
        (2**40, "1.00 TiB", "1.10 TB"),
        (187_630_436_352, "174.74 GiB", "187.63 GB"),
        (2**60, "1.00 EiB", "1.15 EB"),
        (2**70, "1024.00 EiB", "1180.59 EB"),
    ],
)
def test_sizes(count: int, iec: str, si: str) -> None:
    assert size_text(count) == size_text(count, "iec") == iec
    assert size_text(count, "si") == si
    assert size_text(count, "bytes") == f"{count:,} B"


@given(st.integers(min_value=0, max_value=2**70), st.sampled_from(UNITS))
def test_a_size_reads_back(count: int, units: str) -> None:
    text = size_text(count, units)
    match = re.fullmatch(r"([\d,]+(?:\.\d\d)?) (B|[kKMGTPE]i?B)", text)
    assert match
    assert ("i" in match[2]) <= (units == "iec")  # GiB is never called GB
    assert units != "iec" or match[2] == "B" or "i" in match[2]
    step = 1024 if units == "iec" else 1000
    power = "BkMGTPE".index(match[2][0].replace("K", "k"))
    value = float(match[1].replace(",", "")) * step**power
    assert abs(value - count) <= 0.006 * step**power


@pytest.mark.parametrize(
    ("count", "short"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00K"),
        (22_713_216, "22.7M"),
        (109_482_240, "109M"),
        (8_030_261_248, "8.03B"),
        (46_907_609_088, "46.9B"),
        (671_026_419_200, "671B"),
        (10**12, "1.00T"),
        (10**16, "10000T"),
    ],
)
def test_short_counts(count: int, short: str) -> None:
    assert short_count(count) == short


def test_counts() -> None:
    assert count_text(22_713_216) == "22,713,216"
    assert counted(1, "tensor") == "1 tensor"
    assert counted(0, "tensor") == "0 tensors"
    assert counted(1234, "tensor") == "1,234 tensors"
