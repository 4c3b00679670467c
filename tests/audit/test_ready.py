"""What several processes would each do for themselves is done once, before they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_cli.audit import class_tensors
from tests.audit.conftest import good
from tests.builders import folders
from tests.running import Run


@pytest.fixture
def readied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows where the library is imported beforehand."""
    found: list[str] = []
    monkeypatch.setattr(class_tensors, "get_ready", lambda: found.append("imported"))
    return found


@pytest.mark.parametrize(
    ("argv", "times"),
    [
        (("--jobs", "2", "--select", "F"), 1),
        (("--jobs", "1", "--select", "F"), 0),
        (("--jobs", "2", "--select", "P"), 0),
        (("--jobs", "2", "--select", "F", "--ignore", "F003"), 0),
    ],
)
def test_only_where_the_rule_runs_in_several(
    run: Run, readied: list[str], argv: tuple[str, ...], times: int
) -> None:
    for name in ("a", "b"):
        folders.write(Path(name), good())
    run("audit", "./a", "./b", "--isolated", *argv)
    assert len(readied) == times
