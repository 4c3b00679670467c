"""`mscope config`: whole, one value, compared, and with transformers' defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli import output
from modelscope_cli.render import FORMATS
from modelscope_cli.sources.builtin import NAMES
from tests.builders import folders, gguf
from tests.corpus.make_folder import PIPELINE
from tests.documents import document
from tests.running import Golden, Run
from tests.terminal import screen, unstyled

A: dict[str, Any] = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "hidden_size": 64,
    "eps": 1e-05,
    "use_cache": True,
    "pad": None,
    "empty": {},
    "none": [],
    "text": "two words",
    "number_like": "007",
    "spaces": " x ",
    "rope_scaling": {"type": "yarn", "factor": 8.0, "short": [1.0, 1.5]},
    "vision_config": {"hidden_size": 32, "layers": [{"kind": "full"}, {"kind": "sliding"}]},
    "a.b": {"c.d": 1},
}
B: dict[str, Any] = {
    **{key: value for key, value in A.items() if key not in ("pad", "eps")},
    "hidden_size": 128,
    "use_cache": 1,
    "rope_scaling": {"type": "yarn", "factor": 8, "long": None},
    "added": "new",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("config")
    return folders.write(root, {"a/config.json": A, "b/config.json": B})


# Whole


def test_a_document_is_the_file(run: Run, work: Path) -> None:
    made = document(run("config", "a", "--json", cwd=work).out)
    assert made["config"] == A
    assert set(made["origin"].values()) == {"file"}
    assert made["model"]["target"] == "a"


@pytest.mark.parametrize("format_", FORMATS)
def test_goldens(run: Run, work: Path, golden: Golden, format_: str) -> None:
    done = run("config", "a", "-f", format_, cwd=work)
    assert (done.code, done.err) == (0, "")
    ending = {"table": "txt"}.get(format_, format_)
    text = done.out.replace(str(work), "FOLDER")
    if format_ == "json":
        text = json.dumps({**json.loads(text), "tool": None}, indent=1) + "\n"
    golden(f"config/a.{ending}", text)


@pytest.mark.parametrize("name", NAMES)
def test_builtins(run: Run, golden: Golden, name: str) -> None:
    golden(f"config/builtin-{name}.txt", run("config", f"builtin:{name}").out)
    assert document(run("config", f"builtin:{name}", "--json").out)["config"]["model_type"]


def test_keys_are_flat_and_values_json(run: Run, work: Path) -> None:
    lines = run("config", "a", "-f", "jsonl", cwd=work).out.splitlines()
    rows = {row["key"]: row["value"] for row in map(json.loads, lines)}
    assert rows["rope_scaling.factor"] == 8.0
    assert rows["vision_config.layers"] == A["vision_config"]["layers"]
    assert rows["empty"] == {}
    assert rows["a.b.c.d"] == 1
    assert "rope_scaling" not in rows


def test_a_file_of_any_name(run: Run, work: Path) -> None:
    folders.write(work, {"c/generation_config.json": {"top_k": 50}})
    done = run("config", "c/generation_config.json", cwd=work)
    assert "top_k" in done.out
    assert done.out.startswith("c/generation_config.json: generation_config.json")


def test_weights_beside_it_are_not_read(run: Run, work: Path) -> None:
    folders.write(work, {"w/config.json": {"x": 1}, "w/model.safetensors": b"nonsense"})
    done = run("config", "w", cwd=work)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("w: config.json")
    assert run("config", "w/model.safetensors", cwd=work).out.startswith("w/model.safetensors: ")


def test_components_are_nested_under_their_names(run: Run, work: Path) -> None:
    folders.write(
        work,
        {
            "p/model_index.json": PIPELINE,
            "p/unet/config.json": {"in_channels": 4},
            "p/scheduler/scheduler_config.json": {"beta": 1},
            "p/vae/diffusion_pytorch_model.safetensors": folders.weights("w"),
        },
    )
    config = document(run("config", "p", "--json", cwd=work).out)["config"]
    assert config["unet"] == {"in_channels": 4}
    assert config["scheduler"] == {"beta": 1}
    assert config["vae"] == PIPELINE["vae"]
    done = run("config", "p", "--get", "unet.in_channels", cwd=work)
    assert done.out == "4\n"


def test_the_metadata_of_a_gguf(run: Run, tmp_path: Path) -> None:
    metadata = {
        "general.architecture": gguf.text("llama"),
        "llama.block_count": gguf.u32(2),
        "llama.rope.freq_base": gguf.scalar(gguf.FLOAT32, 10000.0),
        "x.nan": gguf.scalar(gguf.FLOAT32, float("nan")),
        "x.inf": gguf.scalar(gguf.FLOAT64, float("-inf")),
        "tokenizer.ggml.tokens": gguf.array(gguf.STRING, [f"t{n}" for n in range(1000)]),
        "x.small": gguf.array(gguf.UINT32, [1, 2]),
    }
    folders.write(tmp_path, {"m.gguf": folders.gguf_weights("a", metadata=metadata)})
    made = document(run("config", "m.gguf", "--json", cwd=tmp_path).out)
    config = made["config"]
    assert config["general.architecture"] == "llama"
    assert config["llama.rope.freq_base"] == 10000.0
    assert (config["x.nan"], config["x.inf"]) == ("NaN", "-Infinity")
    tokens = config["tokenizer.ggml.tokens"]
    assert (tokens["length"], tokens["first"]) == (1000, ["t0", "t1", "t2"])
    done = run("config", "m.gguf", "--get", "llama.block_count", cwd=tmp_path)
    assert done.out == "2\n"
    assert run("config", "m.gguf", "--diff", "m.gguf", cwd=tmp_path).code == 0


def test_several_ggufs_have_no_configuration_in_common(run: Run, tmp_path: Path) -> None:
    kinds = ("Q4_0", "Q8_0")
    folders.write(tmp_path, {f"m.{kind}.gguf": folders.gguf_weights("a") for kind in kinds})
    done = run("config", str(tmp_path))
    assert done.code == 2
    assert "2 GGUF files, each with its own metadata" in done.err
    assert run("config", str(tmp_path), "--weights", "*Q8_0*").code == 0
    folders.write(tmp_path / "split", folders.split_gguf())
    assert "llama" in run("config", str(tmp_path / "split")).out


# One value


@pytest.mark.parametrize(
    ("key", "out"),
    [
        ("hidden_size", "64"),
        ("eps", "1e-05"),
        ("use_cache", "true"),
        ("pad", "null"),
        ("text", "two words"),
        ("number_like", "007"),
        ("architectures", '["LlavaForConditionalGeneration"]'),
        ("architectures.0", "LlavaForConditionalGeneration"),
        ("rope_scaling", '{"type": "yarn", "factor": 8.0, "short": [1.0, 1.5]}'),
        ("rope_scaling.factor", "8.0"),
        ("rope_scaling.short.1", "1.5"),
        ("vision_config.layers.1.kind", "sliding"),
        ("a.b", '{"c.d": 1}'),
        ("a.b.c.d", "1"),
        ("empty", "{}"),
    ],
)
def test_get(run: Run, work: Path, key: str, out: str) -> None:
    done = run("config", "a", "--get", key, cwd=work)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{out}\n"
    made = document(run("config", "a", "--get", key, "--json", cwd=work).out)
    assert made["key"] == key
    assert made["config"] == A
    assert json.dumps(made["value"], ensure_ascii=False) in (out, json.dumps(out))


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("hiden_size", "did you mean hidden_size"),
        ("rope_scaling.fctor", "did you mean rope_scaling.factor"),
        ("rope_scalin", "did you mean rope_scaling"),
        ("architectures.1", None),
        ("architectures.x", None),
        ("hidden_size.x", None),
        (" ", None),
    ],
)
def test_get_what_is_not_there(run: Run, work: Path, key: str, hint: str | None) -> None:
    done = run("config", "a", "--get", key, cwd=work)
    assert (done.code, done.out) == (2, "")
    assert f"no key {key!r} in this configuration" in done.err
    assert hint is None or hint in done.err


def test_get_of_a_variable_that_is_unset(run: Run, work: Path) -> None:
    done = run("config", "a", "--get", "", cwd=work)
    assert (done.code, done.out) == (2, "")
    assert "--get is an empty string" in done.err


# Compared


def test_diff(run: Run, work: Path, golden: Golden) -> None:
    done = run("config", "a", "--diff", "b", cwd=work)
    assert (done.code, done.err) == (1, "")
    golden("config/diff.txt", done.out)
    golden("config/diff.md", run("config", "a", "--diff", "b", "-f", "md", cwd=work).out)
    made = document(run("config", "a", "--diff", "b", "--json", cwd=work).out)
    assert made["equal"] is False
    assert [model["target"] for model in made["models"]] == ["a", "b"]
    status = {change["key"]: change["status"] for change in made["config"]}
    assert status == {
        "hidden_size": "changed",
        "eps": "removed",
        "use_cache": "changed",  # 1 is not true
        "pad": "removed",
        "rope_scaling.short": "removed",
        "rope_scaling.long": "added",  # a null that is there is not the same as none
        "added": "added",
    }  # fmt: skip
    assert all(made[key] is None for key in ("only_in_a", "only_in_b", "changed", "values"))
    lines = run("config", "a", "--diff", "b", "-f", "jsonl", cwd=work).out.splitlines()
    assert [json.loads(line) for line in lines] == made["config"]


def test_diff_of_equal_ones(run: Run, work: Path) -> None:
    done = run("config", "a", "--diff", "a", cwd=work)
    assert done.code == 0
    assert "the configurations are equal" in done.out
    made = document(run("config", "a", "--diff", "a", "--json", cwd=work).out)
    assert (made["equal"], made["config"]) == (True, [])


def test_diff_of_a_model_and_a_builtin(run: Run, work: Path) -> None:
    done = run("config", "a", "--diff", "builtin:llama3-8b", "--json", cwd=work)
    assert done.code == 1
    kinds = [model["kind"] for model in document(done.out)["models"]]
    assert kinds == ["directory", "builtin"]


def test_diff_says_which_model_is_wrong(run: Run, work: Path) -> None:
    done = run("config", "a", "--diff", "./missing", cwd=work)
    assert (done.code, done.out) == (3, "")
    assert "./missing" in done.err


# transformers' defaults


def test_resolved(run: Run, work: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [live]")
    own = {"model_type": "bert", "hidden_size": 64, "id2label": {"0": "A", "1": "B"}, "mine": 1}
    folders.write(work, {"bert/config.json": own})
    made = document(run("config", "bert", "--resolved", "--json", cwd=work).out)
    theirs = json.loads(transformers.BertConfig(**own).to_json_string(use_diff=False))
    ignored = {"transformers_version", "architectures"}
    config = {key: value for key, value in made["config"].items() if key not in ignored}
    assert config == {key: value for key, value in theirs.items() if key not in ignored}
    assert made["origin"]["hidden_size"] == made["origin"]["mine"] == "file"
    assert made["origin"]["id2label.0"] == "file"
    assert made["origin"]["num_attention_heads"] == "default"
    done = run("config", "bert", "--resolved", "--get", "num_attention_heads", cwd=work)
    assert done.out == "12\n"
    assert "default" in run("config", "bert", "--resolved", cwd=work).out


def test_resolved_makes_defaults_equal(run: Run, work: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra [live]")
    short = {"model_type": "bert"}
    folders.write(
        work,
        {"x/config.json": short, "y/config.json": {**short, "hidden_size": 768}},
    )
    assert run("config", "x", "--diff", "y", cwd=work).code == 1
    assert run("config", "x", "--diff", "y", "--resolved", cwd=work).code == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "no_such_model"}, "has no model type 'no_such_model'"),
        ({"hidden_size": 1}, "no model_type in this configuration"),
        ({"model_type": "bert", "hidden_size": "wide"}, "refuses it"),
        ({"model_type": ["bert"]}, "has no model type ['bert']"),
        (
            {"model_type": "x", "auto_map": {"AutoConfig": "evil.Evil"}},
            "has no model type 'x'",  # remote code is never run
        ),
    ],
)
def test_what_transformers_does_not_know(
    run: Run, tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    pytest.importorskip("transformers", reason="needs the extra [live]")
    folders.write(tmp_path, {"config.json": config, "evil.py": "raise SystemExit('ran')"})
    done = run("config", str(tmp_path), "--resolved", "--json")
    assert done.code == 0
    assert document(done.out)["config"] == config
    assert "warning: defaults are unknown: " in done.err
    assert said in done.err


def test_infinity_in_a_default(run: Run, tmp_path: Path) -> None:
    """mamba2 counts its time steps to infinity, for which JSON has no number."""
    pytest.importorskip("transformers", reason="needs the extra [live]")
    folders.write(tmp_path, {"config.json": {"model_type": "mamba2"}})
    made = document(run("config", str(tmp_path), "--resolved", "--json").out)
    assert "Infinity" in made["config"]["time_step_limit"]


# On a terminal


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal(work: Path, columns: int, golden: Golden) -> None:
    found = screen("config", "a", "--diff", "b", columns=columns, cwd=work)
    assert found.code == 1
    assert found.width <= columns
    golden(f"config/terminal-{columns}.txt", "\n".join(found.lines) + "\n")


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
@pytest.mark.parametrize("argv", [[], ["--diff", "b"]])
def test_values_are_complete_at_any_width(
    run: Run, work: Path, columns: int, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "drawn_width", lambda: columns)
    done = run("config", "a", *argv, "--color", "always", cwd=work, env={"TERM": "xterm"})
    lines = unstyled(done.out)
    assert max(map(len, lines)) <= columns
    letters = "".join("".join(line.split()) for line in lines)
    if columns >= 60 and not argv:
        assert "vision_config.layers" in letters
        assert "two" in letters
        assert "words" in letters
