"""Settings: option > MSCOPE_<OPTION> > mscope.toml > pyproject.toml > default; no model's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelscope_cli import settings
from modelscope_cli.errors import UsageError
from tests.builders import folders
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


# Precedence


def test_each_source_wins_over_the_next(run: Run, work: Path) -> None:
    """A string option, from the weakest source to the strongest."""
    model = _model(work)
    assert run("params", model, cwd=work).out.startswith(f"{model}: ")
    _set(work.parent, "[tool.mscope]\nformat = 'jsonl'", "pyproject.toml")
    assert run("params", model, cwd=work).out.startswith('{"name"')
    _set(work.parent, "format = 'csv'")
    assert run("params", model, cwd=work).out.startswith("name,dtype")
    _set(work, "[tool.mscope]\nformat = 'tsv'", "pyproject.toml")
    assert run("params", model, cwd=work).out.startswith("name\tdtype")
    _set(work, "format = 'md'")
    assert run("params", model, cwd=work).out.startswith("## ")
    env = {"MSCOPE_FORMAT": "json"}
    assert _is_json(run("params", model, cwd=work, env=env))
    done = run("params", model, "-f", "csv", cwd=work, env=env)
    assert done.out.startswith("name,dtype")


def test_a_bool_option(run: Run, work: Path) -> None:
    model = _model(work)
    assert not _is_json(run("params", model, cwd=work))
    _set(work, "json = true")
    assert _is_json(run("params", model, cwd=work))
    assert not _is_json(run("params", model, cwd=work, env={"MSCOPE_JSON": "0"}))
    _set(work, "json = false")
    assert not _is_json(run("params", model, cwd=work))
    assert _is_json(run("params", model, cwd=work, env={"MSCOPE_JSON": "1"}))
    assert _is_json(run("params", model, "--json", cwd=work, env={"MSCOPE_JSON": "0"}))


def test_a_bool_option_with_two_names(run: Run, work: Path) -> None:
    names = [f"layers.{layer}.w" for layer in range(3)]
    folders.write(work / "m", {"model.safetensors": folders.weights(*names)})
    _set(work, "fold = true")
    assert "layers.{0..2}.w" in run("params", "m", cwd=work).out
    assert "layers.2.w" in run("params", "m", "--no-fold", cwd=work).out
    assert "layers.2.w" in run("params", "m", cwd=work, env={"MSCOPE_FOLD": "false"}).out
    _set(work, "fold = false")
    assert "layers.2.w" in run("params", "m", "-f", "md", cwd=work).out


def test_an_int_option(run: Run, work: Path) -> None:
    def rows(*argv: str, env: dict[str, str] | None = None) -> int:
        done = run("params", _model(work), "-f", "jsonl", *argv, cwd=work, env=env)
        return len(done.out.splitlines())

    assert rows() == 2
    _set(work, "top = 1")
    assert rows() == 1
    assert rows(env={"MSCOPE_TOP": "2"}) == 2
    assert rows("--top", "1", env={"MSCOPE_TOP": "2"}) == 1


def test_a_list_option(run: Run, work: Path) -> None:
    def names(*argv: str, env: dict[str, str] | None = None) -> list[str]:
        done = run("params", _model(work), "-f", "jsonl", *argv, cwd=work, env=env)
        return [json.loads(line)["name"] for line in done.out.splitlines()]

    _set(work, "match = ['a']")
    assert names() == ["a.w"]
    _set(work, "match = 'a'")
    assert names() == ["a.w"]
    _set(work, "match = ['a', 'b']")
    assert names() == ["a.w", "b.w"]
    assert names(env={"MSCOPE_MATCH": "b"}) == ["b.w"]
    assert names("--match", "a", env={"MSCOPE_MATCH": "b"}) == ["a.w"]  # not added up


def test_the_model(run: Run, work: Path) -> None:
    def target(*argv: str, env: dict[str, str] | None = None) -> str:
        done = run("params", *argv, "--json", cwd=work, env=env)
        return str(json.loads(done.out)["model"]["target"])

    assert target() == "builtin:huozi3"
    _set(work, "model = 'builtin:bert-base-uncased'")
    assert target() == "builtin:bert-base-uncased"
    env = {"MSCOPE_MODEL": "builtin:llama3-8b"}
    assert target(env=env) == "builtin:llama3-8b"
    assert target(_model(work), env=env) == _model(work)
    assert target(env={"MSCOPE_MODEL": ""}) == "builtin:bert-base-uncased"


def test_a_setting_wins_over_the_current_folder(run: Run, work: Path) -> None:
    """The current folder is the model only where nothing names one."""
    _set(work.parent, "model = 'builtin:bert-base-uncased'")
    folders.write(work, {"model.safetensors": folders.weights("a")})
    done = run("params", "--json", cwd=work)
    assert json.loads(done.out)["model"]["target"] == "builtin:bert-base-uncased"


# Tables of commands


def test_a_commands_own_table(run: Run, work: Path) -> None:
    _set(work, "format = 'json'\n[params]\nformat = 'csv'\n[config]\nget = 'model_type'")
    model = _model(work)
    assert run("params", model, cwd=work).out.startswith("name,")
    assert json.loads(run("config", model, cwd=work).out)["value"] == "bert"
    _set(work, "[tool.mscope.params]\nformat = 'md'\n[tool.other]\nx = 1", "pyproject.toml")
    (work / "mscope.toml").unlink()
    assert run("params", model, cwd=work).out.startswith("## ")
    assert run("config", model, cwd=work).out.startswith(model)


def test_a_top_level_setting_of_another_command_is_no_error(run: Run, work: Path) -> None:
    _set(work, "match = 'a'\nget = 'model_type'\n[audit]\npolicy = 'x'")
    assert run("params", _model(work), cwd=work).code == 0
    assert run("config", _model(work), cwd=work).out == "bert\n"


@pytest.mark.parametrize("name", ["mscope.toml", "pyproject.toml"])
@pytest.mark.parametrize("table", ["", "params"])
def test_names_may_be_spelled_as_on_the_command_line(
    run: Run, work: Path, name: str, table: str
) -> None:
    parts = [*(["tool.mscope"] if name == "pyproject.toml" else []), *([table] if table else [])]
    head = f"[{'.'.join(parts)}]\n" if parts else ""
    for key in ("cache-dir", "cache_dir"):
        _set(work, f"{head}{key} = 'no-such-cache'", name)
        done = run("params", "org/name", cwd=work)
        assert done.code == 3
        assert "no-such-cache" in done.err


# What is wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("formt = 'json'", "unknown setting 'formt' | did you mean format"),
        ("[params]\nmtach = 'x'", "unknown setting of params 'mtach' | did you mean match"),
        ("[params]\nget = 'x'", "unknown setting of params 'get'"),
        ("[parms]\ntop = 1", "there is no command 'parms' | did you mean params?"),
        ("params = 1", "params is a command: its settings are a table"),
        ("[format]\nx = 1", "there is no command 'format'"),
        ("isolated = true", "unknown setting 'isolated'"),
        ("format = 'jsno'", "'jsno' is not one of table, json | did you mean json"),
        ("format = 1", "format takes a string, not 1"),
        ("format = ['json']", "format takes a string, not ['json']"),
        ("format = 2020-01-01", "format takes a string"),
        ("json = 'yes'", "json takes true or false, not 'yes'"),
        ("json = 1", "json takes true or false, not 1"),
        ("top = '1'", "top takes a whole number, not '1'"),
        ("top = 1.5", "top takes a whole number, not 1.5"),
        ("top = true", "top takes a whole number, not True"),
        ("top = 0", "top: Invalid value"),
        ("match = [1]", "match takes a string or a list of strings, not [1]"),
        ("match = [['a']]", "match takes a string or a list of strings"),
        ("match = 1", "match takes a string or a list of strings, not 1"),
        ("model = 1", "model takes a string, not 1"),
        ("model = ''", "MODEL is an empty string"),
        ("format =", "not valid TOML"),
        ("format = 'a'\nformat = 'b'", "not valid TOML"),
        ("a = " + "[" * 2000, "not valid TOML: nested too deep"),
        ("format = '\x1b[31m'", "not valid TOML"),
        ('format = "\\u001b[31m::error::"', "'\\x1b[31m::error::'"),
    ],
)
def test_wrong_settings(run: Run, work: Path, text: str, said: str) -> None:
    path = _set(work, text)
    done = run("params", cwd=work)
    assert (done.code, done.out) == (2, "")
    for part in said.split(" | "):
        assert part in done.err
    if "empty" not in said:
        assert path in done.err
    assert len(done.err.splitlines()) <= 2


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"x" * 1_000_001, b'# "tool.mscope"\ntool = 3', b"[tool]\nmscope = 1"]
)
def test_strange_files(run: Run, work: Path, content: bytes) -> None:
    (work / "pyproject.toml").write_bytes(content)
    assert run("params", _model(work), cwd=work).code == 0  # no settings of ours are in it
    (work / "mscope.toml").write_bytes(content)
    assert run("params", _model(work), cwd=work).code == 2


def test_a_settings_file_that_may_not_be_read(
    run: Run, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _set(work, "format = 'json'")
    opened = open

    def refuse(name: str, *rest: object, **more: object) -> object:
        if name == path:
            raise PermissionError(13, "Permission denied")
        return opened(name, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", refuse)
    done = run("params", _model(work), cwd=work)
    assert done.code == 2
    assert "mscope.toml: cannot be read: Permission denied" in done.err


def test_a_folder_named_like_a_settings_file(run: Run, work: Path) -> None:
    (work / "mscope.toml").mkdir()
    (work / "pyproject.toml").mkdir()
    assert run("params", _model(work), cwd=work).code == 0


# --config, --isolated


def test_a_file_of_the_users_choice(run: Run, work: Path, tmp_path: Path) -> None:
    _set(work, "format = 'csv'\ntop = 1")
    chosen = _set(tmp_path / "elsewhere", "format = 'json'", "any.name")
    done = run("params", _model(work), "--config", chosen, cwd=work)
    assert len(json.loads(done.out)["tensors"]) == 2  # that file only
    assert _is_json(run("params", _model(work), cwd=work, env={"MSCOPE_CONFIG": chosen}))
    done = run("params", _model(work), "--config", str(work), cwd=work)
    assert done.code == 2


def test_no_settings_file_at_all(run: Run, work: Path) -> None:
    _set(work, "nonsense = ")
    assert run("params", _model(work), cwd=work).code == 2
    assert run("params", _model(work), "--isolated", cwd=work).code == 0
    assert run("params", _model(work), cwd=work, env={"MSCOPE_ISOLATED": "1"}).code == 0
    done = run("params", _model(work), "--isolated", cwd=work, env={"MSCOPE_FORMAT": "json"})
    assert _is_json(done)  # the environment is no settings file


# Where each came from


def test_verbose_says_where_each_setting_came_from(run: Run, work: Path) -> None:
    path = _set(work, "units = 'si'\n[params]\ntop = 1")
    done = run("params", _model(work), "-v", cwd=work, env={"MSCOPE_SORT": "bytes"})
    said = [line for line in done.err.splitlines() if "(from " in line]
    assert said == [
        f"mscope: model = {_model(work)} (from the command line)",
        "mscope: sort = bytes (from the environment (MSCOPE_SORT))",
        f"mscope: top = 1 (from {path})",
        f"mscope: units = si (from {path})",
        "mscope: verbose = True (from the command line)",
    ]


def test_verbose_may_be_a_setting_itself(run: Run, work: Path) -> None:
    path = _set(work, "verbose = true\nmodel = 'builtin:llama3-8b'")
    done = run("params", cwd=work)
    assert f"mscope: model = builtin:llama3-8b (from {path})" in done.err


# Paths in settings


def test_a_relative_model_starts_from_the_files_folder(run: Run, work: Path) -> None:
    def path(setting: str, cwd: Path) -> str:
        _set(work.parent, f"model = '{setting}'")
        done = run("params", "--json", cwd=cwd)
        assert done.code == 0, done.err
        return str(json.loads(done.out)["model"]["path"])

    folders.write(work.parent / "m", {"model.safetensors": folders.weights("a")})
    here = str(work.parent / "m")
    for cwd in (work, work.parent):
        assert path("./m", cwd) == here
        assert path("m", cwd) == here
        assert path("m/model.safetensors", cwd) == f"{here}/model.safetensors"
        assert path(here, cwd) == here
        assert Path(path("../models/m", cwd)).resolve() == Path(_model(work))
    (work / "m").symlink_to(_model(work))  # what lies under the current folder is not meant
    assert path("./m", work) == here


def test_what_is_no_relative_path_is_left_alone(run: Run, work: Path) -> None:
    home = Path.home()
    folders.write(home / "m", {"model.safetensors": folders.weights("a")})
    _set(work.parent, "model = '~/m'")
    assert json.loads(run("params", "--json", cwd=work).out)["model"]["path"] == str(home / "m")
    _set(work.parent, "model = 'org/name'")
    assert "org/name" in run("params", cwd=work).err
    _set(work.parent, "model = './missing'")
    assert str(work.parent / "missing") in run("params", cwd=work).err
    done = run("params", cwd=work, env={"MSCOPE_MODEL": "./missing"})
    assert "error: ./missing: No such file" in done.err  # the environment is of the current folder


# The module by itself


def test_inside(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    (tmp_path / "link").symlink_to("a")
    inner = str(tmp_path / "a" / "b")
    assert settings.inside(inner, [str(tmp_path / "a")])
    assert settings.inside(inner, [str(tmp_path / "link")])
    assert settings.inside(inner, [inner])
    assert not settings.inside(str(tmp_path / "ab"), [str(tmp_path / "a")])
    assert settings.inside(inner, ["/"])
    assert not settings.inside(inner, [])


def test_check_keys_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        settings.check_keys(settings.Settings("f", {"forma": 1}), {"params": ["format"]})
    assert caught.value.hint == "did you mean format?"


# Two spellings of one thing


@pytest.mark.parametrize("format_", ["csv", "table"])
def test_two_formats_are_refused(run: Run, format_: str) -> None:
    done = run("params", "--json", "-f", format_)
    assert (done.code, done.out) == (2, "")
    assert f"error: --json and -f {format_} ask for two formats" in done.err
    assert run("params", "--json", "-f", "json").code == 0


def test_the_stronger_source_chooses_the_format(run: Run, work: Path) -> None:
    _set(work, "format = 'csv'")
    assert run("params", "--json", cwd=work).out.startswith("{")
    assert run("params", "-f", "csv", env={"MSCOPE_JSON": "1"}).out.startswith("name,")
    assert run("params", "--json", env={"MSCOPE_FORMAT": "csv"}).out.startswith("{")
    _set(work, "json = true")
    assert run("params", cwd=work).out.startswith("{")
    assert run("params", "-f", "csv", cwd=work).out.startswith("name,")
    _set(work, "json = true\nformat = 'csv'")
    assert run("params", cwd=work).code == 2
