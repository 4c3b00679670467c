"""Every key of every table is found, and no other."""

import copy
import json
from pathlib import Path

import pytest

from modelscope_cli.analysis.memory.kv.cache import kv_cache
from modelscope_cli.knowledge import buffers, configs, lines, modules

TABLES = sorted(Path(lines._FOLDER).glob("*.jsonl"))


def write(folder: Path, values: dict[str, object]) -> None:
    text = (f"{json.dumps(key)}\t{json.dumps(value)}\n" for key, value in values.items())
    (folder / "table.jsonl").write_bytes("".join(sorted(text)).encode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for tables, that nothing was read of."""
    monkeypatch.setattr(lines, "_FOLDER", str(tmp_path))
    lines._mapped.cache_clear()
    lines.look_up.cache_clear()
    return tmp_path


def test_there_are_tables() -> None:
    assert {"classes", "configs", "kv_cache"} <= {path.stem for path in TABLES}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_line_is_found(path: Path) -> None:
    lines._mapped.cache_clear()
    lines.look_up.cache_clear()
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("\t")
        assert lines.look_up(path.stem, json.loads(key)) == json.loads(value), key


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_what_is_no_key_is_not_found(path: Path) -> None:
    keys = {json.loads(line.split("\t")[0]) for line in path.read_text("utf-8").splitlines()}
    near = {f"{key}{end}" for key in keys for end in ("x", " ", "\t", "/", '"')}
    near |= {key[:-1] for key in keys if key} | {"~", "A", "\0", "\n", "\U0010ffff", "x" * 10_000}
    for key in sorted(near - keys):
        assert lines.look_up(path.stem, key) is None, key


def test_lines_of_any_length(folder: Path) -> None:
    values: dict[str, object] = {f"k{i}": "v" * (i * 7919 % 9000) for i in range(40)}
    values |= {"": 1, "k": None, "é": [2], 'a"b': {}, "k1/Class": 3}
    write(folder, values)
    for key, value in values.items():
        assert lines.look_up("table", key) == value, key
    assert lines.look_up("table", "k40") is None


def test_one_line(folder: Path) -> None:
    write(folder, {"only": 1})
    assert lines.look_up("table", "only") == 1
    assert lines.look_up("table", "a") is None
    assert lines.look_up("table", "z") is None


@pytest.mark.parametrize(
    "model_type", ["llama", "gemma3", "deepseek_v3", "llava", "t5", "mamba2", "gpt_oss", "whisper"]
)
def test_nobody_changes_what_is_kept(model_type: str) -> None:
    before = {path.stem: copy.deepcopy(lines.look_up(path.stem, model_type)) for path in TABLES}
    effective = configs.effective({"model_type": model_type, "num_hidden_layers": 3})
    known = modules.find(model_type, None, effective)
    assert known is not None
    known.rename("model.layers.0.mlp.weight")
    buffers.non_persistent(model_type, known.name, effective)
    buffers.index_counts(model_type, known.name, effective)
    kv_cache(effective, known.name, batch=1, context=8, dtype_bytes=2)
    assert {path.stem: lines.look_up(path.stem, model_type) for path in TABLES} == before
