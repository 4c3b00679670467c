"""`mscope params`: what is listed, in which order, and how it looks in every format."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.render import FORMATS
from modelscope_cli.sources.builtin import NAMES
from tests.builders import folders
from tests.documents import document
from tests.running import Golden, Run

_ENDINGS = {"table": "txt", "md": "md", "csv": "csv", "tsv": "tsv", "json": "json",
            "jsonl": "jsonl"}  # fmt: skip
_COLUMNS = re.compile(r" {2,}")


def _listed(params: Any, *argv: str) -> list[str]:
    return [json.loads(line)["name"] for line in params(*argv, "-f", "jsonl").out.splitlines()]


# Which rows


@pytest.mark.parametrize(
    ("argv", "count"),
    [
        ([], 39),
        (["--match", "norm"], 12),
        (["--match", "layers.1"], 9),  # contains: 1, 10 and 11
        (["--match", "layers.1."], 3),
        (["--match", "layers.1.*"], 3),
        (["--match", "norm*"], 0),  # a glob is the whole name
        (["--match", "*norm*"], 12),
        (["--match", "layers.?.norm.weight"], 10),
        (["--match", "layers.[!0-8].norm.weight"], 1),
        (["--match", "norm", "--match", "head"], 13),
        (["--match", "layers", "--exclude", "mlp", "--exclude", "*norm*"], 12),
        (["--exclude", "layers"], 3),
        (["--match", "NORM"], 0),
        (["--match", "norm", "--top", "5"], 5),
        (["--top", "1000"], 39),
    ],
)
def test_match_and_exclude(run: Run, work: Path, argv: list[str], count: int) -> None:
    done = run("params", "m", "-f", "jsonl", *argv, cwd=work)
    assert done.code == (0 if count else 2)
    assert len(done.out.splitlines()) == count


def test_the_natural_order(params: Any) -> None:
    names = _listed(params)
    assert [name for name in names if "norm" in name] == [
        f"layers.{layer}.norm.weight" for layer in range(12)
    ]
    assert names[0] == "embed.weight"
    assert names == _listed(params, "--sort", "order")
    assert names[::-1] == _listed(params, "--sort", "order:desc")
    assert names == _listed(params, "--sort", "name")


@pytest.mark.parametrize("column", ["bytes", "elements"])
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
def test_sorting_by_size(params: Any, column: str, direction: str) -> None:
    done = params("--sort", f"{column}{direction}", "-f", "jsonl")
    sizes = [json.loads(line)[column] for line in done.out.splitlines()]
    assert sizes == sorted(sizes, reverse=direction == ":desc")


def test_the_largest(params: Any) -> None:
    assert _listed(params, "--sort", "bytes:desc", "--top", "2") == ["head.weight", "embed.weight"]


def test_top_limits_rows_not_totals(params: Any) -> None:
    done = params("--top", "2")
    assert "total of 39 tensors" in done.out
    assert "--top 2 limits the rows, not the totals" in done.err
    made = document(params("--top", "2", "--json").out)
    assert len(made["tensors"]) == 2
    assert made["totals"]["tensors"] == 39


def test_totals_are_of_what_was_matched(params: Any) -> None:
    made = document(params("--match", "norm", "--json").out)
    assert made["totals"] == {
        "tensors": 12, "parameters": 96, "active_parameters": 96, "stored_elements": 96,
        "bytes": 192,
    }  # fmt: skip
    whole = document(params("--json").out)["totals"]
    assert whole["stored_elements"] - whole["parameters"] == 4  # the buffer


def test_a_line_of_a_pipe_can_be_found(params: Any) -> None:
    """`mscope params M | grep layers.11` just works."""
    lines = [line for line in params().out.splitlines() if "layers.11." in line]
    assert [_COLUMNS.split(line)[:3] for line in lines] == [
        ["layers.11.attn.q.weight", "BF16", "[8, 8]"],
        ["layers.11.mlp.up.weight", "BF16", "[16, 8]"],
        ["layers.11.norm.weight", "BF16", "[8]"],
    ]


# Grouping


def test_by_module(params: Any) -> None:
    def groups(*argv: str) -> list[str]:
        rows = document(params("--by", "module", *argv, "--json").out)["groups"]["rows"]
        return [row["module"] for row in rows]

    assert groups("--depth", "1")[:4] == ["(top)", "embed", "head", "layers.0"]
    assert groups("--depth", "1")[-1] == "layers.11"
    assert groups()[3:6] == ["layers.0.attn", "layers.0.mlp", "layers.0.norm"]
    assert groups("--match", "layers.3.", "--depth", "9") == [
        "layers.3.attn.q",
        "layers.3.mlp.up",
        "layers.3.norm",
    ]


@pytest.mark.parametrize("by", ["module", "dtype", "kind", "file"])
@pytest.mark.parametrize("model", ["m", "parts", "nf4"])
def test_groups_add_up(params: Any, by: str, model: str) -> None:
    made = document(params("--by", by, "--json", model=model).out)
    rows, totals = made["groups"]["rows"], made["totals"]
    for column in ("tensors", "bytes", "parameters"):
        assert sum(row[column] for row in rows) == totals[column]
    assert sum(row["elements"] for row in rows) == totals["stored_elements"]
    assert len({row[by] for row in rows}) == len(rows)


def test_groups_are_sorted_and_cut(params: Any) -> None:
    def sizes(*argv: str) -> list[int]:
        done = params("--by", "kind", "-f", "jsonl", *argv)
        return [json.loads(line)["bytes"] for line in done.out.splitlines()]

    assert sizes("--sort", "bytes:desc") == sorted(sizes(), reverse=True)
    assert sizes("--sort", "bytes", "--top", "2") == sorted(sizes())[:2]
    assert sizes("--sort", "bytes:desc", "--top", "1") == [max(sizes())]


def test_by_file(run: Run, work: Path) -> None:
    done = run("params", "parts", "--by", "file", "-f", "csv", cwd=work)
    assert [row["file"] for row in csv.DictReader(done.out.splitlines())] == [
        "2_Dense/model.safetensors",
        "model.safetensors",
    ]


# Folding


def test_folding(params: Any) -> None:
    lines = params("--fold").out.splitlines()
    rows = [_COLUMNS.split(line)[:4] for line in lines if "layers" in line]
    assert rows == [
        ["layers.{0..11}.attn.q.weight", "x12", "BF16", "[8, 8]"],
        ["layers.{0..4,6..11}.mlp.up.weight", "x11", "BF16", "[16, 8]"],
        ["layers.{0..11}.norm.weight", "x12", "BF16", "[8]"],
        ["layers.5.mlp.up.weight", "BF16", "[32, 8]", "256"],
    ]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("option", [[], ["--fold"], ["--no-fold"]])
def test_what_is_folded(params: Any, format_: str, option: list[str]) -> None:
    """Tables and md as asked for, md without being asked; rows for programs never."""
    folded = "{0..11}" in params("-f", format_, *option).out
    assert folded == (
        (format_ in ("table", "md") and option == ["--fold"]) or (format_ == "md" and not option)
    )


def test_a_file_folds_by_its_own_format(params: Any, work: Path) -> None:
    params("-o", "out.md", "-o", "out.txt", "-o", "out.csv", "--json")
    assert "{0..11}" in (work / "out.md").read_text()
    assert "{0..11}" not in (work / "out.txt").read_text()
    assert "{0..11}" not in (work / "out.csv").read_text()


# Formats


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("model", ["m", "parts", "nf4"])
def test_goldens(params: Any, golden: Golden, work: Path, format_: str, model: str) -> None:
    argv = {"m": ["--match", "layers.1"], "nf4": ["--match", "layers.0.self_attn.q"]}
    done = params("-f", format_, *argv.get(model, []), model=model)
    golden(f"params/{model}.{_ENDINGS[format_]}", _anywhere(done.out, work))


@pytest.mark.parametrize("by", ["module", "dtype", "kind", "file"])
@pytest.mark.parametrize("format_", ["table", "md", "csv", "json"])
def test_goldens_of_groups(params: Any, golden: Golden, work: Path, by: str, format_: str) -> None:
    done = params("--by", by, "-f", format_, "--match", "layers.5", "--match", "head")
    golden(f"params/m-by-{by}.{_ENDINGS[format_]}", _anywhere(done.out, work))


def _anywhere(text: str, work: Path) -> str:
    """Output without what differs between machines and versions."""
    text = text.replace(str(work), "FOLDER")
    return re.sub(r'"version": "[^"]*"', '"version": "VERSION"', text)


@pytest.mark.parametrize("name", NAMES)
def test_goldens_of_builtins(run: Run, golden: Golden, name: str) -> None:
    done = run("params", f"builtin:{name}", "--fold")
    golden(f"params/builtin-{name}.txt", done.out)


@pytest.mark.parametrize("name", NAMES)
def test_documents_of_builtins(run: Run, name: str) -> None:
    made = document(run("params", f"builtin:{name}", "--json").out)
    assert made["model"]["kind"] == "builtin"
    assert made["totals"]["tensors"] == len(made["tensors"])
    assert {row["file"] for row in made["tensors"]} == {None}


@pytest.mark.parametrize("argv", [[], ["--by", "dtype"], ["--match", "w"], ["--top", "1"]])
@pytest.mark.parametrize("model", ["m", "parts", "nf4"])
def test_documents_keep_their_schema(params: Any, argv: list[str], model: str) -> None:
    made = document(params("--json", *argv, model=model).out)
    assert list(made)[:3] == ["schema", "tool", "model"]
    assert made["model"]["target"] == model


def test_a_configuration_alone(run: Run, golden: Golden, tmp_path: Path) -> None:
    folders.write(tmp_path, {"m/config.json": folders.BERT})
    done = run("params", "m", "--json", cwd=tmp_path)
    made = document(done.out)
    assert made["tensors"] == []
    assert set(made["totals"]["unknown"]) == set(made["totals"]) - {"unknown"}
    assert {made["totals"][key] for key in made["totals"]["unknown"]} == {None}
    assert "parameters are unknown" in done.err
    golden("params/config-alone.txt", run("params", "m", cwd=tmp_path).out)
    for format_ in ("csv", "jsonl"):
        out = run("params", "m", "-f", format_, cwd=tmp_path).out
        assert len(out.splitlines()) == (1 if format_ == "csv" else 0)  # the header line


def test_formats_agree(params: Any) -> None:
    rows = document(params("--json").out)["tensors"]
    lines = [json.loads(line) for line in params("-f", "jsonl").out.splitlines()]
    assert rows == lines
    for format_, delimiter in (("csv", ","), ("tsv", "\t")):
        text = params("-f", format_).out
        table = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
        assert [list(row) for row in table[:1]] == [list(rows[0])]
        assert [row["name"] for row in table] == [row["name"] for row in rows]
        assert [json.loads(row["shape"]) for row in table] == [row["shape"] for row in rows]
        assert [int(row["bytes"]) for row in table] == [row["bytes"] for row in rows]


@pytest.mark.parametrize("units", ["iec", "si", "bytes"])
def test_units(params: Any, units: str) -> None:
    done = params("--units", units, "--match", "head")
    size = {"iec": "3.12 KiB", "si": "3.20 kB", "bytes": "3,200 B"}[units]
    assert size in done.out
    assert "3,200  " in done.out  # the exact number stands beside it
    assert (
        document(params("--units", units, "--json").out)["totals"]["bytes"] == 9888
    )  # 1600 + 12 * 400 + 256 + 32 + 3200


def test_a_pipe_is_not_made_for_a_terminal(params: Any, run: Run, work: Path) -> None:
    plain = params().out
    assert "\x1b" not in plain
    assert not set(plain) & set("─│┃━╭…")
    wide = run("params", "m", cwd=work, env={"COLUMNS": "20", "CI": "1", "TERM": "xterm-256color"})
    assert wide.out == plain


# -o


def test_several_files_at_once(params: Any, work: Path) -> None:
    names = [f"all.{ending}" for ending in (*_ENDINGS.values(), "markdown", "ndjson")]
    done = params(*(part for name in names for part in ("-o", name)), "-f", "csv")
    assert done.out == params("-f", "csv").out
    for format_, ending in _ENDINGS.items():
        assert (work / f"all.{ending}").read_text() == params("-f", format_).out
    assert (work / "all.markdown").read_text() == (work / "all.md").read_text()
    assert (work / "all.ndjson").read_text() == (work / "all.jsonl").read_text()
    assert not list(work.glob(".all*"))


def test_a_file_is_whole_or_not_there(
    run: Run, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.csv"
    target.write_text("what was there before")

    def broken(*_: object, **__: object) -> Any:
        yield "name,dtype\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelscope_cli.render.delimited.render_csv", broken)
    done = run("params", "m", "-o", str(target), cwd=work)
    assert done.code == 2
    assert "out.csv: cannot be written: No space left on device" in done.err
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_file_is_like_any_other(params: Any, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    params("-o", str(target))
    (tmp_path / "other").touch()
    assert target.stat().st_mode == (tmp_path / "other").stat().st_mode
    target.chmod(0o600)
    params("-o", str(target))
    document(target.read_text())


def test_alternatives_have_no_sum(run: Run, tmp_path: Path) -> None:
    files = {f"m.{kind}.gguf": folders.gguf_weights("a", "b") for kind in ("Q4_0", "Q5_0", "Q8_0")}
    folders.write(tmp_path, files)
    listed = json.loads(run("params", str(tmp_path), "--json").out)
    why = "3 weight sets hold the same names; --weights GLOB chooses one"
    totals = listed["totals"]
    assert totals["parameters"] is totals["active_parameters"] is None
    assert totals["unknown"] == {"parameters": why, "active_parameters": why}
    assert (totals["tensors"], totals["stored_elements"], totals["bytes"]) == (6, 192, 768)
    assert listed["loaded"]["unknown"] == {"parameters": why, "bytes": why}
    assert why in run("params", str(tmp_path)).out
    for by, expected in (("dtype", [None]), ("file", [64, 64, 64])):
        lines = run("params", str(tmp_path), "--by", by, "-f", "jsonl").out.splitlines()
        assert [json.loads(line)["parameters"] for line in lines] == expected
    one = json.loads(run("params", str(tmp_path), "--weights", "*Q5*", "--json").out)
    assert one["totals"]["parameters"] == 64


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("lm_hed", "did you mean lm_head.weight?"),
        ("up_prj", "did you mean model.layers.0.mlp.up_proj.weight"),
        ("mlp.up_prj", "did you mean model.layers.0.mlp.up_proj.weight"),
        ("zzzzzz", ""),
    ],
)
def test_a_typo_in_a_part_of_a_name(run: Run, typed: str, hint: str) -> None:
    done = run("params", "builtin:llama3-8b", "--match", typed)
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
    assert bool(hint) is ("did you mean" in done.err)
