"""A model never configures who looks at it: settings found inside one are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import folders
from tests.builders.hfcache import MAIN, Cache
from tests.running import Completed, Run


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder of the user's, with a model beside it and no settings yet."""
    folders.write(
        tmp_path / "models" / "m",
        {"model.safetensors": folders.weights("a.w", "b.w"), "config.json": folders.BERT},
    )
    return folders.write(tmp_path / "project" / "work", {"readme": ""})


def _model(work: Path) -> str:
    return str(work.parent.parent / "models" / "m")


def _set(folder: Path, text: str, name: str = "mscope.toml") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def _is_json(done: Completed) -> bool:
    assert done.code == 0, done.err
    return done.out.startswith("{")


def _not_used(done: Completed) -> bool:
    assert done.code == 0, done.err
    assert "settings inside the model being looked at are never taken" in done.err
    return not done.out.startswith("{")


@pytest.mark.parametrize("name", ["mscope.toml", "pyproject.toml"])
def test_settings_inside_the_model_are_not_taken(run: Run, work: Path, name: str) -> None:
    model = Path(_model(work))
    head = "[tool.mscope]\n" if name == "pyproject.toml" else ""
    _set(model, f"{head}format = 'json'\nmatch = 'nothing'", name)
    (model / "inside").mkdir()
    for cwd, argv in (
        (model, []),
        (model, ["."]),
        (model, ["model.safetensors"]),
        (model, [str(model)]),
        (model / "inside", [".."]),
        (model / "inside", [str(model)]),
        (model / "inside", ["../config.json"]),
    ):
        assert _not_used(run("params", *argv, cwd=cwd)), (cwd, argv)
    elsewhere = run("params", _model(work), cwd=work)
    assert _not_used(elsewhere)
    assert elsewhere.err.count("mscope: ") == 1
    assert not run("params", _model(work), "-q", cwd=work).err
    other = run("config", "builtin:huozi3", "--diff", _model(work), cwd=work)
    assert "never taken" in other.err


def test_a_project_without_our_table_is_no_note(run: Run, work: Path) -> None:
    _set(Path(_model(work)), "[project]\nname = 'a'", "pyproject.toml")
    assert not run("params", _model(work), cwd=work).err


def test_a_model_reached_by_a_link(run: Run, work: Path, tmp_path: Path) -> None:
    model = Path(_model(work))
    _set(model, "format = 'json'")
    (tmp_path / "link").symlink_to(model)
    (tmp_path / "link.safetensors").symlink_to(model / "model.safetensors")
    assert _not_used(run("params", str(tmp_path / "link"), cwd=model))
    assert _not_used(run("params", str(model), cwd=tmp_path / "link"))
    assert _not_used(run("params", cwd=tmp_path / "link"))
    assert _not_used(run("params", str(tmp_path / "link.safetensors"), cwd=model))


def test_a_file_of_the_model_need_not_be_sound(run: Run, work: Path) -> None:
    model = Path(_model(work))
    _set(model, "this is no TOML [[[")
    (model / "pyproject.toml").write_bytes(b"tool.mscope \xff")
    assert _not_used(run("params", cwd=model))


def test_the_settings_of_the_folder_above_are_taken(run: Run, work: Path) -> None:
    """A project with a model in a sub-folder configures how it is looked at."""
    model = Path(_model(work))
    _set(model, "format = 'csv'")
    _set(model.parent, "format = 'json'")
    done = run("params", cwd=model)
    assert _is_json(done)
    assert "mscope.toml: not used" in done.err


def test_the_other_model_of_a_comparison(run: Run, work: Path) -> None:
    _set(Path(_model(work)), "format = 'json'")
    argv = ("config", "builtin:bert-base-uncased", "--diff", ".")
    done = run(*argv, cwd=Path(_model(work)))
    assert done.code == 1
    assert not done.out.startswith("{")


def test_settings_that_name_the_model_they_lie_in(run: Run, work: Path) -> None:
    """From a sub-folder: the nearest file makes its own folder the model."""
    model = Path(_model(work))
    _set(model, "model = '.'\nformat = 'json'")
    (model / "inside").mkdir()
    done = run("params", cwd=model / "inside")
    assert _not_used(done)
    assert done.out.startswith("builtin:huozi3 (the default")
    _set(model.parent, "model = './m'\nformat = 'csv'")
    done = run("params", cwd=model / "inside")
    assert done.out.startswith("name,")


def test_settings_inside_an_hf_cache(run: Run, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "hub")
    files = {"model.safetensors": folders.weights("a"), "mscope.toml": b"format = 'json'"}
    snapshot = cache.add("org/name", MAIN, files, refs=("main",))
    for target in ("org/name", "builtin:huozi3", "."):
        done = run("params", target, cwd=snapshot, env={"HF_HUB_CACHE": str(cache.hub)})
        assert _not_used(done)


def test_settings_that_are_named_and_lie_in_the_model(run: Run, work: Path, tmp_path: Path) -> None:
    model = Path(_model(work))
    _set(model, "format = 'json'")
    (tmp_path / "linked.toml").symlink_to(model / "mscope.toml")
    for cwd, name, path in (
        (tmp_path, _model(work), "linked.toml"),
        (model, ".", "mscope.toml"),
        (model, "", "mscope.toml"),
    ):
        done = run("params", *filter(None, [name]), "--config", path, cwd=cwd)
        assert done.code == 2
        assert f"--config {path}: lies in a model that is looked at" in done.err
    done = run("params", "model.safetensors", "--config", "mscope.toml", cwd=model)
    assert _is_json(done)  # the model is that one file
    _set(model, "model = '.'")
    assert run("params", "--config", str(model / "mscope.toml"), cwd=tmp_path).code == 2


def test_a_link_on_the_way_up_that_leads_into_the_model(run: Run, work: Path) -> None:
    _set(Path(_model(work)), "format = 'json'")
    (work / "mscope.toml").symlink_to(Path(_model(work)) / "mscope.toml")
    assert _not_used(run("params", _model(work), cwd=work))


def test_the_note_can_be_muted(run: Run, work: Path) -> None:
    model = Path(_model(work))
    _set(model, "format = 'json'")
    _set(model.parent, "quiet = true")
    assert run("params", cwd=model).err == ""
    (model.parent / "mscope.toml").unlink()
    assert run("params", "-q", cwd=model).err == ""
