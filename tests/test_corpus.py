"""Every file of the corpus through the program: what is good is shown, what is bad is named.

A file or folder dropped into `tests/corpus/{good,bad}/<format>/` is picked up by itself.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from modelscope_cli import load
from modelscope_cli.errors import FormatError
from modelscope_cli.render import FORMATS
from tests.bounded import within
from tests.corpus import make_folder
from tests.documents import document
from tests.running import Run

CORPUS = Path(__file__).parent / "corpus"
BAD = sorted((CORPUS / "bad").glob("*/*"))
GOOD = sorted((CORPUS / "good").glob("*/*"))
_DEFECTS = 60
_LINE = 2000
_SECONDS = 1.0


def _id(path: Path) -> str:
    return str(path.relative_to(CORPUS).as_posix())


def test_there_are_enough_defects() -> None:
    classes = {path.name.partition("--")[0] for path in BAD}
    assert len(BAD) >= _DEFECTS
    assert len(classes) >= _DEFECTS, sorted(classes)
    assert {path.parent.name for path in BAD} == {"folder", "gguf", "safetensors", "torch"}


@pytest.mark.parametrize("path", BAD, ids=_id)
def test_a_bad_file_is_named_in_one_or_two_lines(run: Run, path: Path) -> None:
    done = within(_SECONDS, lambda: run("params", str(path)))
    assert (done.code, done.out) == (4, ""), done
    lines = done.err.splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[0].startswith("mscope: error: ")
    assert all(len(line) <= _LINE for line in lines)
    assert "Traceback" not in done.err
    assert _is_harmless(done.err)
    assert _files(path) & set(re.split(r"[\s:,/]+", lines[0]))


def _is_harmless(text: str) -> bool:
    return text.replace("\n", "").isprintable()


def _files(path: Path) -> set[str]:
    """The names of which the error must say one: the file, or a file or set of the folder."""
    if path.is_file():
        return {path.name}
    names = {inner.name for inner in path.rglob("*")}
    return names | {re.sub(r"-\d{5}-of-\d{5,6}", "", name) for name in names}


@pytest.mark.parametrize("path", BAD, ids=_id)
def test_a_bad_file_is_called_by_its_defect(path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        load.open_model(str(path))
    assert type(caught.value).__name__ == path.name.partition("--")[0]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("path", GOOD, ids=_id)
def test_a_good_file_is_shown(run: Run, path: Path, format_: str) -> None:
    done = run("params", str(path), "-f", format_)
    assert done.code == 0, done.err
    assert _is_harmless(done.out.replace("\t", "") if format_ == "tsv" else done.out)
    assert all(line.startswith(("mscope: note: ", "mscope: warning: "))
               for line in done.err.splitlines())  # fmt: skip
    if format_ == "json":
        made = document(done.out)
        assert len(made["tensors"]) == (made["totals"]["tensors"] or 0)
    elif format_ == "jsonl":
        assert all(json.loads(line)["name"] is not None for line in done.out.splitlines())
    elif format_ in ("csv", "tsv"):
        dialect = "excel" if format_ == "csv" else "excel-tab"
        rows = list(csv.reader(done.out.splitlines(), dialect))
        assert {len(row) for row in rows} == {len(rows[0])}


def test_the_folders_are_what_their_script_writes() -> None:
    written = make_folder.files()
    committed = {
        path.relative_to(CORPUS) for path in CORPUS.glob("*/folder/**/*") if path.is_file()
    }
    assert committed == set(written)
    assert all((CORPUS / path).read_bytes() == data for path, data in written.items())
    assert all(len(data) < 10_000 for data in written.values())
