"""What reads headers only imports nothing heavy: shown in processes where that import fails."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.builders.hfcache import MAIN, Cache
from tests.running import Completed, run_python

_HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "accelerate",
    "bitsandbytes",
    "huggingface_hub",
    "pydantic",
)
# An import of a forbidden package ends the process at once, even where the code would catch it.
_PROGRAM = """
import importlib.abc, os, sys

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            import traceback
            traceback.print_stack()
            sys.stderr.flush()
            os._exit(99)

FORBIDDEN = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Guard())
from modelscope_cli.cli import main
sys.exit(main(sys.argv[2:]))
"""


def _guarded(forbidden: tuple[str, ...], *argv: str) -> Completed:
    done = run_python("-c", _PROGRAM, ",".join(forbidden), *argv)
    assert done.code == 0, done.err
    return done


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A small model: one weight of 2 x 3 and a configuration."""
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    weights = struct.pack("<Q", len(header)) + header + bytes(24)
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    return str(tmp_path)


@pytest.mark.parametrize("option", ["--help", "-h", "-V"])
def test_what_every_user_runs_first(option: str) -> None:
    assert _guarded(_HEAVY, option).out
    assert _guarded(_HEAVY, "params", "--help").out


@pytest.mark.parametrize("format_", ["table", "json", "jsonl", "csv", "tsv", "md"])
def test_params_of_a_folder(format_: str, folder: str) -> None:
    done = _guarded((*_HEAVY, "rich"), "params", folder, "-f", format_)
    assert "w" in done.out


@pytest.mark.parametrize("command", ["params", "config"])
@pytest.mark.parametrize("model", ["builtin:huozi3", "builtin:bert-base-uncased"])
def test_builtins(command: str, model: str) -> None:
    document = json.loads(_guarded((*_HEAVY, "rich"), command, model, "-f", "json").out)
    assert document["model"]["kind"] == "builtin"


@pytest.mark.parametrize("option", [[], ["--by", "dtype"], ["--fold"], ["--sort", "bytes"]])
def test_params_with_options(option: list[str], folder: str) -> None:
    _guarded((*_HEAVY, "rich"), "params", folder, *option)


def test_config_of_a_folder(folder: str) -> None:
    assert "bert" in _guarded((*_HEAVY, "rich"), "config", folder).out


@pytest.mark.parametrize(
    "argv", [["ls"], ["show", "org/x"], ["verify", "org/x"], ["verify", "--all"], ["doctor"]]
)
def test_the_cache(argv: list[str], tmp_path: Path) -> None:
    Cache(tmp_path).add("org/x", MAIN, {"config.json": b"{}"}, ("main",))
    _guarded((*_HEAVY, "rich"), "cache", *argv, "--cache-dir", str(tmp_path))


def test_a_terminal_needs_rich_and_no_more(folder: str) -> None:
    assert "w" in _guarded(_HEAVY, "params", folder, "--color", "always").out


def test_completion_imports_nothing_heavy() -> None:
    assert "_mscope" in _guarded((*_HEAVY, "rich"), "--show-completion", "bash").out


def test_the_guard_works() -> None:
    assert run_python("-c", _PROGRAM, "modelscope_cli").code == 99
