"""picklescan on the same files in the same run: where it says something else is listed, and why.

The reasons stand beside the files, in `tests/corpus/make_pickles.py` (`theirs`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.make_pickles import CASES, Case

scanner = pytest.importorskip("picklescan.scanner", reason="the extra `scan` is not installed")

CORPUS = Path(__file__).parents[1] / "corpus" / "pickles"


def _theirs(path: Path) -> tuple[set[str], set[str]] | None:
    """What it takes for dangerous and for unknown; None where it fails."""
    try:
        found = scanner.scan_file_path(str(path)).globals
    except Exception:
        return None
    by_level: dict[str, set[str]] = {"dangerous": set(), "suspicious": set(), "innocuous": set()}
    for each in found:
        by_level[each.safety.value].add(f"{each.module}.{each.name}")
    return by_level["dangerous"], by_level["suspicious"]


def _agrees(case: Case, path: Path) -> bool:
    found = _theirs(path)
    return found == (set(case.dangerous), set(case.unknown)) and not case.unseen


@pytest.mark.parametrize("name", CASES)
def test_where_picklescan_differs_is_written_down(name: str) -> None:
    case = CASES[name]
    agrees = _agrees(case, CORPUS / name)
    assert agrees == (case.theirs is None), (case.theirs, _theirs(CORPUS / name))


def test_nothing_that_it_calls_dangerous_passes_as_safe() -> None:
    for name, case in CASES.items():
        dangerous, _ = _theirs(CORPUS / name) or (set(), set())
        assert not dangerous or case.dangerous or case.unknown, name
