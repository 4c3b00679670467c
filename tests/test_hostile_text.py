"""Names and strings out of model files come out harmless, everywhere they are shown."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from modelscope_cli import output
from modelscope_cli.escape import visible
from modelscope_cli.render import FORMATS
from tests.builders import folders, gguf, safetensors
from tests.builders import torch as torch_files
from tests.hostile import TEXTS, harm
from tests.running import Completed, Run

# What is shown to people; the others keep the text itself, in an encoding of their own.
_SHOWN = ("table", "md", "csv", "tsv")
csv.field_size_limit(10_000_000)  # of the reader in these tests
_ON_DISK = [text for text in TEXTS if len(text.encode()) < 200 and not {"\0", "/"} & set(text)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every hostile text as a tensor's name, and as a key and a value of the configuration."""
    config: dict[str, Any] = {text: text for text in TEXTS}
    config |= {
        "list": list(TEXTS),
        "nested": {text: {text: [text, {text: text}]} for text in TEXTS},
    }
    return folders.write(
        tmp_path_factory.mktemp("hostile"),
        {
            "model.safetensors": folders.weights(*TEXTS, metadata={t: t for t in TEXTS}),
            "config.json": config,
        },
    )


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as metadata strings, keys, names and arrays of a GGUF."""
    metadata = {text: gguf.text(text) for text in TEXTS if len(text) < 60_000}
    metadata["list"] = gguf.array(gguf.STRING, TEXTS[:40])
    names = [text for text in TEXTS if len(text) < 60_000]
    folder = folders.write(
        tmp_path_factory.mktemp("gguf"),
        {"m.gguf": folders.gguf_weights(*names, metadata=metadata)},
    )
    return str(folder / "m.gguf")


def _harmless(done: Completed, format_: str = "table", *, code: int = 0) -> None:
    styled = "\x1b[" in done.out
    assert done.code == code, done.err[:500]
    assert harm(done.out, tabs=format_ == "tsv", styled=styled) is None
    assert harm(done.err) is None
    assert all(line.startswith("mscope: ") for line in done.err.splitlines())
    assert all(len(line) <= 2000 for line in done.err.splitlines())


_COMMANDS = [
    ["params"],
    ["params", "--fold"],
    ["params", "--by", "module"],
    ["params", "--by", "module", "--depth", "9"],
    ["params", "--by", "file"],
    ["params", "--sort", "name"],
    ["config"],
]


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
@pytest.mark.parametrize("format_", FORMATS)
def test_every_format(run: Run, model: Path, command: list[str], format_: str) -> None:
    _harmless(run(command[0], str(model), *command[1:], "-f", format_), format_)


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal(
    run: Run, model: Path, command: list[str], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "drawn_width", lambda: columns)
    env = {"CI": "true"}
    done = run(command[0], str(model), *command[1:], "--color", "always", env=env)
    assert "\x1b[1m" in done.out
    _harmless(done)


@pytest.mark.parametrize("command", ["params", "config"])
@pytest.mark.parametrize("format_", FORMATS)
def test_a_gguf(run: Run, gguf_file: str, command: str, format_: str) -> None:
    _harmless(run(command, gguf_file, "-f", format_), format_)


@pytest.mark.parametrize("format_", ["table", "json", "md"])
def test_a_torch_file(run: Run, tmp_path: Path, format_: str) -> None:
    tensors = {text: torch_files.tensor() for text in TEXTS}
    tensors["other"] = torch_files.text("::error::x\x1b[31m")
    data = torch_files.archive(torch_files.pickled(torch_files.mapping(tensors)))
    folders.write(tmp_path, {"pytorch_model.bin": data})
    done = run("params", str(tmp_path), "-f", format_)
    _harmless(done, format_)
    if format_ == "json":
        assert [row["name"] for row in json.loads(done.out)["tensors"]]


# What is shown says which text it was


def test_json_holds_the_true_strings(run: Run, model: Path) -> None:
    done = run("params", str(model), "--json")
    assert done.out.isascii()
    assert {row["name"] for row in json.loads(done.out)["tensors"]} == set(TEXTS)
    lines = run("params", str(model), "-f", "jsonl").out.splitlines()
    assert {json.loads(line)["name"] for line in lines} == set(TEXTS)
    groups = json.loads(run("params", str(model), "--by", "module", "--json").out)["groups"]
    assert all(isinstance(row["module"], str) for row in groups["rows"])


def test_json_holds_the_true_configuration(run: Run, model: Path) -> None:
    done = run("config", str(model), "--json")
    assert done.out.isascii()
    own = json.loads((model / "config.json").read_bytes())
    document = json.loads(done.out)
    assert document["config"] == own
    for text in TEXTS:
        if text.strip("."):
            found = json.loads(run("config", str(model), "--get", text, "--json").out)
            assert found["value"] == text


@pytest.mark.parametrize("format_", ["csv", "tsv"])
def test_a_row_a_tensor_and_no_formula(run: Run, model: Path, format_: str) -> None:
    done = run("params", str(model), "-f", format_)
    rows = list(csv.DictReader(done.out.splitlines(), dialect=_dialect(format_)))
    assert len(rows) == len(TEXTS)
    assert all(None not in row and None not in row.values() for row in rows)
    assert not [row["name"] for row in rows if row["name"].startswith(("=", "+", "-", "@"))]
    read_back = {_original(row["name"]) for row in rows}
    assert read_back == set(TEXTS)


@pytest.mark.parametrize("format_", ["csv", "tsv"])
def test_configurations_without_formulas(run: Run, model: Path, format_: str) -> None:
    done = run("config", str(model), "-f", format_)
    rows = list(csv.reader(done.out.splitlines(), dialect=_dialect(format_)))
    assert {len(row) for row in rows} == {3}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def _dialect(format_: str) -> str:
    return {"csv": "excel", "tsv": "excel-tab"}[format_]


def _original(shown: str) -> str:
    """The text that `visible` made this of."""
    pattern = r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
    return re.sub(pattern, lambda m: "\\" if m[1] == "\\" else chr(int(m[1][1:], 16)), shown)


def test_markdown_renders_each_name_in_its_cell(run: Run, model: Path) -> None:
    """As a real markdown parser with tables sees it."""
    done = run("params", str(model), "-f", "md", "--no-fold")
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = page.parse(done.out)
    assert not [token for token in tokens if token.type.startswith("html")]
    inline = [token for token in tokens if token.type == "inline"]
    inner = [child for token in inline for child in token.children or ()]
    assert {child.type for child in inner} <= {"text", "code_inline", "strong_open", "strong_close"}
    names = {child.content for child in inner if child.type == "code_inline"}
    # Spaces around a code span are markdown's own.
    wanted = {visible(text).replace("`", "\\x60").strip() for text in TEXTS}
    assert {name.strip() for name in names} == wanted
    starts = [n for n, token in enumerate(tokens) if token.type == "tr_open"]
    ends = [n for n, token in enumerate(tokens) if token.type == "tr_close"]
    counts = [
        sum(token.type in ("td_open", "th_open") for token in tokens[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
    assert counts[: len(TEXTS) + 2] == [counts[0]] * (len(TEXTS) + 2)  # header, names, total
    assert set(counts[len(TEXTS) + 2 :]) == {2}  # the summary


def test_markdown_of_a_configuration(run: Run, model: Path) -> None:
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = page.parse(run("config", str(model), "-f", "md").out)
    inner = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inner} <= {"text", "code_inline", "text_special"}
    assert not [token for token in tokens if token.type in ("html_block", "hr", "fence")]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_one_value_in_a_pipe(run: Run, model: Path, text: str) -> None:
    if not text.strip("."):
        pytest.skip("a path of dots names the whole")
    done = run("config", str(model), "--get", text)
    assert done.out == f"{visible(text)}\n"
    _harmless(done)


# Names of files, and messages


@pytest.mark.parametrize("text", _ON_DISK, ids=ascii)
def test_names_of_files(run: Run, tmp_path: Path, text: str) -> None:
    name = f"{text}.safetensors"
    folders.write(tmp_path, {name: folders.weights("a"), "b.safetensors": folders.weights("b")})
    for argv in (["-f", "table"], ["-f", "md"], ["-f", "csv"], ["--json"], ["--by", "file"],
                 ["--color", "always"]):  # fmt: skip
        _harmless(run("params", str(tmp_path), *argv))
    rows = json.loads(run("params", str(tmp_path), "--json").out)["tensors"]
    assert {row["file"] for row in rows} == {name, "b.safetensors"}
    _harmless(run("params", f"./{name}", cwd=tmp_path))  # in the title
    (tmp_path / name).write_bytes(b"no weights at all")
    _harmless(run("params", str(tmp_path)), code=4)
    _harmless(run("params", f"./{name}", cwd=tmp_path), code=4)


@pytest.mark.parametrize("text", _ON_DISK, ids=ascii)
def test_names_in_notes_and_titles(run: Run, tmp_path: Path, text: str) -> None:
    """A set left aside, a file of another format than its name, two folders compared."""
    folders.write(
        tmp_path / "a",
        {"model.safetensors": folders.weights("a"), f"{text}.safetensors": folders.weights("a"),
         "config.json": {"a": 1}},
    )  # fmt: skip
    _harmless(run("params", str(tmp_path / "a")))
    folders.write(tmp_path, {f"{text}.bin": folders.weights("a")})
    done = run("params", f"./{text}.bin", cwd=tmp_path)
    _harmless(done)
    assert "warning" in done.err
    folders.write(tmp_path, {f"d{text}/config.json": {"a": 2}})
    for format_ in FORMATS:
        done = run("config", f"./d{text}", "--diff", "a", "-f", format_, cwd=tmp_path)
        _harmless(done, format_, code=1)
    done = run("config", f"./d{text}", "--diff", "a", "--color", "always", cwd=tmp_path)
    _harmless(done, code=1)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_names_in_errors(run: Run, tmp_path: Path, text: str) -> None:
    entries = safetensors.entries([safetensors.Tensor(text)])
    entries[text]["dtype"] = text  # no dtype: the error quotes both
    folders.write(
        tmp_path, {"model.safetensors": safetensors.framed(json.dumps(entries), bytes(8))}
    )
    _harmless(run("params", str(tmp_path)), code=4)
    index = safetensors.index({text: f"../{text}"})
    folders.write(tmp_path, {"model.safetensors.index.json": index})
    _harmless(run("params", str(tmp_path / "model.safetensors.index.json")), code=4)
    index = safetensors.index({text: "model.safetensors"})
    weights = folders.weights("other")
    folders.write(tmp_path, {"model.safetensors.index.json": index, "model.safetensors": weights})
    _harmless(run("params", str(tmp_path / "model.safetensors.index.json")), code=4)
    part = gguf.build([gguf.f32(text, 4), gguf.f32(text, 4)])
    folders.write(tmp_path, {"m.gguf": part})
    _harmless(run("params", str(tmp_path / "m.gguf")), code=4)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_names_typed_by_the_user(run: Run, model: Path, text: str) -> None:
    """The user may have pasted them; the near names come from the file."""
    for argv in (["params", str(model), "--match", f"{text}zz"],
                 ["config", str(model), "--get", f"{text}zz.x"],
                 ["params", str(model), "--sort", text],
                 ["params", str(model), "--by", text],
                 ["params", "-o", f"out{text}"],
                 [f"x{text}"]):  # fmt: skip
        done = run(*argv)
        _harmless(done, code=2)
    _harmless(run("params", f"./no{text}", cwd=None), code=2 if "\0" in text else 3)


def test_strings_that_are_no_unicode(run: Run, tmp_path: Path) -> None:
    r"""JSON may hold `\ud800`, which no encoding can write."""
    folders.write(tmp_path, {"config.json": '{"a\\ud800": "\\udfff", "l": ["\\ud800"]}'})
    for format_ in FORMATS:
        done = run("config", str(tmp_path), "-f", format_, "-o", str(tmp_path / f"o.{format_}"))
        if format_ == "table":
            assert done.code == 2  # no such ending
            done = run("config", str(tmp_path))
        _harmless(done, format_)
    document = json.loads(run("config", str(tmp_path), "--json").out)
    assert document["config"] == {"a\ud800": "\udfff", "l": ["\ud800"]}


@pytest.mark.parametrize("text", ["\x1b[31mx", "::error::x", "##[error]x", "a\nb"])
def test_components_and_types(run: Run, tmp_path: Path, text: str) -> None:
    folders.write(
        tmp_path,
        {
            "model_index.json": {"_class_name": text, text: [text, text]},
            f"{text}/model.safetensors": folders.weights("a"),
            f"{text}/config.json": {text: text},
        },
    )
    for format_ in FORMATS:
        _harmless(run("params", str(tmp_path), "-f", format_), format_)
        _harmless(run("config", str(tmp_path), "-f", format_), format_)
    _harmless(run("params", str(tmp_path), "--color", "always"))


@pytest.mark.parametrize("format_", _SHOWN)
def test_harm_is_seen_by_these_tests(format_: str) -> None:
    for text in ("\x1b[2J", "a\rb", "\u202e", "x\n ::error::x", "x ##[error]"):
        assert harm(text, tabs=format_ == "tsv")
    assert harm("a\tb")
