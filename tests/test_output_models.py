"""`-o` never writes over a file of a model that is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache
from tests.running import Run

_MODEL: dict[str, object] = {
    "model.safetensors": folders.weights("a"),
    "config.json": folders.BERT,
    "README.md": "about it",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return folders.write(tmp_path / "m", _MODEL)


@pytest.mark.parametrize(
    "file", ["m/config.json", "m/README.md", "m/../m/config.json", "link.json"]
)
def test_a_file_of_the_model_is_not_written_over(run: Run, model: Path, file: str) -> None:
    (model.parent / "link.json").symlink_to(model / "config.json")
    before = {path: path.read_bytes() for path in model.iterdir()}
    for argv in (["params", "m"], ["config", "m"], ["config", "builtin:huozi3", "--diff", "m"]):
        new = f"{argv[-1].partition(':')[0]}-{len(argv)}.csv"
        done = run(*argv, "-o", file, "-o", new, cwd=model.parent)
        assert done.code == 2
        assert f"mscope: error: {file}: not written: it is there already" in done.err
        assert done.out
        assert (model.parent / new).exists()  # nothing else is lost
    assert {path: path.read_bytes() for path in model.iterdir()} == before


def test_the_model_that_nobody_named(run: Run, model: Path) -> None:
    assert run("params", "-o", "config.json", cwd=model).code == 2
    assert run("params", "config.json", "-o", "config.json", cwd=model).code == 2


def test_what_is_not_the_models_is_written(run: Run, model: Path) -> None:
    for _ in range(2):  # a document of an earlier run is ours
        assert run("params", "m", "-o", "m/out.json", "-o", "out.csv", cwd=model.parent).code == 0
    assert (model / "out.json").read_text().startswith('{\n  "schema": "mscope/params/1"')


def test_a_snapshots_files_are_links(run: Run, tmp_path: Path) -> None:
    files = {name: folders.encoded(content) for name, content in _MODEL.items()}
    snapshot = Cache(tmp_path / "hub").add("org/m", MAIN, files, refs=("main",))
    (tmp_path / "link.json").symlink_to((snapshot / "config.json").resolve())
    for file in (snapshot / "config.json", tmp_path / "link.json"):
        done = run("params", "org/m", "--cache-dir", str(tmp_path / "hub"), "-o", str(file))
        assert done.code == 2
    assert (snapshot / "config.json").read_bytes() == files["config.json"]
