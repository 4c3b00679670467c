"""The exit codes that scripts rely on, each met by every road that leads to it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

from modelscope_cli import load
from tests.builders import folders
from tests.running import Run

_FAULT = "a fault of mscope itself"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with one weight file and a configuration."""
    files = {"model.safetensors": folders.weights("layer.w"), "config.json": folders.BERT}
    return folders.write(tmp_path / "m", files)


def _refused(run: Run, code: int, *argv: str, said: str = "", env: dict[str, str] | None = None,
             cwd: Path | None = None) -> str:  # fmt: skip
    """The program refuses in one or two lines on stderr, and says nothing on stdout."""
    done = run(*argv, env=env, cwd=cwd)
    assert (done.code, done.out) == (code, ""), done
    lines = done.err.splitlines()
    assert lines
    assert lines[-1].startswith("mscope: hint: ") or lines[-1].startswith("mscope: error: ")
    assert sum(not line.startswith("mscope: note: ") for line in lines) <= 2
    assert "Traceback" not in done.err
    assert said in done.err
    return done.err


# 0 and 1


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["-V"], ["params", "--help"], ["params"]])
def test_done(run: Run, argv: list[str]) -> None:
    assert run(*argv).code == 0


def test_the_configurations_of_two_models_differ(run: Run, model: Path, tmp_path: Path) -> None:
    other = folders.write(tmp_path / "other", {"config.json": {**folders.BERT, "vocab_size": 11}})
    assert run("config", str(model), "--diff", str(model)).code == 0
    for option in ([], ["--json"], ["-f", "csv"], ["-f", "md"]):
        assert run("config", str(model), "--diff", str(other), *option).code == 1


# 2: the command line is wrong


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["params", "--no-such-option"], "No such option"),
        (["no-such-command"], "No such command"),
        (["builtin:huozi3"], "a command comes first: mscope params builtin:huozi3"),
        (["params", "a", "b"], "unexpected extra argument"),
        (["params", ""], "MODEL is an empty string"),
        (["params", "   "], "MODEL is an empty string"),
        (["params", "org/name@x", "--revision", "y"], "two revisions"),
        (["params", "builtin:huozi3", "--revision", "main"], "no revisions"),
        (["params", "--revision", "main"], "no revisions"),
        (["params", "-f", "jsno"], "did you mean json"),
        (["params", "--units", "gib"], "'gib' is not one of iec, si, bytes"),
        (["params", "--color", "yes"], "'yes' is not one of auto, always, never"),
        (["params", "--by", "modul"], "did you mean module?"),
        (["params", "--sort", "byte"], "did you mean bytes?"),
        (["params", "--sort", "bytes:down"], "--sort"),
        (["params", "--top", "0"], "--top"),
        (["params", "--top", "many"], "--top"),
        (["params", "--depth", "-1"], "--depth"),
        (["params", "--jobs", "0"], "--jobs"),
        (["params", "--match", "model.nrom"], "did you mean model.norm.weight?"),
        (["params", "--match", "norm", "--exclude", "norm"], "no tensor's name fits norm"),
        (["params", "--exclude", "*"], "leaves no tensor"),
        (["params", "-o", "out.foo"], ".csv .json .jsonl .markdown .md .ndjson .tsv .txt"),
        (["params", "-o", "out"], "no output format has the ending ''"),
        (["params", "--config", "no.toml"], "there is no such file"),
        (["config", "--get", "rope_tetha"], "did you mean rope_theta?"),
        (["config", "--get", "x", "--diff", "builtin:llama3-8b"], "exclude each other"),
        (["config", "--diff", ""], "MODEL is an empty string"),
    ],
)  # fmt: skip
def test_wrong_usage(run: Run, argv: list[str], said: str) -> None:
    _refused(run, 2, *argv, said=said)


def test_wrong_usage_of_a_local_model(run: Run, model: Path, tmp_path: Path) -> None:
    target = str(model)
    _refused(run, 2, "params", target, "--revision", "main", said="is a path on this machine")
    _refused(run, 2, "params", target, "--weights", "*.bin", said="there are: model.safetensors")
    _refused(run, 2, "params", target, "-o", str(tmp_path), said="ending")
    _refused(run, 2, "params", target, said="unknown setting", cwd=_with(tmp_path, "mach = 'x'"))


def _with(tmp_path: Path, settings: str) -> Path:
    return folders.write(tmp_path / "work", {"mscope.toml": settings})


def test_an_output_of_no_format_is_found_before_the_model_is(run: Run) -> None:
    _refused(run, 2, "params", "./no-such-model", "-o", "x.foo", said="x.foo")


def test_an_output_that_cannot_be_written_is_said_beside_the_answer(run: Run) -> None:
    done = run("params", "-o", "no/such/folder/out.json")
    assert done.code == 2
    assert "no/such/folder/out.json: cannot be written: there is no folder" in done.err
    assert done.out == run("params").out


def test_an_output_that_fails_while_it_is_written(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    done = run("params", str(model), "-o", str(tmp_path / "out.json"))
    assert done.code == 2
    assert "out.json: cannot be written: Permission denied" in done.err
    assert list(tmp_path.iterdir()) == [model]  # nor is half a file left behind


# 3: not there, or not allowed


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("./missing", "No such file or directory"),
        ("/no/such/model.safetensors", "No such file or directory"),
        ("~/missing", "No such file or directory"),
        ("missing.safetensors", "No such file or directory"),
        ("org/name", "no such model in the HF cache"),
        ("org/name@v1", "no such model in the HF cache"),
        ("hf://org/name", "is not in the HF cache"),
        ("https://huggingface.co/org/name", "in the HF cache"),
        ("https://huggingface.co/datasets/org/name", "a dataset of the Hub"),
        ("https://huggingface.co/spaces/org/name", "a Space of the Hub"),
        ("datasets/org/name", "a dataset of the Hub"),
        ("builtin:gpt5", "there are: huozi3"),
        ("/dev", "no weight files and no configuration"),
    ],
)
@pytest.mark.parametrize("command", ["params", "config"])
def test_not_there(run: Run, command: str, target: str, said: str) -> None:
    _refused(run, 3, command, target, said=said)


def test_not_in_the_cache_although_offline_was_asked_for(run: Run) -> None:
    _refused(run, 3, "params", "org/name", "--offline")
    _refused(run, 3, "params", "org/name", env={"HF_HUB_OFFLINE": "1"})


def test_a_folder_with_nothing_in_it(run: Run, model: Path, tmp_path: Path) -> None:
    said = _refused(run, 3, "params", str(tmp_path), said="no weight files and no configuration")
    assert "there are models in: m" in said
    (tmp_path / "empty").mkdir()
    _refused(run, 3, "params", str(tmp_path / "empty"))
    _refused(run, 3, "config", str(tmp_path / "empty"))


def test_weights_have_no_configuration(run: Run, tmp_path: Path) -> None:
    file = folders.write(tmp_path, {"x.safetensors": folders.weights("a")}) / "x.safetensors"
    _refused(run, 3, "config", str(file), said="no config.json here")


def test_links_that_lead_nowhere(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    _refused(run, 3, "params", str(tmp_path / "dangling"), said="dangling link: its target gone")
    _refused(run, 3, "params", str(tmp_path / "loop"), said="Too many levels of symbolic links")
    # The same inside a folder: the file that everyone would load is what is broken.
    for target in ("gone", "model.safetensors"):
        (model / "model.safetensors").unlink()
        (model / "model.safetensors").symlink_to(target)
        _refused(run, 3, "params", str(model), said="model.safetensors: ")


def test_a_folder_may_hold_links_that_lead_nowhere(run: Run, model: Path) -> None:
    (model / "notes").symlink_to("notes")
    (model / "more").symlink_to("gone")
    assert run("params", str(model)).code == 0
    (model / "model.safetensors").unlink()
    (model / "config.json").unlink()
    _refused(run, 3, "params", str(model), said="no weight files")


def test_a_path_through_a_file(run: Run, model: Path) -> None:
    _refused(run, 3, "params", str(model / "model.safetensors" / "x"), said="Not a directory")
    _refused(run, 3, "params", f"{model / 'model.safetensors'}/", said="Not a directory")


def test_no_permission(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `os.open` would have it; these tests may run as root, who is never refused."""
    opened = os.open

    def refuse(path: str, *rest: int) -> int:
        if str(path).endswith(".safetensors"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr("os.open", refuse)
    _refused(run, 3, "params", str(model), said="model.safetensors: Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_on_the_disk(run: Run, model: Path) -> None:
    (model / "model.safetensors").chmod(0)
    _refused(run, 3, "params", str(model), said="Permission denied")
    model.chmod(0)
    try:
        _refused(run, 3, "params", str(model), said="Permission denied")
    finally:
        model.chmod(0o755)


# 4: malformed, or unsafe to read


def test_what_is_no_regular_file(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for name, said in {"fifo.safetensors": "a FIFO", "../dev/null": "a character device"}.items():
        path = "/dev/null" if name.endswith("null") else str(tmp_path / name)
        _refused(run, 4, "params", path, said=f"is {said}, not a file that can be read")


def test_a_socket(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has about 100 characters
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind("s.safetensors")
        _refused(run, 4, "params", "s.safetensors", said="is a socket")


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "pytorch_model.bin"])
def test_a_folder_named_like_a_weight_file(run: Run, name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    _refused(run, 4, "params", str(tmp_path), said=f"{name}: is a folder")


def test_a_folder_named_like_a_weight_file_as_the_target(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").mkdir()
    _refused(run, 3, "params", str(tmp_path / "x.safetensors"), said="no weight files")
    folders.write(tmp_path / "x.safetensors", {"model.safetensors": folders.weights("a")})
    assert run("params", str(tmp_path / "x.safetensors")).code == 0


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_a_configuration_that_is_no_file(run: Run, kind: str, tmp_path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "config.json")
    else:
        (tmp_path / "config.json").mkdir()
    _refused(run, 4, "config", str(tmp_path), said="config.json: is a")


def test_shards_that_are_missing(run: Run, tmp_path: Path) -> None:
    first, second = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    with_index = folders.write(tmp_path / "a", folders.sharded())
    without = folders.write(tmp_path / "b", folders.sharded(index=False))
    for folder in (with_index, without):
        (folder / second).unlink()
        _refused(run, 4, "params", str(folder), said=second)
    _refused(run, 4, "params", str(with_index / "model.safetensors.index.json"), said=second)
    assert run("params", str(without / first)).code == 0  # that shard alone


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", "[" * 100_000),
        ("config.json", b"\xff\xfe{}"),
        ("config.json", "1" * 5000),
        ("model.safetensors.index.json", "{}"),
        ("model_index.json", "{"),
        ("modules.json", "{}"),
        ("adapter_config.json", "nonsense"),
        ("model.safetensors", b""),
        ("pytorch_model.bin", b"<!DOCTYPE html>"),
        ("model.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    ],
)
def test_malformed_files(run: Run, name: str, content: bytes | str, tmp_path: Path) -> None:
    folders.write(tmp_path, {name: content})
    _refused(run, 4, "params", str(tmp_path), said=name)


# 5, 70


def test_what_is_not_installed(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it raises ImportError
    said = _refused(run, 5, "config", str(model), "--resolved")
    assert "hint: pip install 'modelscope-cli[live]'" in said


def test_a_fault_of_our_own(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> None:
        raise LookupError("first line\nsecond \x1b[31mline")

    monkeypatch.setattr(load, "open_model", fault)
    said = _refused(run, 70, "params", str(model), said=f"{_FAULT}: LookupError: first line\\x0a")
    assert "MSCOPE_DEBUG=1" in said
    with pytest.raises(LookupError, match="first line"):
        run("params", str(model), env={"MSCOPE_DEBUG": "1"})


def test_a_traceback_only_where_it_was_asked_for(run_process: Run, tmp_path: Path) -> None:
    assert "Traceback" not in run_process("params", "./missing").err
    done = run_process("params", "./missing", env={"MSCOPE_DEBUG": "1"})
    assert done.code != 0
    assert "Traceback" in done.err
    assert "NotFound" in done.err
